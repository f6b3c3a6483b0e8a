"""Opening files and reading rational numbers with every supported PyAV."""

from dataclasses import dataclass
from fractions import Fraction

import pytest

from pipeline.pyav import fraction, open_input
from tests.pipeline.sources.clips import with_damaged_tags, write_clip


@dataclass(frozen=True)
class Rational:
    """As PyAV's own type has it from 19 on; older releases have none."""

    numerator: int
    denominator: int

    def __bool__(self):
        return self.numerator != 0 and self.denominator != 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (Rational(0, 1), None),
        (Rational(0, 0), None),
        (Rational(1, 0), None),
        (Rational(30000, 1001), Fraction(30000, 1001)),
        (Fraction(1, 90_000), Fraction(1, 90_000)),
    ],
)
def test_an_unset_rational_is_none(value, expected):
    result = fraction(value)
    assert result == expected
    assert result is None or type(result) is Fraction


def test_a_file_without_rates_gives_none_for_them(tmp_path):
    with open_input(str(write_clip(tmp_path / "a.mkv", 3))) as container:
        video = container.streams.video[0]
        assert fraction(video.time_base) == Fraction(1, 1000)
        assert fraction(video.average_rate) == 25


def test_files_open_even_if_tags_are_not_utf8(tmp_path):
    with open_input(str(with_damaged_tags(write_clip(tmp_path / "a.mp4", 4)))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4
        assert container.metadata["comment"].startswith("caf")
