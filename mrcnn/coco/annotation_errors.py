"""What is wrong with annotations: an error that ends the reading, or warnings that are counted."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 5
"""Number of ids or names that a message lists."""


class AnnotationError(ValueError):
    """An annotation file cannot be used; the text names the file and the annotation."""


class AnnotationWarnings(dict[str, list[int | str]]):
    """Maps each kind of warning to the ids (or names) that it concerns, in the order of the file."""

    def add(self, kind: str, where: int | str) -> None:
        """Count one more of a kind."""
        self.setdefault(kind, []).append(where)

    def lines(self) -> list[str]:
        """A line for each kind: its count and the first ids."""
        return [f"{len(where)} x {kind}: {first_of(where)}" for kind, where in self.items()]


def first_of(names: Sequence[object], most: int = SHOWN) -> str:
    """The first few, and how many more there are."""
    text = ", ".join(str(name) for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
