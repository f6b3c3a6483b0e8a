"""The Makefile's parts that can be tried without installing anything."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="make and sh are for Linux and macOS")


def fake_python(folder, name, version):
    """A program that answers as a Python of that version (311 is 3.11) would."""
    path = folder / name
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" || echo {version}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def find_python(folder, *arguments):
    return subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "find_python.sh"), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": str(folder)},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("pythons", "arguments", "chosen"),
    [
        ({"python3": 312}, [], "python3"),
        ({"python3": 309, "python3.11": 311}, [], "python3.11"),
        ({"python3": 314, "python3.12": 312}, [], "python3.12"),
        ({"python3": 314}, [], "python3"),
        ({"python3": 312, "python3.14": 314}, ["python3.14"], "python3.14"),
    ],
)
def test_the_python_that_is_chosen(tmp_path, pythons, arguments, chosen):
    for name, version in pythons.items():
        fake_python(tmp_path, name, version)
    result = find_python(tmp_path, *arguments)
    assert (result.returncode, result.stdout.strip()) == (0, chosen)


@pytest.mark.parametrize(("pythons", "arguments"), [({}, []), ({"python3": 310}, []), ({"python3": 312}, ["python2"])])
def test_without_one_there_is_a_clear_line(tmp_path, pythons, arguments):
    for name, version in pythons.items():
        fake_python(tmp_path, name, version)
    result = find_python(tmp_path, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "expected Python 3.11 or newer" in result.stderr
    assert result.stderr.count("\n") == 1


def dry_run(*arguments):
    result = subprocess.run(
        ["make", "-n", *arguments], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60, env=os.environ
    )
    return result.stdout


def test_make_test_installs_then_tests_under_both_backends(tmp_path):
    text = dry_run("test", f"VENV={tmp_path}/venv")
    install, tensorflow = text.index("-r requirements-test.txt"), text.index("KERAS_BACKEND=tensorflow")
    assert install < tensorflow < text.index("KERAS_BACKEND=jax")


def test_what_is_installed_is_not_installed_again(tmp_path):
    for name in (".installed-run", ".installed-test"):
        (tmp_path / name).touch()
    assert "pip" not in dry_run("test", "demo", f"VENV={tmp_path}")
