import contextlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks import torchvision_rate
from benchmarks.measuring import at_least
from benchmarks.models import Weights
from benchmarks.options import Options
from benchmarks.rows import coco_r50, coco_r50_v2
from tests.benchmarks.rows.fakes import Engine, by_name
from tests.pipeline.fakes import make_instances

TIMES = {"float32": 0.5, "bfloat16": 0.2, "int8": 0.1, "torchvision, float32": 1.5, "torchvision, bfloat16": 0.9}


class SureEngine(Engine):
    """Finds 19 objects with scores from 0.95 down to 0.05 in steps of 0.05: 0.65 is the seventh."""

    def segment(self, image_bgr):
        found = make_instances(19)
        scores = np.linspace(0.95, 0.05, 19).astype(np.float32)
        return type(found)(found.boxes_xyxy, found.class_ids, scores, found.mask_probs)


@pytest.fixture
def engines(monkeypatch):
    made = []

    @contextlib.contextmanager
    def opened(settings):
        made.append(SureEngine(settings, 19))
        yield made[-1]

    random = Weights(Path("w.pkl"), "random", seeded=True)
    monkeypatch.setattr(torchvision_rate.models, "random_torchvision", lambda flavor: random)
    monkeypatch.setattr(torchvision_rate.models, "precisions", lambda settings: ["int8", "bfloat16", "float32"])
    monkeypatch.setattr(torchvision_rate.models, "opened", opened)
    monkeypatch.setattr(
        torchvision_rate, "alternate", lambda sides, rounds: {label: [TIMES[label]] * rounds for label in sides}
    )
    return made


def test_beside_torchvision_itself(engines, monkeypatch):
    began = []

    class Theirs:
        def __init__(self, python, script, image, path, function, score, threads, precision):
            began.append((python, script.name, image.shape, path.name, function, score, precision))

        def __enter__(self):
            return lambda: 1.0

        def __exit__(self, *error):
            began.append("ended")

    monkeypatch.setattr(torchvision_rate, "Peer", Theirs)
    report = coco_r50_v2.measure(Options(torchvision="py"))
    values = by_name(report)
    exact = values["times as fast as torchvision in float32, float32"]
    assert (exact.spread.median, exact.target) == (pytest.approx(3), at_least(2))
    best = values["times as fast as torchvision in float32, int8"]
    assert (best.spread.median, best.target) == (pytest.approx(15), at_least(6))
    assert values["times as fast as torchvision in float32, bfloat16"].target is None
    assert values["frames a second, torchvision, bfloat16"].spread.median == pytest.approx(1 / 0.9)
    common = ("py", "peer_torchvision.py", (720, 1280, 3), "w.pkl", "maskrcnn_resnet50_fpn_v2", pytest.approx(0.625))
    assert began == [(*common, "float32"), (*common, "bfloat16"), "ended", "ended"]


def test_without_an_interpreter_only_ours_is_timed(engines):
    values = by_name(coco_r50.measure(Options()))
    assert sorted(values) == [
        *("frames a second, bfloat16", "frames a second, float32", "frames a second, int8"),
        *("objects as in float32, bfloat16", "objects as in float32, int8"),
    ]


def test_the_threshold_lets_seven_objects_through(engines):
    coco_r50.measure(Options())
    first, *timed = [engine.settings for engine in engines]
    assert (first["precision"], first["min_score"]) == ("float32", 0.05)
    assert [settings["min_score"] for settings in timed] == pytest.approx([0.625] * 3)
