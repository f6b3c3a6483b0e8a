"""What the commands share."""

import io
import logging
import sys

import pytest

from pipeline.commands.program import Parser, print_any_text, set_up_logging
from pipeline.errors import InputError


def test_a_mistake_is_an_input_error_of_one_line():
    parser = Parser(prog="thing")
    parser.add_argument("--count", type=int)
    with pytest.raises(InputError, match=r"argument --count: invalid int value: 'x' \(see thing --help\)") as caught:
        parser.parse_args(["--count", "x"])
    assert "\n" not in str(caught.value)


def test_the_packages_speak_on_standard_error_with_the_programs_name(capsys):
    set_up_logging()
    logging.getLogger("pipeline.commands.train").info("hello")
    logging.getLogger("pipeline.commands.train").debug("quiet")
    set_up_logging(verbose=True)
    logging.getLogger("mrcnn.x").debug("more")
    assert capsys.readouterr().err == "stream_segment: hello\nstream_segment: more\n"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"\\xe4 \\u89c6 512 ... 32^2 \xc3\xa4.mp4\n"),
        ("latin-1", b"\xe4 \\u89c6 512 ... 32\xb2 \xc3\xa4.mp4\n"),
        ("utf-8", "ä 视 512 … 32² ä.mp4\n".encode()),
    ],
)
def test_what_the_output_cannot_hold_is_written_all_the_same(monkeypatch, encoding, expected):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline=""))
    print_any_text()
    for stream in (sys.stdout, sys.stderr):
        print("ä 视 512 … 32² \udcc3\udca4.mp4", file=stream, flush=True)
        assert stream.buffer.getvalue() == expected


def test_without_any_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    print_any_text()
