"""The Makefile's parts that can be tried without installing anything."""

import itertools
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.python_check import EXPECTED

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="make and sh are for Linux and macOS")


def fake_python(path, version):
    """A program that answers to tools/python_check.py as a Python of that version (311 is 3.11) would."""
    answer = "exit 0" if 311 <= version <= 313 else f"echo CPython {version // 100}.{version % 100}.0; exit 1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$1" in */python_check.py) {answer};; esac\nexit 3\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def find_python(folder, *arguments):
    (folder / "dirname").unlink(missing_ok=True)
    (folder / "dirname").symlink_to("/usr/bin/dirname")
    return subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "find_python.sh"), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": str(folder), "PYENV_ROOT": str(folder / "pyenv")},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("pythons", "arguments", "chosen"),
    [
        ({"python3": 312}, [], "python3"),
        ({"python3": 309, "python3.11": 311}, [], "python3.11"),
        ({"python3": 314, "python3.12": 312}, [], "python3.12"),
        ({"python3": 312, "python3.13": 313}, ["python3.13"], "python3.13"),
        ({"python3": 309, "pyenv/versions/3.12.7/bin/python": 312}, [], "pyenv/versions/3.12.7/bin/python"),
        ({"python3": 311, "pyenv/versions/3.13.1/bin/python": 313}, ["python3.13"], "pyenv/versions/3.13.1/bin/python"),
        ({"a place/python": 312}, ["a place/python"], "a place/python"),
    ],
)
def test_the_python_that_is_chosen(tmp_path, pythons, arguments, chosen):
    for name, version in pythons.items():
        fake_python(tmp_path / name, version)
    arguments = [str(tmp_path / argument) if "/" in argument else argument for argument in arguments]
    result = find_python(tmp_path, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() in (chosen, str(tmp_path / chosen))


@pytest.mark.parametrize(
    ("pythons", "arguments", "found"),
    [
        ({}, [], "found no python3."),
        ({"python3": 310}, [], "found CPython 3.10.0 (python3)."),
        ({"python3": 314}, [], "found CPython 3.14.0 (python3)."),
        ({"python3": 312, "python3.14": 314}, ["python3.14"], "found CPython 3.14.0 (python3.14)."),
        ({"python3": 312}, ["python2"], "found no python2."),
    ],
)
def test_without_one_there_is_a_clear_line(tmp_path, pythons, arguments, found):
    for name, version in pythons.items():
        fake_python(tmp_path / name, version)
    result = find_python(tmp_path, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: expected {EXPECTED}, {found} Install one, or name it:")
    assert result.stderr.count("\n") == 1


def dry_run(*arguments):
    # The tests themselves run under make, which hands its variables on.
    theirs = ("MAKE", "MFLAGS", "PYTHON", "LIGHT", "VENV", "UV", "DEMO_FLAGS", "PYTEST_FLAGS")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    result = subprocess.run(
        ["make", "-n", *arguments], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60, env=variables
    )
    return result.stdout


def test_make_test_installs_then_runs_every_tier_under_both_backends(tmp_path):
    text = dry_run("test", f"VENV={tmp_path}/venv")
    install, tensorflow = text.index("tools/install.py test"), text.index("KERAS_BACKEND=tensorflow")
    assert text.index("tools/install.py run") < install < tensorflow < text.index("KERAS_BACKEND=jax")
    assert "torch" not in text


def test_every_test_is_in_one_tier_of_make_test():
    """By the rules of `pytest -m` on every set of marks; that Keras is tested on JAX as well is another thing."""
    expressions = [
        re.search(r' -m "(.+)"$', dry_run(tier, f"VENV={ROOT}/none"), re.MULTILINE).group(1)
        for tier in ("test-fast", "test-network", "test-alone")
    ]
    names = ("slow", "keras", "browser", "window", "realtime", "gpu")
    for truths in itertools.product((False, True), repeat=len(names)):
        marks = dict(zip(names, truths, strict=True))
        assert sum(eval(expression, {}, dict(marks)) for expression in expressions) == 1, marks


def test_pre_commit_runs_what_make_lint_runs_and_fetches_nothing():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    [hook] = repositories[0]["hooks"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == ("make lint", "system", False)
    checks = re.findall(r"-m (.*)", dry_run("lint", f"VENV={ROOT}/none"))
    assert checks == ["ruff check .", "ruff format --check .", "mypy"]


def test_make_docs_has_an_environment_of_its_own_and_fails_on_warnings(tmp_path):
    text = dry_run("docs", f"VENV={tmp_path}/venv")
    install, build = text.index("tools/install.py run"), text.index("-m sphinx")
    assert install < text.index(f'--venv "{tmp_path}/venv-docs" --lock locks/docs.txt') < build
    assert "--fail-on-warning" in text[build:]


def test_make_dist_builds_the_last_commit_with_its_time_and_lists_the_locked_packages(tmp_path):
    text = dry_run("dist", f"VENV={tmp_path}/venv")
    archive, sdist, wheel, sbom = map(
        text.index, ("git archive HEAD", "build_sdist", "pip wheel", "cyclonedx-py requirements")
    )
    assert text.index("tools/install.py run") < archive < sdist < wheel < sbom
    assert f"cd out/dist/source && {tmp_path}/venv/bin/python" in text
    assert "out/dist/source/locks/run.txt" in text[sbom:]


def test_what_is_installed_is_not_installed_again(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bin/python", ".installed-run", ".installed-test"):
        (tmp_path / name).touch()
    assert "install.py" not in dry_run("test", "demo", f"VENV={tmp_path}")
    (tmp_path / "bin" / "python").unlink()
    assert "install.py run" in dry_run("demo", f"VENV={tmp_path}")


def test_another_python_gets_an_environment_of_its_own():
    text = dry_run("demo", "PYTHON=/opt/no-such-python")
    assert ".venv-no-such-python/bin/python tools/demo.py" in text
    assert 'find_python.sh "/opt/no-such-python"' in text


def test_a_light_environment_is_one_of_its_own(tmp_path):
    text = dry_run("demo", "LIGHT=1")
    assert 'tools/install.py light --venv ".venv-light"' in text
    assert ".venv-light/bin/python tools/demo.py" in text
    assert 'tools/install.py light --venv ".venv-python3.12-light"' in dry_run("demo", "LIGHT=1", "PYTHON=python3.12")


def test_something_is_said_before_anything_else_is_done(tmp_path):
    first = dry_run("demo", f"VENV={tmp_path}/venv").splitlines()[0]
    assert re.match(r'echo "== setting up ', first)


def test_the_newest_of_everything_has_no_bounds(tmp_path):
    (tmp_path / "uv").touch()
    text = dry_run("test-newest", f"UV={tmp_path}/uv")
    command = next(line for line in text.splitlines() if line.startswith("sed "))
    names = subprocess.run(command.split("|")[0], shell=True, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = [line for line in names.stdout.splitlines() if line and not line.startswith("#")]
    assert {"av", "tensorflow", "pytest"} <= set(lines)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", line) for line in lines), lines
