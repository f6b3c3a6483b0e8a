"""A file takes another's place when it is complete, and nothing else is ever left behind."""

import builtins
import errno
import json
import os
import sys
import time

import pytest

from mrcnn.weights.whole_file import whole_file, write_whole
from tests.unreadable import Refusals


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new ")
        assert path.read_bytes() == b"old"
        file.write(b"content")
    assert path.read_bytes() == b"new content"
    assert names(tmp_path) == ["a.json"]


def test_bytes_and_text(tmp_path):
    write_whole(tmp_path / "bytes", b"\x00\xff")
    write_whole(tmp_path / "text", "Grün …\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert (tmp_path / "text").read_bytes() == b"Gr\xc3\xbcn \xe2\x80\xa6\n"


def test_names_that_are_no_text_are_read_back_from_json(tmp_path):
    names = {"weights": "/a/\udcc3\udca4.h5", "label": "Füße"}
    write_whole(tmp_path / "a.json", json.dumps(names, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == names


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_it_has_the_mode_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", b"x")
        (tmp_path / "other").touch()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o640


FAILURES = [ValueError("no"), KeyboardInterrupt(), OSError("of another file, without a number")]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_what_fails_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail():
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_errors_of_the_system_name_the_file(tmp_path, monkeypatch, where):
    def refuse(*arguments, **_):
        # a full disk names no file, the others the one under its temporary name
        raise OSError(errno.ENOSPC, "No space left on device", None if where == "fsync" else arguments[0])

    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, where, refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole(path, b"new")
    monkeypatch.undo()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_folder_that_is_missing_and_one_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "none" / "a", b"x")
    assert caught.value.filename == str(tmp_path / "none" / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        write_whole(tmp_path / "b", b"x")
    assert names(tmp_path) == ["b"]


def test_a_folder_that_windows_refuses_to_write(tmp_path, monkeypatch):
    refuse = Refusals()
    path = tmp_path / "a"
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        for owner in (os, builtins):
            patched.setattr(owner, "open", refuse)
        with pytest.raises(PermissionError) as caught:
            write_whole(path, b"new")
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_windows_replaces_a_file_once_its_reader_has_gone(tmp_path, monkeypatch, platform):
    path, real, waits = tmp_path / "best.h5", os.replace, []
    path.write_bytes(b"old")

    def replace(source, target):
        if len(waits) < 3:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        real(source, target)

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(os, "replace", replace)
    if platform == "win32":
        write_whole(path, b"new")
    else:
        with pytest.raises(PermissionError):
            write_whole(path, b"new")
    assert path.read_bytes() == (b"new" if platform == "win32" else b"old")
    assert len(waits) == (3 if platform == "win32" else 0)
    assert names(tmp_path) == ["best.h5"]


def test_a_file_whose_reader_stays_is_given_up(tmp_path, monkeypatch):
    now_s = [100.0]

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Access is denied", str(source))

    def sleep(seconds):
        now_s[0] += seconds

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "best.h5", b"new")
    assert names(tmp_path) == []


def test_errors_of_other_files_keep_their_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "a"):
        (tmp_path / "source").read_bytes()
    assert caught.value.filename == str(tmp_path / "source")
    assert names(tmp_path) == []
