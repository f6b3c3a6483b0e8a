"""`stream_segment.py evaluate`: tables, the JSON file, and every mistake as one line that leaves nothing behind."""

import hashlib
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import stream_segment
from pipeline.commands import evaluate as command
from pipeline.errors import InputError, RunError
from pipeline.settings.model_settings import ModelSettings
from pipeline.sinks.paths import Outputs
from tests.pipeline.evaluation.scene import DOG, LARGE, PERSON, SMALL, KnownSegmenter, annotation, write


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    annotations = write(folder, annotation(SMALL), annotation(LARGE, "dog", image_id=2), images=2)
    return ["--images", str(folder), "--annotations", str(annotations)]


@pytest.fixture
def known(monkeypatch, tmp_path):
    """The command with a segmenter that finds the person and misses the dog, and a weight file that nobody reads."""
    made = []

    def make(settings):
        made.append((settings, KnownSegmenter({1: [(0.9, PERSON, SMALL), (0.4, DOG, SMALL)]})))
        return made[-1][1]

    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", make)
    weights = tmp_path / "some.h5"
    weights.write_bytes(b"weights")
    made.append(["--weights", str(weights)])
    return made


def run_main(capsys, *arguments):
    code = stream_segment.main(["evaluate", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_tables_and_json(capsys, dataset, known, tmp_path):
    target = tmp_path / "numbers.json"
    code, out, err = run_main(capsys, *dataset, *known[0], "--json", target, "--max-dim", "256")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "a segmenter of the tests"
    assert lines[1].startswith("2 images with 2 objects; 2 detections of at least 0.03; ")
    assert "above 64²" in out
    assert "left out: 1 categories of the annotations are unknown to the model: kite" in err
    settings, segmenter = known[1]
    assert (settings.min_score, settings.max_dim) == (0.03, 256)
    assert (segmenter.opened, segmenter.closed) == (1, 1)
    record = json.loads(target.read_text(encoding="utf-8"))
    assert record["weights"] == {"file": "some.h5", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert record["model"] == "a segmenter of the tests"
    assert record["annotations"]["images"] == 2
    assert record["settings"]["model"]["max_dim"] == 256
    assert record["versions"].keys() >= {"stream_segment", "python", "numpy", "keras", "pycocotools"}
    assert record["mask"]["by_class"]["person"]["AP"] == 1
    assert record["mask"]["by_size"]["all"]["AP50"] == 0.5
    assert list(tmp_path.glob("*.part")) == []


def test_what_is_asked_for_reaches_the_settings(capsys, dataset, known):
    flags = [
        "--engine",
        "openvino",
        "--precision",
        "float32",
        "--min-score",
        "0.2",
        "--set",
        "model.nms_threshold=0.5",
        "--set",
        "overlay.mask_threshold=0.4",
    ]
    code, out, _ = run_main(capsys, *dataset, *known[0], *flags, "--classes", "person", "--limit", "1")
    assert code == 0
    assert "1 images with 1 objects; 1 detections of at least 0.2" in out
    assert (known[1][0].min_score, known[1][0].nms_threshold) == (0.2, 0.5)
    assert (known[1][0].engine.value, known[1][0].precision.value) == ("openvino", "float32")


def test_what_a_run_would_show_is_counted_at_its_threshold(capsys, dataset, known, tmp_path):
    target = tmp_path / "numbers.json"
    flags = ("--shown-score", "0.8", "--json", target)
    code, out, _ = run_main(capsys, *dataset, *known[0], *flags, "--classes", "person")
    assert code == 0
    assert "at a score of 0.8, 1 objects are shown, 1 of them right (mask IoU 0.5), of 1; 0 on the 1 images" in out
    assert json.loads(target.read_text(encoding="utf-8"))["shown"] == {
        "score": 0.8,
        "objects": 1,
        "shown": 1,
        "right": 1,
        "empty_images": 1,
        "false_alarms": 0,
    }
    code, out, _ = run_main(capsys, *dataset, *known[0], "--shown-score", "0.3")
    assert "2 objects are shown, 1 of them right (mask IoU 0.5), of 2; 0 on the 0 images without any" in out


def test_every_flag_is_a_setting_of_the_model():
    assert {key for _, key, _, _ in command.SETTING_FLAGS} <= {f"model.{name}" for name in ModelSettings.model_fields}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--images", "evaluate --help"]),
        (["--limit", "0"], ["--limit", "from 1 on, got '0'"]),
        (["--shown-score", "1.5"], ["--shown-score", "from 0 to 1, got '1.5'"]),
        (["--shown-score", "high"], ["--shown-score", "from 0 to 1, got 'high'"]),
        (["--min-score", "2"], ["--min-score", "expected at most 1"]),
        (["--set", "source.uri=3"], ["--set source.uri:", "only the model's settings"]),
        (["--set", "model.nms=3"], ["--set model.nms:", "unknown setting model.nms"]),
        (["--weights", "absent.h5"], ["absent.h5", "does not exist"]),
        (["--images", "absent"], ["absent", "does not exist"]),
        (["--annotations", "absent.json"], ["absent.json", "does not exist"]),
        (["--classes", "kite"], ["--classes", "no class 'kite'"]),
        (["--json", "no/folder/numbers.json"], ["--json", "no/folder", "does not exist"]),
        (["--json", "."], ["--json", "is a folder"]),
        (["--json", "images/instances.json"], ["--json", "is a file that this run reads"]),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(
    capsys, monkeypatch, tmp_path, dataset, known, arguments, parts
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    given = [*dataset, *known[0], *arguments] if arguments else []
    code, out, err = run_main(capsys, *given)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if not line.startswith("stream_segment: left out")]
    assert len(lines) == 1, err
    assert lines[0].startswith("stream_segment: error: ")
    assert [part for part in parts if part not in lines[0]] == []
    assert sorted(tmp_path.rglob("*")) == before
    assert all(segmenter.opened == 0 for _, segmenter in known[1:])


def test_weights_that_are_none(capsys, dataset, tmp_path):
    (tmp_path / "text.h5").write_text("no weights")
    code, out, err = run_main(capsys, *dataset, "--weights", tmp_path / "text.h5")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "text.h5 is not an HDF5 file" in err


def test_an_image_of_another_size_leaves_no_file(capsys, dataset, known, tmp_path):
    cv2.imwrite(str(tmp_path / "images" / "2.png"), np.zeros((10, 20, 3), np.uint8))
    code, out, err = run_main(capsys, *dataset, *known[0], "--json", tmp_path / "numbers.json")
    assert (code, out) == (2, "")
    assert "2.png is 20x10 pixels" in err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "some.h5"]
    assert known[1][1].closed == 1


def test_an_interruption_writes_nothing(capsys, monkeypatch, dataset, known, tmp_path):
    def interrupted(self, image_bgr):
        raise KeyboardInterrupt

    monkeypatch.setattr(KnownSegmenter, "segment", interrupted)
    code, out, err = run_main(capsys, *dataset, *known[0], "--json", tmp_path / "numbers.json")
    assert (code, out) == (130, "")
    assert err.endswith("stream_segment: interrupted\n")
    assert not (tmp_path / "numbers.json").exists()
    assert known[1][1].closed == 1


def test_older_numbers_stay_unless_overwrite_replaces_them(capsys, dataset, known, tmp_path):
    target = tmp_path / "numbers.json"
    target.write_text("old")
    _, out, err = run_main(capsys, *dataset, *known[0], "--json", target)
    assert out.endswith(f"written: {tmp_path / 'numbers-2.json'}\n")
    assert "numbers.json exists: this run writes" in err
    assert target.read_text() == "old"
    _, out, _ = run_main(capsys, *dataset, *known[0], "--json", target, "--overwrite")
    assert out.endswith(f"written: {target}\n")
    for name in ("numbers.json", "numbers-2.json"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["model"] == "a segmenter of the tests"


def test_several_models_are_compared(capsys, monkeypatch, dataset, tmp_path):
    tried = []

    def make(settings):
        tried.append((settings.weights, settings.precision.value))
        if settings.precision.value == "int8":
            raise InputError("int8 is not prepared")
        return KnownSegmenter({1: [(0.9, PERSON, SMALL)]} if settings.weights == str(good) else {})

    good, bad, target, plot = (tmp_path / name for name in ("good.h5", "bad.h5", "numbers.json", "plot.svg"))
    good.write_bytes(b"good")
    bad.write_bytes(b"bad")
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", make)
    flags = ["--models", f"{good},{bad}", "--precisions", "float32,int8", "--json", target, "--plot", plot]
    flags += ["--shown-score", "0.5"]
    code, out, _ = run_main(capsys, *dataset, *flags)
    assert code == 0
    assert tried == [(str(path), precision) for path in (good, bad) for precision in ("float32", "int8")]
    assert "int8 is not prepared" in out
    first, second, third, _ = json.loads(target.read_text(encoding="utf-8"))["results"]
    assert first["weights"] == {"file": "good.h5", "sha256": hashlib.sha256(b"good").hexdigest()}
    assert (first["mask"]["by_size"]["all"]["AP"], third["mask"]["by_size"]["all"]["AP"]) == (0.5, 0)
    assert (second["weights"]["file"], second["error"]) == ("good.h5", "int8 is not prepared")
    # the person's AP falls from 1 to 0, the dog's is 0 in both
    assert third["against_first"]["mean"] == -0.5
    assert -1 <= third["against_first"]["low"] <= third["against_first"]["high"] <= 0
    assert "bad.h5, openvino, float32: mask AP -0.5000 against good.h5, openvino, float32, 95 % interval -" in out
    assert (first["shown"]["right"], third["shown"]["right"]) == (1, 0)
    assert "against_first" not in first | second
    assert plot.read_text().startswith("<?xml")
    assert out.endswith(f"written: {target}\nwritten: {plot}\n")


def test_files_of_the_same_name_are_told_apart(capsys, monkeypatch, dataset, known, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.h5").write_bytes(b"weights")
    code, out, _ = run_main(capsys, *dataset, "--models", "a/best.h5,b/best.h5,some.h5", "--plot", "plot.svg")
    assert code == 0
    assert "b/best.h5, openvino, float32: mask AP +0.0000 against a/best.h5, openvino, float32, " in out
    assert "some.h5, openvino, float32: mask AP +0.0000 against a/best.h5, openvino, float32, " in out


def test_models_without_a_class_in_common(capsys, monkeypatch, dataset, tmp_path):
    def make(settings):
        segmenter = KnownSegmenter({})
        segmenter.labels = ("BG", Path(settings.weights).stem)
        return segmenter

    paths = [tmp_path / name for name in ("person.h5", "dog.h5")]
    for path in paths:
        path.write_bytes(b"weights")
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", make)
    target = tmp_path / "numbers.json"
    code, out, _ = run_main(capsys, *dataset, "--models", ",".join(map(str, paths)), "--json", target)
    assert code == 0
    assert "dog.h5, openvino, float32: there is no object of a class that person.h5, openvino, float32 has" in out
    assert ["against_first" in one for one in json.loads(target.read_text(encoding="utf-8"))["results"]] == [False] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "person,absent.h5"], "absent.h5: the file does not exist"),
        (["--models", "person", "--weights", "some.h5"], "--models names what is compared"),
        (["--precisions", "float32", "--precision", "int8"], "--precisions names what is compared"),
        (["--precisions", "float31,int8"], "--precisions"),
        (["--plot", "plot.png"], "--plot draws a comparison"),
        (["--precisions", "float32,int8", "--plot", "plot.gif"], "expected a name that ends in .png, .svg, .pdf"),
    ],
)
def test_mistakes_in_a_comparison(capsys, monkeypatch, dataset, arguments, message):
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", lambda settings: pytest.fail("it began"))
    code, out, err = run_main(capsys, *dataset, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_without_matplotlib_a_comparison_with_a_plot_does_not_begin(capsys, monkeypatch, dataset):
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", lambda settings: pytest.fail("it began"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = run_main(capsys, *dataset, "--precisions", "float32,int8", "--plot", "plot.png")
    assert (code, out) == (2, "")
    assert "--plot needs Matplotlib: pip install" in err


def test_where_nothing_can_be_measured_the_first_reason_is_the_error(capsys, monkeypatch, dataset, known):
    code, out, err = run_main(capsys, *dataset, *known[0], "--precisions", "float32,bfloat16", "--classes", "kite")
    assert (code, out) == (2, "")
    assert "no class 'kite'" in err.splitlines()[-1]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_the_old_numbers(monkeypatch, tmp_path, overwrite):
    path = tmp_path / "numbers.json"
    path.write_text("old")
    outputs = Outputs(overwrite=overwrite)
    outputs.claim_file(path, "--json")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"numbers\.json failed: No space left on device"):
        command.written(outputs, path, "{}")
    assert (path.read_text(), [found.name for found in tmp_path.iterdir()]) == ("old", ["numbers.json"])


def test_a_real_network(capsys, tmp_path, seeded_small_weights):
    """It finds what it calls people wherever its proposals point: the numbers mean nothing, but they are numbers."""
    annotations = write(tmp_path, annotation(SMALL), annotation(LARGE), annotation(LARGE, "dog"))
    given = ["--images", tmp_path, "--annotations", annotations, "--weights", seeded_small_weights, "--max-dim", "128"]
    code, out, _ = run_main(capsys, *given, "--json", tmp_path / "numbers.json")
    record = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    assert code == 0
    assert "efficientnet_lite0, 3 classes, 128 px" in out
    assert record["detections"] > 0
    assert record["box"]["by_class"]["dog"]["AP"] == 0
    assert record["box"]["by_size"]["all"]["objects"] == 3
