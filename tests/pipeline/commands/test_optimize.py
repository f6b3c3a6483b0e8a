"""`stream_segment.py optimize`: what it calibrates and compares, every mistake as one line, and one real run."""

import errno
import functools
import importlib.util
import shutil
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import stream_segment
from mrcnn.coco.average_precision import PairedDifference
from mrcnn.engines import calibration, quantize
from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import WEIGHTS, Calibration, Change
from pipeline.commands import optimize as command
from pipeline.records import Instances
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import ModelSettings, Precision
from tests.mrcnn.engines.fake_nncf import FakeNncf
from tests.pipeline.evaluation.scene import SMALL, annotation, write
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
    calibrated, log, counts, written = [], [], {"float32": 4, "int8": 4}, []

    def fake_quantize(weights, config, canvases, windows):
        calibrated.append((weights, config, [canvas.copy() for canvas in canvases], windows))
        return Calibration({}, {"canvases": len(canvases)})

    monkeypatch.setattr(quantize, "quantize", fake_quantize)
    fake_write = functools.wraps(calibration.write_calibration)(lambda _, made: written.append(made) or "net.int8.npz")
    monkeypatch.setattr(calibration, "write_calibration", fake_write)
    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", lambda settings: KnownSegmenter(settings, counts, log))
    return calibrated, log, counts, written


def run_main(capsys, *arguments):
    code = stream_segment.main(["optimize", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_frames_are_calibrated_on_and_others_compared(capsys, known, photographs, seeded_small_weights):
    calibrated, log, _, written = known
    asked = ("--source", photographs, "--weights", seeded_small_weights, "--max-dim", "128", "--canvas", "square")
    code, out, err = run_main(capsys, *asked, "--frames", "4")
    assert code == 0, err
    ((weights, config, canvases, windows),) = calibrated
    assert (weights, config.IMAGE_MAX_DIM) == (seeded_small_weights, 128)
    assert [canvas.shape for canvas in canvases] == [(128, 128, 3)] * 4
    assert [int(canvas[64, 64, 0]) for canvas in canvases] == [0, 20, 40, 60]
    assert windows == [(30, 0, 98, 128)] * 4
    assert log == [
        ("opened", "openvino", "float32"),
        ("opened", "openvino", "int8"),
        *((precision, gray) for gray in (10, 30, 50) for precision in ("float32", "int8")),
        ("closed", "int8"),
        ("closed", "float32"),
    ]
    lines = out.splitlines()
    matching = "100.0% of the objects match (class, mask IoU at least 0.9)"
    assert lines[0] == f"on 3 other frames {matching}: float32 found 12, int8 12, both 12"
    assert lines[1].startswith("time a frame: float32 ")
    assert lines[2] == "int8 calibration: net.int8.npz"
    assert lines[3].startswith("runs with precision auto do not take int8, --precision int8 does: that needs 97% ")
    first, last = written
    assert first.facts == {"canvases": 4}
    assert last.facts == {"canvases": 4, "frames": 3, "objects": 12, "found": 12, "matched": 12, "admissible": False}


@pytest.mark.parametrize(("int8", "admissible"), [(4, True), (3, False)])
def test_enough_frames_whose_objects_match_make_int8_admissible(
    capsys, known, monkeypatch, photographs, seeded_small_weights, int8, admissible
):
    monkeypatch.setattr(command, "ENOUGH_FRAMES", 3)
    known[2]["int8"] = int8
    code, out, _ = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights, "--frames", "4")
    assert code == 0
    assert known[3][-1].is_admissible is admissible
    assert ("runs with precision auto take int8 where it is the fastest" in out) is admissible


def test_an_interrupted_comparison_leaves_the_calibration_that_was_there(
    known, monkeypatch, photographs, seeded_small_weights
):
    def interrupted(*_):
        raise KeyboardInterrupt

    def write(weights, made):
        path.write_bytes(b"new")
        return path

    path = calibration.calibration_path(seeded_small_weights)
    monkeypatch.setattr(calibration, "write_calibration", write)
    monkeypatch.setattr(command, "_compared", interrupted)
    asked = ["optimize", "--source", str(photographs), "--weights", str(seeded_small_weights), "--frames", "4"]
    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        assert stream_segment.main(asked) == 130
        assert (path.read_bytes() if path.exists() else None) == before
    path.unlink()


@pytest.mark.parametrize("check", [2, 3])
def test_as_many_other_frames_are_compared_as_is_asked_for(capsys, known, photographs, seeded_small_weights, check):
    """Frames that are calibrated on are not among them, the first one for instance."""
    asked = ("--source", photographs, "--weights", seeded_small_weights, "--frames", "4", "--check", check)
    assert run_main(capsys, *asked)[0] == 0
    assert known[3][-1].facts["frames"] == check


def test_nothing_to_compare_with_is_said(capsys, known, photographs, seeded_small_weights):
    known[2].update(float32=0, int8=0)
    code, out, _ = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights, "--frames", 4)
    assert code == 0
    assert "on 3 other frames neither float32 nor int8 found anything to compare" in out
    assert not known[3][-1].is_admissible


@pytest.mark.parametrize("was_admissible", [True, False])
def test_an_admissible_calibration_is_not_replaced_by_one_that_is_not(
    capsys, monkeypatch, known, photographs, seeded_small_weights, was_admissible
):
    real = calibration.write_calibration.__wrapped__
    monkeypatch.setattr(calibration, "write_calibration", real)
    path = real(seeded_small_weights, Calibration({}, {"admissible": was_admissible}))
    before = path.read_bytes()
    code, out, _ = run_main(capsys, "--source", photographs, "--weights", seeded_small_weights, "--frames", "4")
    assert code == 0
    stays = f"int8 calibration: {path} stays as it was: it is admissible, the new one is not; delete it to replace it"
    assert (stays in out) is was_admissible
    assert (path.read_bytes() == before) is was_admissible


@pytest.mark.parametrize(
    ("images", "low", "admissible"), [(30, -0.0149, True), (30, -0.0151, False), (29, -0.0149, False)]
)
def test_annotated_images_decide_as_well(
    capsys, known, monkeypatch, photographs, seeded_small_weights, tmp_path, images, low, admissible
):
    evaluation = SimpleNamespace(
        images=images,
        classes=SimpleNamespace(names={1: "person"}),
        found=(),
        by_area={"mask": {"all": SimpleNamespace(ap=0.3)}},
    )
    monkeypatch.setattr(command, "evaluate", lambda segmenter, truth, folder: evaluation)
    monkeypatch.setattr(command, "match_classes", lambda *_: None)
    monkeypatch.setattr(command, "paired_difference", lambda *_: PairedDifference(-0.002, low, 0.004))
    known[2]["int8"] = 3
    (tmp_path / "annotated").mkdir()
    annotations = write(tmp_path / "annotated", annotation(SMALL))
    asked = ("--source", photographs, "--weights", seeded_small_weights, "--frames", "4")
    code, out, err = run_main(capsys, *asked, "--images", annotations.parent, "--annotations", annotations)
    assert code == 0, err
    assert f"mask AP on {images} images: float32 0.300, int8 0.300; difference -0.0020, 95 % interval -0.01" in out
    assert known[3][-1].is_admissible is admissible
    assert known[3][-1].facts["ap_interval"] == [low, 0.004]


LAYERS = {part: [Change(WEIGHTS, [(part + name, 1)], [np.ones(1, np.float32)]) for name in "12345678"] for part in "a"}


@pytest.mark.parametrize(
    ("bound", "kept", "lines"),
    [
        (9, [], ["all layers: -8.00"]),
        (7.5, ["a 8/8"], ["all layers: -8.00", "all but a 1/8: -7.90", "all but a 8/8: -7.20"]),
        (6.6, ["a 8/8", "a 7/8"], ["all but a 8/8, a 7/8: -6.50"]),
    ],
)
def test_layers_stay_in_higher_precision_until_the_bound_holds(
    capsys, known, monkeypatch, photographs, seeded_small_weights, tmp_path, bound, kept, lines
):
    """Layer n of eight loses n tenths of a point, and what all lose together is 4.4 more."""
    losses = {f"a{n}": n / 1000 for n in range(1, 9)}

    def difference(*_):
        left = {name for change in known[3][-1].parts["a"] for name, _ in change.targets}
        return PairedDifference(-0.044 - sum(losses[name] for name in left), -0.2, 0.1)

    evaluation = SimpleNamespace(
        images=2,
        classes=SimpleNamespace(names={1: "person"}),
        found=(),
        image_ms=5.0,
        by_area={"mask": {"all": SimpleNamespace(ap=0.3)}},
    )
    monkeypatch.setattr(quantize, "quantize", lambda *_: Calibration(LAYERS, {"canvases": 4}))
    monkeypatch.setattr(command, "evaluate", lambda segmenter, truth, folder: evaluation)
    monkeypatch.setattr(command, "match_classes", lambda *_: None)
    monkeypatch.setattr(command, "paired_difference", difference)
    (tmp_path / "annotated").mkdir()
    annotations = write(tmp_path / "annotated", annotation(SMALL))
    asked = ("--source", photographs, "--weights", seeded_small_weights, "--frames", "4")
    asked += ("--images", annotations.parent, "--annotations", annotations)
    code, out, err = run_main(capsys, *asked, "--most-loss", bound)
    assert code == 0, err
    assert [line for line in lines if f"int8 in {line} points of mask AP, 5.0 ms an image\n" not in out] == []
    last = known[3][-1]
    assert (last.facts["higher_precision"], last.facts["most_loss"]) == (kept, bound / 100)
    assert len(last.parts["a"]) == 8 - len(kept)

    code, out, err = run_main(capsys, *asked, "--most-loss", 4)
    assert code == 1
    assert "no choice of layers loses at most 4 points" in err.splitlines()[-1]
    assert known[3][-1].parts == LAYERS


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
        (["--images", "."], ["--images and --annotations are given together"]),
        (["--check", "0"], ["--check", "got '0'"]),
        (["--most-loss", "0.5"], ["--most-loss is measured on annotated images", "--images"]),
        (["--most-loss", "-1"], ["--most-loss", "0 to 100, got '-1'"]),
        (["--most-loss", "few"], ["--most-loss", "0 to 100, got 'few'"]),
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
        (EngineError("a part cannot be read: disk full"), 1, "error: a part cannot be read"),
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
    for index in range(5):
        scene = cv2.GaussianBlur(rng.integers(0, 255, (*FRAME_HW, 3), np.uint8), (0, 0), 3)
        cv2.imwrite(str(tmp_path / "scenes" / f"{index}.png"), scene)
    asked = ("--weights", own_weights, "--source", tmp_path / "scenes", "--max-dim", "128", "--frames", "3")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(calibration, "write_calibration", full)
        patched.setitem(sys.modules, "nncf", FakeNncf())
        code, out, err = run_main(capsys, *asked)
    assert (code, out) == (1, "")
    assert "cannot be written: No space left on device" in err.splitlines()[-1]
    assert "Traceback" not in err
    settings = ModelSettings(weights=str(own_weights), max_dim=128)
    assert "int8" not in MaskRCNNSegmenter.of(settings).description

    code, out, err = run_main(capsys, *asked)
    assert code == 0, err
    assert "on 2 other frames " in out
    assert "time a frame: float32 " in out
    found = calibration.read_calibration(tmp_path / "small.h5")
    assert (found.facts["canvases"], found.facts["frames"], found.is_admissible) == (3, 2, False)
    (folder,) = (tmp_path / "cache").glob("small-*/int8")
    assert (folder / "features_body.xml").is_file()
    assert list(tmp_path.rglob("*.part")) == []
    assert "int8" not in MaskRCNNSegmenter.of(settings).description, "too few frames to be chosen for its speed"
    forced = settings.model_copy(update={"precision": Precision.INT8})
    assert MaskRCNNSegmenter.of(forced).description.endswith(" on the CPU, int8")

    (folder / "features_body.bin").write_bytes((folder / "features_body.bin").read_bytes()[:-100])
    segmenter = MaskRCNNSegmenter.of(forced)
    segmenter.open()
    assert segmenter.description.endswith(" on the CPU, int8"), "the graphs are written anew, without the command"
    segmenter.close()

    monkeypatch.setattr(Machine, "int8_is_admissible", lambda self, model: True)
    assert MaskRCNNSegmenter.of(settings).description.endswith(" on the CPU, int8")
