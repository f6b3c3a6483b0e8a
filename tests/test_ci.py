""".ci/run with a make that does nothing: which tiers it runs on which Python, and that it fails when one is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")

MAKE = """#!/bin/sh
echo "make $*" | sed "s|$PWD||; s|/[^ ]*/weights/|W/|"
case "$*" in test-alone*) echo "required: $STREAM_SEGMENT_REQUIRE" ;; esac
case "$*" in
*"$FAILS"*) exit 1 ;;
demo*) mkdir -p out; echo video >out/people_segmented.mp4 ;;
*"$ENDS_EARLY"*) ;;
test*) echo "== 7 passed, 1 skipped in 1.23s ==" ;;
esac
"""


@pytest.fixture
def ci(tmp_path):
    """Runs a copy of .ci/run where only the named Pythons are found; returns (exit code, lines)."""
    clone, tools = tmp_path / "clone", tmp_path / "tools"
    for folder in (".ci", "tools", "weights"):
        (clone / folder).mkdir(parents=True)
    for name in (".ci/run", "tools/find_python.sh", "tools/python_check.py", "weights/stream_segment_person.h5"):
        shutil.copy(ROOT / name, clone / name)
    tools.mkdir()
    (tools / "make").write_text(MAKE, encoding="utf-8")
    (tools / "make").chmod(0o755)
    for name in ("bash", "sh", "dirname", "mktemp", "rm", "mkdir", "cp", "tee", "tail", "grep", "sed"):
        (tools / name).symlink_to(shutil.which(name))

    def run(versions, fails="nothing", programs=(), **variables):
        for program in programs:
            (tools / program).write_text("#!/bin/sh\n", encoding="utf-8")
            (tools / program).chmod(0o755)
        for version in versions:
            python = tools / f"python{version}"
            python.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
            python.chmod(0o755)
        done = subprocess.run(
            ["bash", clone / ".ci" / "run"],
            env={"PATH": str(tools), "PYENV_ROOT": str(tmp_path), "FAILS": fails, "ENDS_EARLY": "nothing", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        return done.returncode, done.stdout.splitlines()

    return run


def test_each_python_is_tested_the_first_one_wholly(ci):
    code, lines = ci(["3.11", "3.12", "3.13"], CI="true")
    assert (code, lines[-1]) == (0, "CI: all passed")
    made = [line for line in lines if line.startswith("make ")]
    short_demo = "DEMO_FLAGS=--max-frames 50 --weights W/stream_segment_person.h5"

    def light(version):
        return f"make demo LIGHT=1 PYTHON=python{version} VENV=.venv-ci-{version}-light {short_demo}"

    assert made == [
        *(
            f"make {what} PYTHON=python3.11 VENV=.venv-ci-3.11"
            for what in ("test-fast", "lint", "docs", "test-network", "test-jax", "test-alone")
        ),
        light("3.11"),
        *(
            line
            for version in ("3.12", "3.13")
            for line in (
                f"make test-fast PYTHON=python{version} VENV=.venv-ci-{version}",
                f"make test-network PYTHON=python{version} VENV=.venv-ci-{version} NETWORK=keras and not slow",
                f"make demo PYTHON=python{version} VENV=.venv-ci-{version} {short_demo}",
                light(version),
            )
        ),
    ]


def test_the_number_of_tests_is_printed_by_tier(ci):
    _, lines = ci(["3.11", "3.12", "3.13"])
    told = lines[next(index for index, line in enumerate(lines) if line.startswith("== tests by tier")) + 1 : -1]
    counts = [line.partition(": ")[0].strip() for line in told if line.endswith(": 7 passed, 1 skipped in 1.23s")]
    assert counts == [
        "3.11 fast",
        "3.11 network on TensorFlow, and slow",
        "3.11 network on JAX",
        "3.11 browser, window and real time",
        *(f"{version} {what}" for version in ("3.12", "3.13") for what in ("fast", "network on TensorFlow, not slow")),
    ]


@pytest.mark.parametrize(
    ("programs", "variables", "required"),
    [
        ((), {}, ""),
        (("chromium",), {}, "browser"),
        (("google-chrome", "Xvfb", "xvfb-run", "xdotool"), {}, "browser,window"),
        (("Xvfb", "xvfb-run"), {}, ""),
        ((), {"STREAM_SEGMENT_REQUIRE": "browser,window"}, "browser,window"),
    ],
)
def test_a_browser_and_an_x_server_are_required_where_they_are_installed(ci, programs, variables, required):
    code, lines = ci(["3.11", "3.12", "3.13"], programs=programs, CI="true", **variables)
    assert code == 0
    assert f"required: {required}" in lines
    not_run = {line.split()[0] for line in lines if ": not run, " in line}
    assert not_run == {"browser:", "window:"} - {f"{name}:" for name in required.split(",") if not variables}


@pytest.mark.parametrize(("variables", "code"), [({"CI": "true"}, 1), ({}, 0)])
def test_a_python_that_is_not_found_is_named_and_fails_where_ci_says_so(ci, variables, code):
    found, lines = ci(["3.11", "3.13"], **variables)
    assert found == code
    assert "Python 3.12: not found, not tested" in lines
    assert any("VENV=.venv-ci-3.13" in line for line in lines)


@pytest.mark.parametrize(
    "fails",
    [
        "test-fast PYTHON=python3.11",
        "test-network",
        "test-jax",
        "test-alone",
        "lint",
        "test-fast PYTHON=python3.13",
        "demo PYTHON=python3.12",
        "demo LIGHT=1 PYTHON=python3.11",
    ],
)
def test_any_failure_fails(ci, fails):
    code, lines = ci(["3.11", "3.12", "3.13"], fails)
    assert (code, lines[-1]) == (1, "CI: failed")


def test_tests_that_do_not_come_to_their_end_fail(ci):
    code, lines = ci(["3.11", "3.12", "3.13"], ENDS_EARLY="test-jax")
    assert (code, lines[-1]) == (1, "CI: failed")
    assert "  3.11 network on JAX: pytest did not come to its end" in lines


def test_no_python_at_all_fails(ci):
    code, lines = ci([])
    assert (code, lines[-1]) == (1, "CI: failed")
    assert "Python 3.11 3.12 3.13: not found, not tested" in lines
