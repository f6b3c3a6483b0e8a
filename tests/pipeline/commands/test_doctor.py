"""The report of the command `doctor`, with checks that find what they are told to."""

import json
import logging
import threading

import pytest

from pipeline.commands import doctor
from pipeline.commands.doctor_checks import Check, Finding, Level
from pipeline.commands.main import main

FINE = Finding("disk", Level.OK, "9 GB free", data={"free_bytes": 9_000_000_000})
LESS = Finding("screen", Level.WARNING, "no window: DISPLAY is not set", "run with --no-window")
BAD = Finding("weights", Level.PROBLEM, "none", "download them")


@pytest.fixture
def checks(monkeypatch):
    """Puts these checks in place of the real ones."""

    def put(*given):
        made = [one if isinstance(one, Check) else Check(one.topic, lambda one=one: [one]) for one in given]
        monkeypatch.setattr(doctor, "CHECKS", made)

    return put


@pytest.mark.parametrize(
    ("findings", "code", "conclusion"),
    [
        ([FINE], 0, "all is well"),
        ([FINE, LESS], 0, "1 warning"),
        ([BAD, FINE], 1, "1 problem"),
        ([LESS, BAD, BAD, LESS], 1, "2 problems, 2 warnings"),
    ],
)
def test_the_worst_finding_decides(checks, capsys, findings, code, conclusion):
    checks(*findings)
    assert main(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == conclusion


def test_each_finding_is_a_line_with_what_to_do(checks, capsys):
    checks(FINE, LESS)
    main(["doctor"])
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "ok       disk     9 GB free",
        "warning  screen   no window: DISPLAY is not set",
        "                  -> run with --no-window",
    ]


def test_json(checks, capsys):
    checks(FINE, BAD)
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["exit_code"] == 1
    assert report["findings"] == [
        {"topic": "disk", "level": "ok", "text": "9 GB free", "advice": "", "data": {"free_bytes": 9_000_000_000}},
        {"topic": "weights", "level": "problem", "text": "none", "advice": "download them", "data": {}},
    ]


def test_a_check_that_fails_is_a_problem_and_the_others_follow(checks, capsys):
    def fails():
        yield LESS
        raise ZeroDivisionError("by zero")

    checks(Check("screen", fails), FINE)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "warning  screen   no window: DISPLAY is not set"
    assert lines[2] == "problem  screen   the check of screen failed: ZeroDivisionError: by zero"
    assert lines[-2] == "ok       disk     9 GB free"


def test_a_check_that_hangs_is_a_problem_and_the_others_follow(checks, capsys):
    never = threading.Event()

    def hangs():
        yield LESS
        never.wait()

    checks(Check("screen", hangs, 1.0), FINE)
    assert main(["doctor"]) == 1
    never.set()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "problem  screen   no answer within 1 s"
    assert lines[-2] == "ok       disk     9 GB free"


def test_what_a_run_would_log_is_printed_with_verbose_only(checks, capsys):
    def logs():
        logging.getLogger("mrcnn.engines").warning("preparing")
        return [FINE]

    checks(Check("disk", logs))
    main(["doctor"])
    assert capsys.readouterr().err == ""
    main(["doctor", "--verbose"])
    assert capsys.readouterr().err == "stream_segment: preparing\n"
