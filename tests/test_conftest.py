"""Tests of a browser or window skip without their programs, and fail where these are required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OF_A_WINDOW = "tests/pipeline/sinks/test_screen.py::test_monitors_and_pointer_of_a_real_x_server"


@pytest.mark.parametrize(("required", "code", "told"), [("browser", 0, "1 skipped"), ("browser,window", 1, "1 error")])
def test_what_is_required_does_not_skip(tmp_path, required, code, told):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", OF_A_WINDOW],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "STREAM_SEGMENT_REQUIRE": required},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert told in done.stdout
    assert "needs Xvfb and xvfb-run, not found on PATH" in done.stdout
