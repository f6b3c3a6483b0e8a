"""Paths given by users, and file names that are not text."""

import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.file_names import check_name, plain_name, user_path, utf8_name


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_path("~/a b/ü.h5", "--weights") == tmp_path / "a b" / "ü.h5"
    assert user_path("a~/b", "--weights") == Path("a~/b")


def test_nothing_is_no_path():
    with pytest.raises(InputError, match=r"^--config is empty: expected a path$"):
        user_path("", "--config")


def test_an_address_is_refused_without_its_secret():
    with pytest.raises(InputError) as caught:
        user_path("rtmp://cam/live/KEY", "--json")
    assert str(caught.value) == "--json rtmp://cam/live/***: expected a path on this machine, not an address"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Café 1.b_c", "Café-1.b_c"),
        ("Cafe\u0301", "Café"),  # as macOS stores it
        ("हिन्दी", "हिन्दी"),
        (" -a / (b)- ", "a-b"),
        ("a❤\ufe0fb", "a-b"),
        ("../x", "x"),
        ("\u0301", ""),
    ],
)
def test_a_plain_name_keeps_letters_with_their_marks(text, name):
    assert plain_name(text) == name


def test_a_missing_home():
    with pytest.raises(InputError, match=r"^--weights ~nobody-here/a\.h5: this user has no home folder"):
        user_path("~nobody-here/a.h5", "--weights")


def test_a_name_the_locale_cannot_encode():
    with pytest.raises(InputError, match=r"^--output .*PYTHONUTF8=1"):
        check_name(Path("a\ud800.mp4"), "--output")
    check_name(Path("ä.mp4"), "--output")


@pytest.mark.parametrize("name", ["a.mp4", "Füße 视频.mp4", ""])
def test_text_stays(name):
    assert utf8_name(name) == name


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes under POSIX only")
def test_bytes_that_the_locale_cannot_decode_are_decoded_as_utf8():
    assert utf8_name("\udcc3\udca4\udcff.mp4") == "ä\udcff.mp4"
    assert utf8_name("\udcff.mp4") == "\udcff.mp4"


def test_a_nul_character():
    with pytest.raises(InputError, match=r"^--source .*a path cannot hold a NUL character$"):
        user_path("a\0b.mp4", "--source")


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000])
def test_a_name_that_is_too_long(name):
    with pytest.raises(InputError, match=r"^--weights a.*: this name is too long$"):
        user_path(name, "--weights")
