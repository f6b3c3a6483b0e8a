"""What a wheel and a clone must hold."""

import re
import tomllib
from fractions import Fraction
from pathlib import Path

import av
from setuptools import find_packages

import stream_segment

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirement_lines(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def test_every_folder_of_code_is_a_package_that_the_wheel_takes():
    found = set(find_packages(str(ROOT), include=PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]))
    folders = {path.parent for top in ("commands", "pipeline", "mrcnn") for path in (ROOT / top).rglob("*.py")}
    assert found == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["version"] == stream_segment.__version__
    assert f"## {stream_segment.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_console_script_names_a_function():
    module, function = PROJECT["project"]["scripts"]["stream-segment"].split(":")
    assert module in PROJECT["tool"]["setuptools"]["py-modules"]
    assert callable(getattr(stream_segment, function))


def test_requirements_have_lower_bounds_and_no_rival_of_opencv_contrib():
    lines = requirement_lines("requirements.txt")
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+>=[\d.]+", line) for line in lines), lines
    names = {line.split(">=")[0] for line in lines}
    assert {"tensorflow", "opencv-contrib-python", "imutils", "av"} <= names
    assert not names & {"opencv-python", "opencv-python-headless", "mrcnn", "tensorflow-gpu"}


def test_the_sample_is_what_the_readme_promises():
    path = ROOT / "samples" / "people.mp4"
    assert path.stat().st_size <= 2_000_000
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt, video.width) == ("h264", "yuv420p", 640)
        assert (video.average_rate, sound.codec_context.name) == (Fraction(25), "aac")
        assert 8 <= container.duration / av.time_base <= 15
        assert sum(1 for _ in container.decode(video)) == 300
    credits_text = (ROOT / "samples" / "CREDITS.txt").read_text(encoding="utf-8")
    assert credits_text.count("staticflickr.com") == 4
