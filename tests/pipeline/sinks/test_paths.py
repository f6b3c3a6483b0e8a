"""Checks of output paths, and numbered names."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.sinks.paths import Inputs, check_folder, check_output_file, identity, numbered


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_inputs_are_found_through_paths_folders_and_globs(tmp_path):
    one = touch(tmp_path / "a.mp4")
    in_folder = touch(tmp_path / "photos" / "b.jpg")
    by_glob = touch(tmp_path / "deep" / "er" / "c.png")
    other = touch(tmp_path / "d.png")
    inputs = Inputs.of([one, tmp_path / "photos", str(tmp_path / "deep" / "**" / "*.png"), None, "0", "rtsp://host/x"])
    assert one in inputs
    assert in_folder in inputs
    assert by_glob in inputs
    assert other not in inputs
    assert tmp_path / "not there" not in inputs


def test_links_lead_to_the_same_file(tmp_path, monkeypatch):
    source = touch(tmp_path / "a.mp4")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    inputs = Inputs.of(["a.mp4"])
    for name in ("soft", "hard", "./a.mp4", str(source)):
        assert Path(name) in inputs


def test_no_file_has_no_identity(tmp_path):
    assert identity(tmp_path / "none") is None
    assert identity(Path("bad\0name")) is None
    assert Path("bad\0name") not in Inputs()


def test_a_valid_path_passes(tmp_path):
    check_output_file(tmp_path / "out.mp4", "--output", Inputs())
    check_output_file(touch(tmp_path / "old.mp4"), "--output", Inputs())
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", r"--output .*folder is a folder, expected a file name such as .*out"),
        ("none/out.mp4", r"--output .*: the folder .*none does not exist. Create it first"),
        ("file/out.mp4", r"is not a folder"),
    ],
)
def test_bad_paths_by_name(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    touch(tmp_path / "file")
    with pytest.raises(InputError, match=message):
        check_output_file(tmp_path / name, "--output", Inputs())


def test_folders_without_permission(tmp_path, monkeypatch):
    # Asked of the system, not tried: as root every place can be written to.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_folder(tmp_path, "--output x")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)
    with pytest.raises(InputError, match="exists and cannot be written"):
        check_output_file(touch(tmp_path / "old.mp4"), "--output", Inputs())


def test_numbers_for_names_that_are_taken() -> None:
    names = [path.name for path in itertools.islice(numbered(Path("out/a.00-01.480.png")), 3)]
    assert names == ["a.00-01.480.png", "a.00-01.480-2.png", "a.00-01.480-3.png"]
