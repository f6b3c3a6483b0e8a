"""The program's own errors are one line each."""

import pytest

from pipeline.errors import InputError, OutputClosedError, RunError


@pytest.mark.parametrize("kind", [InputError, RunError, OutputClosedError])
def test_control_characters_in_names_are_escaped(kind):
    error = kind("a\nb\tc\x1b[2Jd\u2028e\x85f/é日\udcff does not exist")
    assert str(error) == "a\\nb\\tc\\x1b[2Jd\\u2028e\\x85f/é日\udcff does not exist"
