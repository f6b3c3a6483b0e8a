"""`stream_segment.py optimize`: what it calibrates and compares, every mistake as one line, and one real run."""

import errno
import importlib.util
import json
import shutil

import cv2
import numpy as np
import pytest

import stream_segment
from mrcnn.engines import cache, quantize
from mrcnn.engines.base import EngineError
from pipeline.commands import optimize as command
from pipeline.records import Instances
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import ModelSettings
from tests.pipeline.fakes import make_instances

FRAME_HW = (48, 90)


@pytest.fixture
def photographs(tmp_path):
    """A folder of seven small images, each of one gray: 0, 10 … 60."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(7):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((*FRAME_HW, 3), 10 * index, np.uint8))
    return folder


class KnownSegmenter:
    """Finds as many objects as `counts` says for its precision; its network is never loaded."""

    def __init__(self, settings, counts, log):
        self.settings, self.counts, self.log = settings, counts, log

    @property
    def model(self):
        return read_model(self.settings)

    def open(self):
        self.log.append(("opened", self.settings.engine.value, self.settings.precision.value))

    def segment_batch(self, images_bgr):
        return [self.segment(image_bgr) for image_bgr in images_bgr]

    def segment(self, image_bgr):
        assert image_bgr.shape == (*FRAME_HW, 3)
        self.log.append((self.settings.precision.value, int(image_bgr[0, 0, 0])))
        count = self.counts[self.settings.precision.value]
        return make_instances(count) if count else Instances.empty()

    def close(self):
        self.log.append(("closed", self.settings.precision.value))


@pytest.fixture
def known(monkeypatch, tmp_path):
    """The command without a network: (what was calibrated on, what was done, how many objects each precision finds)."""
    calibrated, log, counts = [], [], {"float32": 4, "int8": 4}

    def fake_quantize(weights, config, canvases, windows):
        calibrated.append((weights, config, [canvas.copy() for canvas in canvases], windows))
        return tmp_path / "int8"

    monkeypatch.setattr(quantize, "quantize", fake_quantize)
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", lambda settings: KnownSegmenter(settings, counts, log))
    return calibrated, log, counts


def run_main(capsys, *arguments):
    code = stream_segment.main(["optimize", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_frames_are_calibrated_on_and_others_compared(capsys, known, photographs, seeded_small_weights, tmp_path):
    calibrated, log, _ = known
    asked = ("--source", photographs, "--weights", seeded_small_weights, "--max-dim", "128", "--canvas", "square")
    code, out, err = run_main(capsys, *asked)
    assert code == 0, err
    (weights, config, canvases, windows), *more = calibrated
    assert more == []
    assert (weights, config.IMAGE_MAX_DIM) == (seeded_small_weights, 128)
    assert [canvas.shape for canvas in canvases] == [(128, 128, 3)] * 6
    assert [int(canvas[64, 64, 0]) for canvas in canvases] == [0, 10, 20, 40, 50, 60]
    assert windows == [(30, 0, 98, 128)] * 6  # 68 rows in the middle
    assert [entry for entry in log if entry[0] != "closed"] == [
        ("opened", "openvino", "float32"),
        ("float32", 30),
        ("float32", 30),
        ("opened", "openvino", "int8"),
        ("int8", 30),
        ("int8", 30),
    ]
    lines = out.splitlines()
    assert lines[0].startswith(f"int8 network: {tmp_path / 'int8'}, made in ")
    assert lines[1] == "on 1 other frames int8 found 4 of the 4 objects that float32 found (100%) and 0 others"
    assert lines[2].startswith("time a frame: float32 ")
    assert len(lines) == 3
    assert "finds other objects" not in err


def test_another_result_is_warned_of(capsys, known, photographs, seeded_small_weights):
    known[2]["int8"] = 3
    code, out, err = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights)
    assert code == 0
    assert "int8 found 3 of the 4 objects that float32 found (75%) and 0 others" in out
    assert "int8 finds other objects than float32 here" in err


def test_nothing_to_compare_with_is_said(capsys, known, photographs, seeded_small_weights):
    known[2].update(float32=0, int8=2)
    code, out, err = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights, "--frames", 2)
    assert code == 0
    assert "on 1 other frames float32 found nothing to compare with" in out
    assert "finds other objects" not in err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--frames", "1"], ["--frames", "from 2 to 1000, got '1'"]),
        (["--frames", "many"], ["--frames", "got 'many'"]),
        (["--frames", "1001"], ["--frames", "got '1001'"]),
        (["--weights", "absent.h5"], ["absent.h5", "does not exist"]),
        (["--weights", "text.h5"], ["text.h5", "not an HDF5 file"]),
        (["--labels", "absent.txt"], ["absent.txt"]),
        (["--max-dim", "100"], ["--max-dim", "100"]),
        (["--canvas", "round"], ["--canvas", "round"]),
        (["--source", "absent.mp4"], ["absent.mp4"]),
        (["--source", "one.png"], ["one.png has 1 frames: 2 or more are needed"]),
        (["--presicion", "int8"], ["--presicion", "optimize --help"]),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(
    capsys, known, monkeypatch, photographs, seeded_small_weights, tmp_path, arguments, parts
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("no weights")
    (photographs / "0.png").rename(tmp_path / "one.png")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert [part for part in parts if part not in err] == []
    assert known[0] == []
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_sample_a_source_must_be_named(capsys, known, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "SAMPLE", tmp_path / "people.mp4")
    code, _, err = run_main(capsys)
    assert code == 2
    assert "name a video, camera or folder of images with --source" in err


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("nncf", 'int8 needs the package nncf: pip install -e ".[optimize]"'),
        ("openvino", "the engine openvino is not installed: pip install openvino"),
    ],
)
def test_a_missing_package_is_one_line(capsys, monkeypatch, photographs, seeded_small_weights, package, line):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))
    code, out, err = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights)
    assert (code, out) == (2, "")
    assert err == f"stream_segment: error: {line}\n"


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (EngineError("the int8 network cannot be written: disk full"), 1, "error: the int8 network cannot be written"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_run_that_breaks_off(capsys, known, monkeypatch, photographs, seeded_small_weights, failure, code, line):
    def fails(*_):
        raise failure

    monkeypatch.setattr(quantize, "quantize", fails)
    got, out, err = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights)
    assert (got, out) == (code, "")
    assert err.splitlines()[-1].startswith(f"stream_segment: {line}")


@pytest.fixture
def own_weights(seeded_small_weights, tmp_path):
    """Weights of the test's own, with what the session has exported of them: int8 stays out of the other tests."""
    exported = seeded_small_weights.parent / "cache"
    if exported.is_dir():
        shutil.copytree(exported, tmp_path / "cache", ignore=shutil.ignore_patterns("*.part", "int8"))
    return shutil.copy(seeded_small_weights, tmp_path / seeded_small_weights.name)


def test_a_real_network_in_int8(capsys, monkeypatch, own_weights, tmp_path):
    rng = np.random.default_rng(6)
    (tmp_path / "scenes").mkdir()
    for index in range(4):
        scene = cv2.GaussianBlur(rng.integers(0, 255, (*FRAME_HW, 3), np.uint8), (0, 0), 3)
        cv2.imwrite(str(tmp_path / "scenes" / f"{index}.png"), scene)
    asked = ("--weights", own_weights, "--source", tmp_path / "scenes", "--max-dim", "128", "--frames", "4")

    written = cache.write

    def full(folder, version, fill, notes=None):
        if folder.name == "int8":
            raise OSError(errno.ENOSPC, "No space left on device")
        written(folder, version, fill, notes)

    with monkeypatch.context() as patched:
        patched.setattr(cache, "write", full)
        patched.setattr(quantize._nncf(), "quantize", lambda *_, **__: None)
        code, out, err = run_main(capsys, *asked)
    assert (code, out) == (1, "")
    assert "No space left on device" in err.splitlines()[-1]
    assert "Traceback" not in err
    settings = ModelSettings(weights=str(own_weights), max_dim=128)
    assert "int8" not in MaskRCNNSegmenter.of(settings).description

    code, out, err = run_main(capsys, *asked)
    assert code == 0, err
    (folder,) = (tmp_path / "cache").glob("small-*/int8")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["notes"]["canvases"] == 3
    assert set(manifest["files"]) >= {"features_body.xml", "features_body.bin"}
    assert "time a frame: float32 " in out
    assert list(tmp_path.rglob("*.part")) == []
    assert MaskRCNNSegmenter.of(settings).description.endswith(" on the CPU, int8")

    (folder / "features_body.bin").write_bytes((folder / "features_body.bin").read_bytes()[:-100])
    segmenter = MaskRCNNSegmenter.of(settings)
    segmenter.open()
    assert "int8 is not prepared (" in capsys.readouterr().err
    assert "int8" not in segmenter.description
