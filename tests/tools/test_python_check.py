"""Which Pythons are refused, and that old ones can read why."""

import platform
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tools import python_check

ROOT = Path(__file__).parents[2]


def test_this_python_is_one_of_those_that_are_expected():
    assert python_check.fault() is None


def test_the_range_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (oldest, newest) = python_check.OLDEST, python_check.NEWEST
    assert project["requires-python"] == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    named = [f"{oldest[0]}.{minor}" for minor in range(oldest[1], newest[1] + 1)]
    assert f"{', '.join(named[:-1])} or {named[-1]}" in python_check.EXPECTED


@pytest.mark.parametrize("version", [(3, 10, 9), (2, 7, 18)])
def test_an_old_python_is_named(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(platform, "python_version", lambda: ".".join(map(str, version)))
    assert python_check.fault() == f"CPython {version[0]}.{version[1]}.{version[2]}"


def test_a_newer_python_has_no_tensorflow(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert python_check.fault().endswith(", for which TensorFlow has no release yet")


@pytest.mark.parametrize(
    ("machine", "library", "refused"),
    [
        (("Linux", "armv7l"), ("glibc", "2.36"), "on Linux armv7l"),
        (("Darwin", "x86_64"), ("", ""), "on Darwin x86_64"),
        (("Linux", "x86_64"), ("", ""), "on Linux x86_64"),
        (("Linux", "x86_64"), ("glibc", "2.17"), "on Linux x86_64"),
        (("Linux", "aarch64"), ("glibc", "2.28"), None),
    ],
)
def test_systems_without_releases_are_named(monkeypatch, machine, library, refused):
    monkeypatch.setattr(platform, "system", lambda: machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    monkeypatch.setattr(sys, "platform", {"Linux": "linux", "Darwin": "darwin"}[machine[0]])
    fault = python_check.fault()
    assert fault is None if refused is None else refused in fault


@pytest.mark.parametrize(("version", "refused"), [("14.7.1", True), ("15.0", False), ("26.1", False)])
def test_a_macos_without_wheels_is_named(monkeypatch, version, refused):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "mac_ver", lambda: (version, ("", "", ""), "arm64"))
    monkeypatch.setattr(sys, "platform", "darwin")
    fault = python_check.fault()
    assert fault is None if not refused else "on macOS 14.7.1, for which the OpenCV of locks/ has no release" in fault


def test_free_threaded_and_32_bit_pythons_are_refused(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sysconfig, "get_config_var", lambda name: name == "Py_GIL_DISABLED")
        assert "without a global lock" in python_check.fault()
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert "32 bits" in python_check.fault()


def test_a_python_without_venv_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "python3-venv" in python_check.fault()


def test_the_file_has_no_syntax_that_an_old_python_cannot_read():
    source = (ROOT / "tools" / "python_check.py").read_text(encoding="utf-8")
    compile(source, "python_check.py", "exec")
    assert not any(token in source for token in ('f"', "f'", "->", ":=", "import annotations"))
