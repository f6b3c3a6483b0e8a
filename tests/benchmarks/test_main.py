"""The command: which rows run, what is written, exit codes."""

import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks import gpu_probe
from benchmarks.measuring import RowReport, Spread, Value, at_least
from benchmarks.rows import CPU_ROWS, GPU_ROWS, PEER_ROWS, load


class Runner:
    """Stands in for the processes of the rows."""

    def __init__(self, missed=(), failing=()):
        self.missed, self.failing = missed, failing
        self.ran, self.options, self.more = [], None, []

    def __call__(self, name, options, **more):
        self.ran.append(name)
        self.options = options
        self.more.append(more)
        if name in self.failing:
            return RowReport(name, f"title of {name}", error="Traceback\nValueError: no")
        value = Value("rate", Spread.one(1 if name in self.missed else 3), "fps", at_least(2))
        return RowReport(name, f"title of {name}", [value], seconds=2.0)


def test_all_rows_in_the_order_of_the_table(tmp_path, capsys):
    runner, path = Runner(missed=["small"]), tmp_path / "cpu.json"
    assert command.main(["--json", str(path)], runner) == 0
    assert tuple(runner.ran) == CPU_ROWS
    record = json.loads(path.read_text())
    assert [row["name"] for row in record["rows"]] == list(CPU_ROWS)
    assert [row["values"][0]["reached"] for row in record["rows"]] == [name != "small" for name in CPU_ROWS]
    assert record["machine"]["cpu"]
    assert record["options"]["quick"] is False
    assert record["seconds"] == 2.0 * len(CPU_ROWS)
    out = capsys.readouterr()
    assert out.out.count("missed") == 1
    assert f"{len(CPU_ROWS) - 1} targets reached, 1 missed" in out.err


def test_an_interrupted_run_keeps_the_rows_that_it_measured(tmp_path):
    class Interrupted(Runner):
        def __call__(self, name, options, **more):
            if len(self.ran) == 2:
                raise KeyboardInterrupt
            return super().__call__(name, options, **more)

    runner, path = Interrupted(), tmp_path / "cpu.json"
    with pytest.raises(KeyboardInterrupt):
        command.main(["--json", str(path)], runner)
    record = json.loads(path.read_text())
    assert [row["name"] for row in record["rows"]] == list(CPU_ROWS[:2])
    assert record["seconds"] == 4.0


@pytest.mark.parametrize(
    ("package", "rows"), [("torchvision", ("coco_r50", "coco_r50_v2")), ("ultralytics", ("yolo",))]
)
def test_an_interpreter_with_another_package_adds_its_rows(package, rows, capsys):
    runner = Runner()
    assert command.main([f"--{package}", sys.executable], runner) == 0
    assert tuple(runner.ran) == CPU_ROWS + rows
    assert vars(runner.options)[package] == sys.executable
    assert command.main(["--only", f"{rows[0]},small"], runner) == 0
    assert runner.ran[-2:] == ["small", rows[0]]


def test_a_row_that_fails_is_exit_code_1_and_the_others_still_run(capsys):
    runner = Runner(failing=["live"])
    assert command.main(["--markdown"], runner) == 1
    assert tuple(runner.ran) == CPU_ROWS
    out = capsys.readouterr()
    assert "| not measured: ValueError: no | | | | failed |" in out.out
    assert "failed: live" in out.err


def test_some_rows_with_settings(tmp_path):
    weights = tmp_path / "w.h5"
    weights.touch()
    runner = Runner()
    arguments = ["--only", "drawing, small", "--quick", "--weights", str(weights), "--set", "model.max_instances=5"]
    assert command.main(arguments, runner) == 0
    assert runner.ran == ["small", "drawing"]
    assert (runner.options.quick, runner.options.weights) == (True, str(weights))
    assert runner.options.model == {"max_instances": 5}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "--only nothing: expected some of resnet_1024"),
        (["--weights", "nowhere.h5"], "--weights nowhere.h5: there is no such file"),
        (["--json", "nowhere/x.json"], "--json nowhere/x.json: there is no folder nowhere"),
        (["--set", "source.uri=x"], "expected model.KEY=VALUE"),
        (["--set", "model.speed=x"], "expected model.KEY=VALUE"),
        (["--coco-images", "."], "are given together"),
        (["--show", "nowhere.json"], "--show nowhere.json: there is no such file"),
        (["--what"], "unrecognized arguments"),
    ],
)
def test_bad_usage_is_told_before_anything_is_measured(arguments, words, capsys):
    runner = Runner()
    assert command.main(arguments, runner) == 2
    assert words in capsys.readouterr().err
    assert runner.ran == []


def test_a_table_that_was_written_is_shown_again(tmp_path, capsys):
    path = tmp_path / "x.json"
    command.main(["--only", "live", "--json", str(path), "--markdown"], Runner())
    first = capsys.readouterr().out
    assert command.main(["--show", str(path), "--markdown"]) == 0
    assert capsys.readouterr().out == first
    assert command.main(["--show", str(path)]) == 0
    assert "title of live" in capsys.readouterr().out


def test_gpu_fails_where_none_is_seen(monkeypatch, capsys):
    monkeypatch.setattr(gpu_probe, "backends_with_gpu", dict)
    runner = Runner()
    assert command.main(["--gpu"], runner) == 2
    assert "sees a GPU" in capsys.readouterr().err
    assert runner.ran == []


def test_gpu_runs_under_each_backend_that_sees_it(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_probe, "backends_with_gpu", lambda: {"jax": "NVIDIA H100", "torch": "NVIDIA H100"})
    runner, path = Runner(), tmp_path / "gpu.json"
    assert command.main(["--gpu", "--json", str(path)], runner) == 0
    assert runner.ran == list(GPU_ROWS) * 2
    assert [more["environment"]["KERAS_BACKEND"] for more in runner.more] == ["jax", "torch"]
    assert json.loads(path.read_text())["machine"]["gpu"] == "NVIDIA H100"


@pytest.mark.parametrize("name", [*CPU_ROWS, *PEER_ROWS, *GPU_ROWS])
def test_every_row_has_a_title_and_can_be_measured(name):
    row = load(name)
    assert row.TITLE
    assert callable(row.measure)
