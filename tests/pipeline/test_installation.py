"""A clone and an installed package: which is which, where the shipped files are, what the command is called."""

import sys

import pytest

from pipeline import installation


def place(tmp_path, monkeypatch, *names):
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.setattr(installation, "WHEEL_DATA", tmp_path / "pipeline" / "data")


def test_a_clone_has_the_project_file_and_site_packages_has_not(tmp_path, monkeypatch):
    place(tmp_path, monkeypatch, "stream_segment.py")
    assert installation.shipped_file("samples/a.mp4") == tmp_path / "pipeline" / "data" / "samples" / "a.mp4"
    place(tmp_path, monkeypatch, "pyproject.toml")
    assert installation.shipped_file("samples/a.mp4") == tmp_path / "samples" / "a.mp4"


def test_an_extra_is_installed_from_the_clone_or_added_to_the_installed_package(tmp_path, monkeypatch):
    place(tmp_path, monkeypatch, "stream_segment.py")
    assert installation.install_command("train") == 'pip install "stream-segment[train]"'
    place(tmp_path, monkeypatch, "pyproject.toml")
    assert installation.install_command("train") == 'pip install -e ".[train]"'


@pytest.mark.parametrize(
    ("files", "started", "name"),
    [
        (["pyproject.toml", "stream_segment.py"], "stream_segment.py", "python stream_segment.py"),
        (["pyproject.toml", "stream_segment.py"], "/usr/bin/stream-segment", "stream-segment"),
        (["pyproject.toml", "stream_segment.py"], "my_script.py", "python stream_segment.py"),
        (["stream_segment.py"], "/usr/bin/stream-segment", "stream-segment"),
        (["stream_segment.py"], "Scripts/stream-segment.exe", "stream-segment"),
        (["stream_segment.py"], "my_script.py", "stream-segment"),
        (["stream_segment.py"], "", "stream-segment"),
    ],
)
def test_the_program_is_called_as_it_was_started(tmp_path, monkeypatch, files, started, name):
    place(tmp_path, monkeypatch, *files)
    monkeypatch.setattr(sys, "argv", [started])
    assert installation.program_name() == name
