"""What a source inherits from the base class, and its warnings: one line per problem, however many there are."""

from __future__ import annotations

import pytest

from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.sources.base import MAX_PLACES, Source, SourceWarnings, position_text


class Smallest(Source):
    """Only the abstract methods."""

    closed = False

    def open(self) -> SourceInfo:
        return SourceInfo("smallest", SourceKind.RECORDED, 2, 1)

    def read(self) -> Frame | None:
        return None

    def close(self) -> None:
        self.closed = True

    def interrupt(self) -> None:
        pass


def test_defaults_and_context_manager() -> None:
    source = Smallest()
    with source as opened:
        assert opened is source
        assert source.state.text == ""
        assert (source.state.reconnects, source.warnings.texts()) == (0, [])
        assert not source.closed
    assert source.closed


def test_an_error_in_the_block_closes_the_source_and_propagates() -> None:
    source = Smallest()
    with pytest.raises(KeyError), source:
        raise KeyError
    assert source.closed


def test_one_line_per_problem_with_the_first_places_and_a_count() -> None:
    warnings = SourceWarnings()
    assert warnings.texts() == []
    for second in range(MAX_PLACES + 2):
        warnings.add("corrupt data at", position_text(second))
    warnings.add("unreadable images skipped:", "a.png")
    assert warnings.texts() == [
        "corrupt data at 00:00.0, 00:01.0, 00:02.0, 00:03.0, 00:04.0 and 2 more",
        "unreadable images skipped: a.png",
    ]


def test_only_the_first_of_each_kind_is_worth_a_log_line() -> None:
    warnings = SourceWarnings()
    assert warnings.add("corrupt data at", "00:01.0")
    assert not warnings.add("corrupt data at", "00:01.0")
    assert not warnings.add("corrupt data at", "00:02.0")
    assert warnings.add("repaired timestamps at", "00:02.0")
    assert warnings.texts() == ["corrupt data at 00:01.0, 00:02.0", "repaired timestamps at 00:02.0"]


def test_warnings_of_several_connections_add_up() -> None:
    total = SourceWarnings()
    for places in (["1", "2", "3"], ["4", "5", "6", "7"]):
        connection = SourceWarnings()
        for place in places:
            connection.add("corrupt data at", place)
        total.merge(connection)
    total.merge(SourceWarnings())
    assert total.texts() == ["corrupt data at 1, 2, 3, 4, 5 and 2 more"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1e-9, "00:00.0"),
        (12.44, "00:12.4"),
        (59.96, "01:00.0"),
        (3599.94, "59:59.9"),
        (3599.96, "1:00:00.0"),
        (36_123.4, "10:02:03.4"),
    ],
)
def test_positions(seconds: float, text: str) -> None:
    assert position_text(seconds) == text
