"""What `make demo` asks of the program; the flags of the user come last and win."""

import importlib.util
from pathlib import Path

import pytest

from pipeline.segmentation.weights_file import SHIPPED_NAME, WeightsChoice

SCRIPT = Path(__file__).parents[2] / "tools" / "demo.py"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """Runs the demo with these flags, and returns those that the program gets."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    runs = []
    monkeypatch.setattr(script, "VIDEO", tmp_path / "out" / "people.mp4")
    monkeypatch.setattr(script, "find_weights", lambda _: WeightsChoice(Path("weights", SHIPPED_NAME), "shipped"))
    monkeypatch.setattr(script, "stream_segment", lambda flags: runs.append(flags) or 0)

    def run(*flags):
        monkeypatch.setattr("sys.argv", ["demo.py", *flags])
        assert script.main() == 0
        return runs[-1]

    return run


def test_its_own_files_are_replaced_and_those_of_the_user_are_not(demo):
    assert "--overwrite" in demo()
    for flags in (["--output", "mine.mp4"], ["--output=mine.mp4"], ["--detections", "mine.jsonl"]):
        given = demo(*flags)
        assert "--overwrite" not in given
        assert given[-len(flags) :] == flags


def test_nothing_but_the_summary_names_the_results(demo, capsys):
    demo("--output", "mine.mp4")
    assert capsys.readouterr().out == f"Weights: {Path('weights', SHIPPED_NAME)} (shipped)\n"


@pytest.mark.parametrize("flags", [["--weights", "mine.h5"], ["--weights=mine.h5"], ["--model", "mine.h5"]])
def test_weights_of_the_user(demo, capsys, flags):
    given = demo(*flags)
    assert given[given.index("--weights") + 1] == "mine.h5"
    assert given.count("--weights") == 1
    assert "--max-dim" not in given
    assert capsys.readouterr().out == "Weights: mine.h5 (named by the user)\n"
