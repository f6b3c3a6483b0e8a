"""Warnings about a source's data: one line per problem, however many there are."""

from __future__ import annotations

import pytest

from pipeline.sources.warnings import MAX_PLACES, SourceWarnings, position_text


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
