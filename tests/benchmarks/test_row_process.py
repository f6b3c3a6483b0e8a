"""Rows in processes of their own: one that works, fails, says nothing, or hangs."""

import json
import sys

import pytest

from benchmarks import row_process
from benchmarks.measuring import RowReport, Spread, Value, at_least
from benchmarks.options import Options
from benchmarks.row_process import run_row

REPORT = RowReport("drawing", "t", [Value("v", Spread.one(1), "x", at_least(2))])
GOOD = f"import sys; open(sys.argv[3], 'w').write({json.dumps(REPORT.as_json())!r})"


def command(code):
    return (sys.executable, "-S", "-c", code)


def test_a_row_that_works():
    report = run_row("drawing", Options(), command=command(GOOD))
    assert report.values == REPORT.values
    assert report.error == ""
    assert report.seconds >= 0


def test_a_row_gets_its_name_its_options_and_the_environment():
    code = "import sys, os; print(sys.argv[1], sys.argv[2], os.environ['WHO'], file=sys.stderr); sys.exit(3)"
    report = run_row("drawing", Options(quick=True), environment={"WHO": "me"}, command=command(code))
    assert report.error.splitlines()[0] == f"drawing {Options(quick=True).to_text()} me"
    assert report.error.splitlines()[-1].startswith("drawing: it ended with 3: ")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('broken')", "drawing: it ended with 1: ValueError: broken"),
        ("pass", "drawing: it ended with 0: no output"),
        ("import os; os.kill(os.getpid(), 9)", "drawing: it ended with -9: no output"),
    ],
)
def test_a_row_that_fails_has_its_reason(code, words):
    report = run_row("drawing", Options(), command=command(code))
    assert report.error.splitlines()[-1] == words
    assert report.title == "drawing 20 objects at 1080p from 28x28 masks"
    assert report.values == ()


def test_a_row_whose_module_cannot_be_imported_fails_by_itself():
    code = "raise ModuleNotFoundError(\"No module named 'benchmarks.rows.nothing'\")"
    report = run_row("nothing", Options(), command=command(code))
    assert report.title == "nothing"
    assert report.error.splitlines()[-1].endswith("No module named 'benchmarks.rows.nothing'")


def test_a_row_that_hangs_is_ended():
    code = "import time; time.sleep(60)"
    assert "no result within 0.2 s" in run_row("drawing", Options(), 0.2, command=command(code)).error


def test_a_row_that_hangs_is_ended_where_there_are_no_process_groups(monkeypatch):
    monkeypatch.delattr(row_process.os, "killpg", raising=False)
    code = "import time; time.sleep(60)"
    assert "no result within 0.2 s" in run_row("drawing", Options(), 0.2, command=command(code)).error


def test_progress_is_no_reason():
    code = "import sys; sys.exit('reason\\n    ready: a network')"
    assert run_row("drawing", Options(), command=command(code)).error.endswith("it ended with 1: reason")


def test_main_writes_what_the_row_measures(monkeypatch, tmp_path):
    class Row:
        @staticmethod
        def measure(options):
            assert options == Options(weights="w")
            return REPORT

    monkeypatch.setattr(row_process, "load", lambda name: Row)
    row_process.main("x", Options(weights="w").to_text(), str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text())["values"][0]["reached"] is False
