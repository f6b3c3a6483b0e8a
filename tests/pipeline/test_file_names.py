"""Paths that a user wrote, and names of files that are no text."""

import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.file_names import check_name, user_path, utf8_name


def test_home_is_put_in_place(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_path("~/a b/ü.h5", "--weights") == tmp_path / "a b" / "ü.h5"
    assert user_path("a~/b", "--weights") == Path("a~/b")


def test_no_such_home():
    with pytest.raises(InputError, match=r"^--weights ~nobody-here/a\.h5: this user has no home folder"):
        user_path("~nobody-here/a.h5", "--weights")


def test_a_name_that_no_file_can_have():
    with pytest.raises(InputError, match=r"^--output .*PYTHONUTF8=1"):
        check_name(Path("a\ud800.mp4"), "--output")
    check_name(Path("ä.mp4"), "--output")


@pytest.mark.parametrize("name", ["a.mp4", "Füße 视频.mp4", ""])
def test_text_stays(name):
    assert utf8_name(name) == name


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes under POSIX only")
def test_bytes_that_the_locale_cannot_read_are_read_as_utf8():
    assert utf8_name("\udcc3\udca4\udcff.mp4") == "ä\udcff.mp4"
    assert utf8_name("\udcff.mp4") == "\udcff.mp4"
