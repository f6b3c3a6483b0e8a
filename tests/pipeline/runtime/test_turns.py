"""Whose turn it is: sequences worked out by hand."""

import pytest

from pipeline.runtime.turns import Turn, Turns


def sequence(turns, members, count, ready=lambda number, name: True, frames=1):
    """The names of those who get `count` turns; `ready` says whether a name has a frame before the turn of a number."""
    names = []
    for number in range(count):
        present = {turn: name for name, turn in members.items() if ready(number, name)}
        turn = turns.next(list(present))
        names.append(present.get(turn, "-"))
        if turn is not None:
            turns.grant(turn, frames)
    return "".join(names)


def test_equal_weights_take_turns_in_order():
    assert sequence(Turns(), {"a": Turn(), "b": Turn(), "c": Turn()}, 7) == "abcabca"


def test_weights_are_shares():
    # `served` of a and b: .5 0 | .5 1 | 1 1 | 1 2 (b has waited longer) | 1.5 2 | 2 2 | 2 3 | 2.5 3 | 3 3 | …
    assert sequence(Turns(), {"a": Turn(2), "b": Turn(1)}, 12) == "abab" + "aab" * 2 + "aa"
    assert sequence(Turns(), {"a": Turn(2), "b": Turn(1)}, 300).count("a") == 200


def test_nobody_ready_gets_no_turn():
    assert Turns().next([]) is None


def test_turns_go_to_those_with_a_frame_and_are_not_saved_up():
    """b has no frame for six turns; then it gets every other one, not all until it has caught up."""
    members = {"a": Turn(), "b": Turn()}
    assert sequence(Turns(), members, 12, lambda number, name: name == "a" or number >= 6) == "aaaaaa" + "bababa"


def test_a_newcomer_begins_at_the_present_minimum():
    turns, a = Turns(), Turn()
    assert sequence(turns, {"a": a}, 5) == "aaaaa"
    assert sequence(turns, {"a": a, "n": Turn()}, 6) == "nanana"


def test_who_comes_back_owes_nothing():
    """a was served alone a hundred times; beside a newcomer it gets its half at once."""
    turns, a, b = Turns(), Turn(), Turn()
    sequence(turns, {"a": a}, 100)
    assert sequence(turns, {"b": b}, 3) == "bbb"
    assert sequence(turns, {"a": a, "b": b}, 6).count("a") == 3


def test_a_batch_counts_all_its_frames():
    turns, a, b = Turns(), Turn(), Turn()
    turns.grant(a, 3)
    assert sequence(turns, {"a": a, "b": b}, 5) == "bbbab"


@pytest.mark.parametrize("count", [2, 5, 16])
def test_nobody_ready_waits_longer_than_one_turn_of_each_other(count):
    """Some pause by a rule of their own; between two turns of one that does not, each other one has one at most."""
    members = {chr(97 + number): Turn() for number in range(count)}
    names = sequence(Turns(), members, 400, lambda number, name: name == "a" or (number * ord(name)) % 3 > 0)
    gaps = [len(gap) for gap in names.split("a")[1:-1]]
    assert max(gaps) <= count - 1


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_weight_is_positive(weight):
    with pytest.raises(ValueError, match="above 0"):
        Turn(weight)
