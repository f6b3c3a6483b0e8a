"""Keeps layers of an int8 network in higher precision until its loss of accuracy is below a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Group = TypeVar("Group")


@dataclass(frozen=True, slots=True)
class Trade:
    """What a network loses and what it costs.

    Attributes:
        loss: of mask AP against float32, 0 … 1; negative where it gains.
        image_ms: milliseconds an image.
    """

    loss: float
    image_ms: float


def keep_until_within(
    most_loss: float,
    groups: Sequence[Group],
    measure: Callable[[Sequence[Group]], Trade],
    on_trade: Callable[[Sequence[Group], Trade], None],
) -> list[Group] | None:
    """Groups of layers to keep in higher precision, so that the loss is at most `most_loss`; None if none suffice.

    Each group is measured by itself first; then they are kept one after the other, beginning with the one that saves
    most loss, as by Wu et al. 2020, "Integer quantization for deep learning inference", section 6.

    Args:
        most_loss: of mask AP, 0 … 1.
        groups: of layers.
        measure: the trade with these groups kept.
        on_trade: called with each, as soon as it is known.
    """

    def loss(kept: Sequence[Group]) -> float:
        found = measure(kept)
        on_trade(kept, found)
        return found.loss

    if loss([]) <= most_loss:
        return []
    alone = [loss([group]) for group in groups]
    ranked = sorted(range(len(groups)), key=alone.__getitem__)
    for count in range(1, len(groups) + 1):
        kept = [groups[index] for index in ranked[:count]]
        if (alone[ranked[0]] if count == 1 else loss(kept)) <= most_loss:
            return kept
    return None
