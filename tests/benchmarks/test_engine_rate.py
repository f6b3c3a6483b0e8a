"""The rows of the network alone, with fakes for the engines and a clock that tells what each call took."""

import pytest

from benchmarks import engine_rate
from benchmarks.measuring import at_least
from benchmarks.options import Options
from tests.benchmarks.rows.fakes import by_name, opening


@pytest.fixture
def engines(monkeypatch, tmp_path):
    def alternate(sides, rounds):
        for run in sides.values():
            run()
        # The first two are three frames
        seconds = {"1000 proposals": 1.5, "300 proposals": 1.2, "keras": 2.0, "original": 6.0}
        return {name: [seconds[name]] * rounds for name in sides}

    monkeypatch.setattr(engine_rate, "alternate", alternate)
    monkeypatch.setattr(engine_rate.models, "seeded_file", lambda: tmp_path / "seeded.h5")
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    return opening(monkeypatch, engine_rate)


def test_rates_and_ratios(engines):
    targets = {"of Keras": at_least(5), "fps": at_least(2)}
    report = engine_rate.resnet_row("r", "t", 512, Options(model={"precision": "int8"}), targets, 4)
    values = by_name(report)
    assert values["frames a second, 1000 proposals"].spread.median == 2
    assert values["frames a second, 1000 proposals"].reached is True
    assert values["frames a second, 300 proposals"].spread.median == 2.5
    of_keras = [values[f"times as fast as the square Keras engine, {count} proposals"] for count in (1000, 300)]
    assert [(value.spread.median, value.reached) for value in of_keras] == [(4, False), (5, True)]
    of_original = values["times as fast as the original at 1024 px, 300 proposals"]
    assert of_original.spread.median == pytest.approx(4.9 / 0.4)
    assert "stored 4.9 s" in of_original.note
    agreed = values["objects as the square Keras engine finds them, on the same canvas, 1000 proposals"]
    # The weights are seeded: in int8 they promise nothing.
    assert (agreed.spread.median, agreed.target) == (pytest.approx(80), None)
    assert report.settings["engine"] == "fake auto, int8"
    assert [engine.settings["max_dim"] for engine in engines] == [512] * 5
    assert [engine.settings.get("proposals") for engine in engines] == [1000, 300, None, 1000, 300]
    assert {shape for engine in engines for shape in engine.seen} == {(720, 1280, 3)}


def test_the_original_takes_its_turns(engines, monkeypatch):
    opened = []

    class Theirs:
        def __init__(self, python, script, image, weights, max_dim):
            opened.append((python, script.name, image.shape, weights.name, max_dim))

        def __enter__(self):
            return lambda: 1.0

        def __exit__(self, *error):
            opened.append("closed")

    monkeypatch.setattr(engine_rate, "Peer", Theirs)
    report = engine_rate.resnet_row("r", "t", 512, Options(original="py37", model={"proposals": 300}), {}, 1)
    assert not any("1000 proposals" in value.name for value in report.values), "the user's own count is the only one"
    value = by_name(report)["times as fast as the original at 1024 px, 300 proposals"]
    assert (value.spread.median, value.target) == (pytest.approx(15), None)
    assert "alternating" in value.note
    assert opened == [("py37", "peer_matterport.py", (720, 1280, 3), "seeded.h5", 1024), "closed"]


@pytest.mark.parametrize(
    ("precision", "trained", "target"),
    [("int8", True, at_least(90)), ("float32", False, at_least(97)), ("bfloat16", False, None)],
)
def test_what_is_promised_depends_on_precision_and_training(engines, precision, trained, target):
    value = engine_rate.same_canvas({"precision": precision}, [], [], trained=trained)
    assert value.target == target
    assert engines[0].settings["canvas"] == "square"
