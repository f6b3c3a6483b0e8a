"""Spreads, targets, turns and their way through JSON."""

import json

import pytest

from benchmarks.measuring import RowReport, Spread, Target, Value, alternate, at_least, at_most, per_second, ratios


def test_spread_is_median_least_and_greatest():
    assert Spread.of([5.0, 1.0, 4.0, 2.0]) == Spread(3.0, 1.0, 5.0, 4)
    assert Spread.one(7) == Spread(7.0, 7.0, 7.0, 1)
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


@pytest.mark.parametrize(
    ("target", "number", "reached"),
    [(at_least(4), 4.0, True), (at_least(4), 3.99, False), (at_most(6), 6.0, True), (at_most(6), 6.01, False)],
)
def test_targets_hold_at_their_bound(target, number, reached):
    assert target.reached(number) is reached
    assert Value("x", Spread.one(number), target=target).reached is reached


def test_nothing_measured_reaches_no_target():
    assert Value("x", Spread.one(float("nan")), target=at_least(1)).reached is False
    assert Value("x", Spread.one(float("nan")), target=at_most(1)).reached is False
    assert Value("x", Spread.one(1)).reached is None


def test_sides_take_turns_and_the_warm_up_does_not_count():
    calls, now = [], [0.0]

    def side(name, seconds):
        def run():
            calls.append(name)
            now[0] += seconds[sum(call == name for call in calls) - 1]

        return run

    taken = alternate(
        {"a": side("a", [9, 1, 2, 3]), "b": side("b", [9, 10, 20, 30])}, 3, clock=lambda: now[0], warm_ups=1
    )
    assert "".join(calls) == "abababab"
    assert taken == {"a": [1, 2, 3], "b": [10, 20, 30]}
    assert ratios(taken["b"], taken["a"]) == Spread(10, 10, 10, 3)
    assert per_second(taken["a"], 6) == Spread(3, 2, 6, 3)


def test_ratios_are_taken_round_by_round():
    # The machine was half as fast in the second round; the ratio of medians would tell 2.67.
    assert ratios([10, 20, 30], [5, 10, 7.5]) == Spread(2, 2, 4, 3)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_a_report_survives_json():
    values = [Value("a", Spread(2, 1, 3, 5), "ms", Target(2.5, at_most=True), "n"), Value("b", Spread.one(1))]
    report = RowReport("row", "a row", values, {"engine": "e"}, ["note"], "", 1.5)
    plain = json.loads(json.dumps(report.as_json()))
    assert [value["reached"] for value in plain["values"]] == [True, None]
    for value in plain["values"]:
        del value["reached"]
    assert RowReport.from_json(plain) == report
