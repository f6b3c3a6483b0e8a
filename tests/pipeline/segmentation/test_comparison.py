"""Which side of a comparison is chosen, with times that the tests make up."""

import itertools

import pytest

from pipeline.segmentation.comparison import HOPELESS, MOST_ROUNDS, compare


class Times:
    """A clock that only the sides advance; each side's times repeat."""

    def __init__(self, **taken_s):
        self.now_s = 0.0
        self.calls = dict.fromkeys(taken_s, 0)
        self.sides = {name: self.side(name, itertools.cycle(times)) for name, times in taken_s.items()}

    def __call__(self):
        return self.now_s

    def side(self, name, times):
        def run():
            self.calls[name] += 1
            self.now_s += next(times)

        return run

    def compared(self, until_s=1e9):
        return compare(self.sides, until_s, self)


def test_the_fastest_is_chosen():
    verdict = Times(exact=[0.040, 0.041], quick=[0.030, 0.031]).compared()
    assert (verdict.name, verdict.sure) == ("quick", True)
    assert verdict.medians_s == pytest.approx({"exact": 0.040, "quick": 0.030})


@pytest.mark.parametrize(
    ("exact", "quick"),
    [
        ([1.01], [1.0]),  # 1 % apart
        ([0.98, 1.04, 0.99, 1.08], [1.0]),  # once faster, once slower
    ],
)
def test_the_preferred_side_is_kept_where_the_measurement_does_not_tell_them_apart(exact, quick):
    assert Times(exact=exact, quick=quick).compared().name == "exact"


def test_scatter_does_not_hide_a_real_loss():
    assert Times(exact=[1.2, 0.9, 1.2, 1.2], quick=[1.0]).compared().name == "quick"


def test_a_hopeless_side_costs_two_rounds():
    times = Times(exact=[1.0], quick=[1.01 * HOPELESS])
    assert (times.compared().name, times.calls) == ("exact", {"exact": 2, "quick": 2})


def test_one_bad_start_is_not_hopeless():
    times = Times(exact=[5.0, *[1.0] * 20], quick=[1.5, *[1.4] * 20])
    verdict = times.compared()
    assert (verdict.name, times.calls["exact"]) == ("exact", MOST_ROUNDS)


def test_it_ends_in_time_and_says_that_it_is_unsure():
    times = Times(exact=[1.1], quick=[1.0])
    verdict = times.compared(until_s=4.0)
    assert (verdict.name, verdict.sure, times.calls) == ("quick", False, {"exact": 2, "quick": 2})
    assert times.compared(until_s=0.0).name == "quick", "the first round is completed whatever the time is"


def test_a_busy_machine_leaves_it_unsure():
    assert not Times(exact=[1.0, 2.0, 1.1, 1.9], quick=[0.9, 1.7, 0.8, 1.8]).compared().sure


def test_a_single_side_is_the_winner():
    verdict = Times(exact=[1.0]).compared()
    assert (verdict.name, verdict.sure) == ("exact", True)
