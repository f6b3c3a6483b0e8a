import pytest

from pipeline.evaluation.loss_bound import Trade, keep_until_within

LOSSES = {"stem": 0.01, "middle": 0.03, "end": 0.02}
"""What each group loses in int8; the whole loses 0.06."""


def measured(kept):
    return Trade(sum(loss for group, loss in LOSSES.items() if group not in kept), 5.0 + len(kept))


@pytest.mark.parametrize(
    ("bound", "kept", "tried"),
    [
        (0.065, [], [[]]),
        (0.035, ["middle"], [[], ["stem"], ["middle"], ["end"]]),
        (0.015, ["middle", "end"], [[], ["stem"], ["middle"], ["end"], ["middle", "end"]]),
        (-0.1, None, [[], ["stem"], ["middle"], ["end"], ["middle", "end"], ["middle", "end", "stem"]]),
    ],
)
def test_groups_are_kept_by_what_they_save_until_the_bound_holds(bound, kept, tried):
    trades = []
    assert keep_until_within(bound, list(LOSSES), measured, lambda *trade: trades.append(trade)) == kept
    assert [list(groups) for groups, _ in trades] == tried
    assert [trade for _, trade in trades] == [measured(groups) for groups in tried]
