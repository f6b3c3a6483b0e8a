"""Class names: those of a labels file, and the classes that the user selects."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.file_names import user_path


def load_labels(path: str, num_classes: int | None) -> tuple[str, ...]:
    """Reads class names from a file with one name per line, the background first.

    Args:
        path: UTF-8 text file.
        num_classes: the required number, including the background; None accepts any.

    Raises:
        InputError: the file is missing or empty, has a blank line or a duplicate, or the wrong number of names.
    """
    labels = _read_labels(user_path(path, "--labels"))
    if num_classes is not None and len(labels) != num_classes:
        raise InputError(
            f"{path} has {len(labels)} class names including the background, but the weights have {num_classes} classes"
        )
    return labels


def resolve_classes(names_or_ids: Iterable[str], labels: Sequence[str], setting: str = "--classes") -> frozenset[int]:
    """Converts class names to class ids.

    Args:
        names_or_ids: names from `labels`, case-insensitive, or ids as digits; 0, the background, is not allowed. A
            name that several classes have, or have but for its case, stands for all of them.
        labels: class names by id.
        setting: where they come from, for the error.

    Raises:
        InputError: the model has no such class; the message suggests similar names.
    """
    ids_by_name: dict[str, set[int]] = {}
    for class_id, label in enumerate(labels):
        if class_id > 0:
            ids_by_name.setdefault(label.strip().casefold(), set()).add(class_id)
    resolved: set[int] = set()
    for text in map(str.strip, names_or_ids):
        if text.casefold() in ids_by_name:
            resolved |= ids_by_name[text.casefold()]
        elif text.isdecimal() and 0 < int(text) < len(labels):
            resolved.add(int(text))
        elif text.isdecimal():
            raise InputError(f"{setting}: the ids of this model range from 1 to {len(labels) - 1}, got {text}")
        else:
            near = difflib.get_close_matches(text.casefold(), ids_by_name, n=3)
            known = ", ".join(near or list(ids_by_name)[:10]) + (" …" if not near and len(labels) > 11 else "")
            hint = "did you mean" if near else "it has"
            raise InputError(f"{setting}: this model has no class {text!r}; {hint} {known}?")
    return frozenset(resolved)


def class_name(class_id: int, labels: Sequence[str]) -> str:
    """The name of a class, or "class 90" for an id beyond the labels."""
    return labels[class_id] if class_id < len(labels) else f"class {class_id}"


_PLURALS = {"person": "people", "mouse": "mice", "knife": "knives", "man": "men", "woman": "women", "child": "children"}
_WITHOUT_PLURAL = ("sheep", "skis", "scissors", "broccoli")


def plural(count: int, noun: str) -> str:
    """A number with its English noun, such as "1 person", "2 people" and "3 buses"; other languages are left alone."""
    first, space, last = noun.rpartition(" ")
    if count != 1 and noun.isascii() and last[-1:].isalpha() and last not in _WITHOUT_PLURAL:
        sibilant = last.endswith(("s", "x", "ch", "sh"))
        last = _PLURALS.get(last, f"{last}es" if sibilant else f"{last}s")
    return f"{count} {first}{space}{last}"


def is_unused(label: str) -> bool:
    """Whether a class is none of COCO's: torchvision's class ids are COCO's category ids, which have gaps."""
    return re.fullmatch(r"unused \d+", label) is not None


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the labels file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the labels file {path} is not UTF-8 text: expected one class name per line") from None
    labels = [line.strip() for line in lines]
    while labels and not labels[-1]:
        labels.pop()
    if len(labels) < 2:
        raise InputError(
            f"the labels file {path} has {len(labels)} names: expected the background and at least one class"
        )
    first_line: dict[str, int] = {}
    for number, label in enumerate(labels, start=1):
        if not label:
            raise InputError(f"{path}:{number}: blank line; expected one class name per line")
        if label in first_line:
            raise InputError(f"{path}:{number}: duplicate class {label!r}, first on line {first_line[label]}")
        first_line[label] = number
    return tuple(labels)
