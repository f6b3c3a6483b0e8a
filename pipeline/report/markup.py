"""HTML built from elements, which escape their text: no name of a class or file can become markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None
"""Markup, or text that becomes Markup; None is left out."""

_VOID = {"img", "meta", "br"}


def element(tag: str, *children: Child, **attributes: str | None) -> Markup:
    """An element. `class_` is the attribute class, `data_x` is data-x; attributes that are None are left out."""
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = "".join(f' {name}="{_escaped(value)}"' for name, value in given.items())
    if tag in _VOID:
        return Markup(f"<{tag}{opening}>")
    return Markup(f"<{tag}{opening}>{joined(*children)}</{tag}>")


def joined(*children: Child) -> Markup:
    """The children one after another."""
    return Markup("".join(one if isinstance(one, Markup) else _escaped(one) for one in children if one is not None))


def section(title: str, *children: Child) -> Markup:
    """A part of the page with its heading."""
    return element("section", element("h2", title), *children)


def note(text: str) -> Markup:
    """A remark in small print."""
    return element("p", text, class_="note")


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Names with their colors (#rrggbb)."""
    items = (
        element("li", element("span", class_="swatch", style=f"background: {color}"), name) for name, color in entries
    )
    return element("ul", *items, class_="legend")


def numbers(values: Mapping[str, str]) -> Markup:
    """A few numbers side by side, each below its name."""
    items = (element("div", element("dt", name), element("dd", value)) for name, value in values.items())
    return element("dl", *items, class_="numbers")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> Markup:
    """A table whose first columns hold text, and the others numbers."""

    def row(tag: str, cells: Sequence[str]) -> Markup:
        return element(
            "tr", *(element(tag, cell, class_=None if i < text_columns else "number") for i, cell in enumerate(cells))
        )

    body = [row("td", cells) for cells in rows]
    return element("div", element("table", row("th", heads), *body), class_="scroll")


def _escaped(text: str) -> str:
    """The text as HTML and as UTF-8: controls and halves of characters, as in broken file names, are replaced."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return escape("".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text))
