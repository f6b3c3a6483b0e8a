"""What the commands share."""

import argparse
import logging

import pytest

from pipeline.commands.program import Parser, names, overrides_from, set_up_logging, whole_number
from pipeline.errors import InputError


def test_a_mistake_is_an_input_error_of_one_line():
    parser = Parser(prog="thing")
    parser.add_argument("--count", type=int)
    with pytest.raises(InputError, match=r"argument --count: invalid int value: 'x' \(see thing --help\)") as caught:
        parser.parse_args(["--count", "x"])
    assert "\n" not in str(caught.value)


def test_names_of_files_that_begin_with_a_dash_stand_behind_two():
    parser = Parser(prog="x")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--output")
    parsed = parser.parse_args(["a.mp4", "--output", "o.mp4", "--", "-b.mp4", "c.mp4", "--output"])
    assert (parsed.files, parsed.output) == (["a.mp4", "./-b.mp4", "c.mp4", "./--output"], "o.mp4")


def test_the_packages_speak_on_standard_error_with_the_programs_name(capsys):
    set_up_logging()
    logging.getLogger("pipeline.commands.train").info("hello")
    logging.getLogger("pipeline.commands.train").debug("quiet")
    set_up_logging(verbose=True)
    logging.getLogger("mrcnn.x").debug("more")
    assert capsys.readouterr().err == "stream_segment: hello\nstream_segment: more\n"


def test_flags_and_assignments_become_overrides_that_name_them():
    parser = Parser(prog="thing")
    parser.add_settings("settings", [("--width", "source.width", "PX", "a"), ("--mode", "window.mode", "M", "b")])
    parser.add_flags("other", {"--set": {"action": "append", "default": []}, "--more": {}})
    given = parser.parse_args(["--width", "64", "--more", "x", "--set", "window.mode=off", "--set", "a.b.c=[1]"])
    assert overrides_from(given) == {
        ("source", "width"): ("--width", "64"),
        ("window", "mode"): ("--set window.mode", "off"),
        ("a", "b", "c"): ("--set a.b.c", [1]),
    }


def test_names_are_separated_by_commas():
    assert names(" person, traffic light,,dog ") == ["person", "traffic light", "dog"]


@pytest.mark.parametrize(("text", "most"), [("2", None), ("1000", 1000), ("1001", None)])
def test_whole_numbers_within_their_limits(text, most):
    assert whole_number(text, 2, most) == int(text)


@pytest.mark.parametrize(
    ("text", "most", "limits"),
    [("1", None, "from 2 on"), ("1001", 1000, "from 2 to 1000"), ("-3", 1000, "from 2 to 1000"), ("x", None, "on")],
)
def test_other_numbers_are_refused_with_the_limits(text, most, limits):
    with pytest.raises(argparse.ArgumentTypeError, match=f"whole number .*{limits}, got '{text}'"):
        whole_number(text, 2, most)
