"""Counts of distinct objects by class, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

REMEMBERED_IDS = 1024
"""Number of objects remembered after they have gone, so that one that returns is not counted again."""


class ClassCounts:
    """Counts distinct objects by class."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._classes: dict[int, int] = {}
        self._gone: OrderedDict[int, int] = OrderedDict()

    def update(self, track_id: int, class_id: int) -> bool:
        """Records an object that is in the frame; returns whether it was not there before.

        Args:
            track_id: from 1 on.
            class_id: its current class; when it changes, the object counts under the new one.
        """
        known = self._classes.get(track_id)
        new = known is None
        if known is None:
            known = self._gone.pop(track_id, None)
        if known is not None:
            self._seen[known] -= 1
        self._seen[class_id] += 1
        self._classes[track_id] = class_id
        return new

    def forget(self, track_id: int) -> None:
        """Moves an object that has gone to the bounded memory."""
        class_id = self._classes.pop(track_id, None)
        if class_id is None:
            return
        self._gone[track_id] = class_id
        if len(self._gone) > REMEMBERED_IDS:
            self._gone.popitem(last=False)

    def seen(self) -> dict[int, int]:
        """Distinct objects so far by class id, without classes that did not occur."""
        return {class_id: count for class_id, count in sorted(self._seen.items()) if count > 0}


def count_now(class_ids: Iterable[int]) -> dict[int, int]:
    """Objects of one frame by class id."""
    return dict(sorted(Counter(class_ids).items()))
