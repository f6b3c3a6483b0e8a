import pytest

from benchmarks.measuring import at_least
from benchmarks.options import Options
from benchmarks.rows import yolo
from tests.benchmarks.rows.fakes import by_name

COUNT = 20
TIMES = {"int8": 0.2, "bfloat16": 0.3, "float32": 0.4, "auto": 0.45, "other": 0.5}
"""Seconds of COUNT frames, by the last word of a label; of ours, the whole label."""


@pytest.fixture
def began(monkeypatch):
    """Peers that are made, and how often each predicts; nothing is timed."""
    made = {}

    class Theirs:
        def __init__(self, python, script, image, *arguments):
            self.name = (python, script.name, image.shape, *arguments)
            made[self.name] = 0

        def __enter__(self):
            return self.predict

        def __exit__(self, *error):
            pass

        def predict(self):
            made[self.name] += 1
            return 1.0

    def timed(sides, rounds):
        for label, side in sides.items():
            if ", " in label:
                side()
        return {label: [TIMES[label.split()[-1]]] * rounds for label in sides}

    monkeypatch.setattr(yolo, "Peer", Theirs)
    monkeypatch.setattr(yolo, "alternate", timed)
    monkeypatch.setattr(yolo, "ready", yolo.contextlib.nullcontext)
    monkeypatch.setattr(yolo.models, "precisions", lambda settings: ["int8", "bfloat16", "float32"])
    monkeypatch.setattr(yolo.Machine, "cores", lambda self: 2)
    return made


def test_each_precision_beside_the_same_of_the_others(began):
    values = by_name(yolo.measure(Options(quick=True, ultralytics="py")))
    assert values["a frame, int8"].spread.median == pytest.approx(10)
    assert values["a frame, yolo26n-seg, OpenVINO auto"].spread.median == pytest.approx(22.5)
    same = {"int8": 1.0, "bfloat16": 1.5, "float32": 1.0}
    for precision, ratio in same.items():
        value = values[f"times as fast as yolo11n-seg, {precision}"]
        assert (value.spread.median, value.target) == (pytest.approx(ratio), at_least(1.2))
        assert values[f"times as fast as yolo26n-seg, {precision}"].target is None
    ways = [
        ("openvino", "auto"),
        ("openvino", "float32"),
        ("openvino", "int8"),
        ("torch", "float32"),
        ("torch", "bfloat16"),
    ]
    assert began == {
        ("py", "peer_ultralytics.py", (360, 640, 3), model, 288, 512, 2, *way): COUNT
        for model in ("yolo11n-seg", "yolo26n-seg")
        for way in ways
    }


def test_without_an_interpreter_only_ours_is_timed(began):
    assert sorted(by_name(yolo.measure(Options(quick=True)))) == [
        "a frame, bfloat16",
        "a frame, float32",
        "a frame, int8",
    ]
    assert began == {}
