"""What the commands share."""

import logging

import pytest

from commands.program import Parser, set_up_logging
from pipeline.errors import InputError


def test_a_mistake_is_an_input_error_of_one_line():
    parser = Parser(prog="thing")
    parser.add_argument("--count", type=int)
    with pytest.raises(InputError, match=r"argument --count: invalid int value: 'x' \(see thing --help\)") as caught:
        parser.parse_args(["--count", "x"])
    assert "\n" not in str(caught.value)


def test_the_packages_speak_on_standard_error_with_the_programs_name(capsys):
    set_up_logging()
    logging.getLogger("commands.train").info("hello")
    logging.getLogger("commands.train").debug("quiet")
    set_up_logging(verbose=True)
    logging.getLogger("mrcnn.x").debug("more")
    assert capsys.readouterr().err == "stream_segment: hello\nstream_segment: more\n"
