"""What a wheel and a clone must hold."""

import datetime
import importlib
import importlib.metadata
import re
import tomllib
from fractions import Fraction
from pathlib import Path

import av
import pytest
from packaging.requirements import Requirement
from setuptools import find_packages

import stream_segment
from tools import python_check

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirement_lines(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def test_every_folder_of_code_is_a_package_that_the_wheel_takes():
    found = set(find_packages(str(ROOT), include=PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]))
    folders = {path.parent for top in ("pipeline", "mrcnn") for path in (ROOT / top).rglob("*.py")}
    assert found == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_the_version_stands_once_and_the_changelog_has_it():
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pipeline.version.__version__"}
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE).group(1)
    version, date = newest.split(" - ")
    assert version == stream_segment.__version__
    assert datetime.date.fromisoformat(date).year >= 2026


def test_the_console_script_names_a_function():
    module, function = PROJECT["project"]["scripts"]["stream-segment"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


RIVALS = {"opencv-python", "opencv-python-headless", "opencv-contrib-python-headless"}
"""They install the same files as opencv-contrib-python."""


@pytest.mark.parametrize("name", [f"requirements{part}.txt" for part in ("", "-light", "-test", "-docs")])
def test_requirements_have_both_bounds_and_stand_once(name):
    lines = requirement_lines(name)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+>=[\d.]+,<[\d.]+", line) for line in lines), lines
    names = [line.split(">=")[0] for line in lines]
    assert len(names) == len(set(names))
    assert not set(names) & {*RIVALS, "mrcnn", "tensorflow-gpu"}


def test_the_packages_that_were_asked_for_come_first():
    names = [line.split(">=")[0] for line in requirement_lines("requirements.txt")]
    assert names[:4] == ["tensorflow", "opencv-contrib-python", "imutils", "numpy"]


def test_a_light_environment_has_what_the_others_have_but_for_three_packages():
    everything, light = requirement_lines("requirements.txt"), requirement_lines("requirements-light.txt")
    left_out = [line.split(">=")[0] for line in everything if line not in light]
    assert left_out == ["tensorflow", "imutils", "matplotlib"]
    assert set(light) < set(everything)
    assert PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements-light.txt"]}


def test_the_extras_have_the_ranges_of_the_requirement_files():
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {"tensorflow", "jax", "torch", "train", "gpu", "onnx", "optimize", "report", "tables", "ray"}
    files = ("requirements.txt", "requirements-test.txt", "requirements-gpu.txt")
    lines = {line for name in files for line in requirement_lines(name)}
    apart = ("torch", "ray")  # each a third of a whole installation: tests that need them are skipped without
    assert {line for name, extra in extras.items() if name not in apart for line in extra} <= lines
    tested = re.search(r"^TORCH \?= torch==(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert extras["torch"][0] == f"torch>={tested.group(1)},<3"


def locked(name):
    """{package: its exact versions} of a lock, each with its hashes; there are several where Pythons differ."""
    text = (ROOT / "locks" / name).read_text(encoding="utf-8")
    found = {}
    for package, version, rest in re.findall(r"^([a-z0-9-]+)==(\S+)(.*(?:\n    --hash.*)+)", text, re.MULTILINE):
        assert "--hash=sha256:" in rest
        found.setdefault(package, set()).add(version)
    assert sum(map(len, found.values())) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    return found


def test_the_locks_hold_what_is_required_and_agree():
    run, light, test, build = (locked(f"{name}.txt") for name in ("run", "light", "test", "build"))
    ranges = {line.split(">=")[0]: line for line in requirement_lines("requirements.txt")}
    wanted = ranges | {line.split(">=")[0]: line for line in requirement_lines("requirements-test.txt")}
    assert set(ranges) <= set(run)
    assert {line.split(">=")[0] for line in requirement_lines("requirements-light.txt")} <= set(light)
    assert light.items() <= run.items()
    assert not {"tensorflow", "jax", "torch"} & set(light)
    assert set(map(str.lower, wanted)) <= set(test)
    assert not RIVALS & set(test)
    for package, versions in (*run.items(), *build.items()):
        assert test[package] == versions
    for package, line in wanted.items():
        specifier = Requirement(line).specifier
        assert all(specifier.contains(version) for version in test[package.lower()]), line


def test_the_lock_of_the_documentation_holds_what_runs_the_program():
    run, docs = locked("run.txt"), locked("docs.txt")
    assert run.items() <= docs.items()
    for requirement in map(Requirement, requirement_lines("requirements-docs.txt")):
        assert all(requirement.specifier.contains(version) for version in docs[requirement.name])


def test_this_environment_has_one_opencv():
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    assert "opencv-contrib-python" in installed
    assert not RIVALS & installed


def test_the_sample_is_what_the_readme_promises():
    path = ROOT / "samples" / "people.mp4"
    assert path.stat().st_size <= 3_000_000
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt, video.width) == ("h264", "yuv420p", 640)
        assert (video.average_rate, sound.codec_context.name) == (Fraction(30), "aac")
        assert 12 <= container.duration / av.time_base <= 18
        assert sum(1 for _ in container.decode(video)) == 398
    credits_text = (ROOT / "samples" / "CREDITS.txt").read_text(encoding="utf-8")
    assert "intel-iot-devkit/sample-videos" in credits_text
    assert "CC BY 4.0" in credits_text


def test_the_pythons_that_are_checked_are_those_that_are_promised():
    checked = re.search(r'^promised="([\d. ]+)"$', (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    promised = [f"3.{minor}" for minor in range(python_check.OLDEST[1], python_check.NEWEST[1] + 1)]
    assert checked.group(1).split() == promised
    assert {f"Programming Language :: Python :: {version}" for version in promised} <= set(
        PROJECT["project"]["classifiers"]
    )
