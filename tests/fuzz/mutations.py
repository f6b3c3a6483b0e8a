"""Damages what is valid: bytes, JSON documents, lines of text. Everything follows from the random generator given."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x80",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 7 + b"\x7f",
)
"""Numbers at the ends of their ranges, in either byte order."""


def damaged(random: Random, data: bytes, most: int = 8) -> bytes:
    """The data with one to `most` changes: bits, numbers, pieces that are cut, doubled, moved, or cut off."""
    changed = bytearray(data)
    for _ in range(random.randint(1, most)):
        _damage(random, changed)
    return bytes(changed)


def _damage(random: Random, data: bytearray) -> None:
    start = random.randint(0, len(data))
    if random.random() < 0.4:  # headers
        start = min(start, random.randint(0, 512))
    length = min(len(data) - start, random.choice((1, 2, 4, 8, 16, 64, 256, 4096)))
    piece = slice(start, start + length)
    match random.randrange(8):
        case 0 | 1:
            if length:
                data[start] ^= 1 << random.randrange(8)
        case 2 | 3:
            edge = random.choice(EDGES)
            data[start : start + len(edge)] = edge
        case 4:
            data[piece] = random.randbytes(length)
        case 5:
            del data[piece]
        case 6:
            data[start:start] = data[piece] * random.choice((1, 2, 50))
        case _:
            del data[start:]


ODD_TEXTS = (
    *("", " ", "\0", "\n", "\x1b[2J", "\u202e", "\ufeff", "é", "\ud800", "日本", "%s%n", "{0}", "..", "../..", "~"),
    *("~root", "-1", "1e999", "nan", "null", "<script>", "'; --", "C:\\x", "\\\\host\\share", "a" * 5000, "con", "off"),
)


def odd_text(random: Random) -> str:
    """A text of the kind that programs stumble over."""
    if random.random() < 0.2:
        return "".join(chr(random.choice((random.randrange(128), random.randrange(0xD7FF)))) for _ in range(12))
    return random.choice(ODD_TEXTS)


def odd_value(random: Random, depth: int = 0) -> Any:
    """A value of JSON: of any type, at the ends of its range."""
    numbers = (0, -1, 1, 2**31, 2**63, -(2**70), 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**400)
    match random.randrange(6):
        case 0 | 1 | 2:
            return random.choice((None, True, False, *numbers))
        case 3:
            return odd_text(random)
        case 4 if depth < 3:
            return [odd_value(random, depth + 1) for _ in range(random.randrange(4))]
        case _ if depth < 3:
            return {odd_text(random): odd_value(random, depth + 1) for _ in range(random.randrange(3))}
    return []


def damaged_document(random: Random, document: Any, extra: tuple[Any, ...] = ()) -> Any:
    """A copy of a document with one to four values replaced, removed, doubled, renamed or swapped.

    Args:
        random: decides.
        document: dicts and lists with values.
        extra: values that are put in besides odd ones.
    """
    changed = copy.deepcopy(document)
    for _ in range(random.randint(1, 4)):
        places = list(_places(changed))
        if not places:
            break
        holder, key = random.choice(places)
        _change(random, holder, key, random.choice(extra) if extra and random.random() < 0.3 else odd_value(random))
    return changed


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [node]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        found += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    return found


def _change(random: Random, holder: Any, key: Any, value: Any) -> None:
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 1:
            holder[odd_text(random)] = holder.pop(key)
        case 2:
            nested = holder[key]
            for _ in range(random.choice((1, 3, 60))):
                nested = [nested] if random.random() < 0.5 else {"a": nested}
            holder[key] = nested
        case 3 if isinstance(holder[key], str):
            holder[key] = holder[key][: random.randint(0, len(holder[key]))] + odd_text(random)
        case 3 if isinstance(holder[key], int | float) and abs(holder[key]) < 1e300:
            holder[key] = holder[key] * random.choice((-1, 0, 1.5, 2**31, 10**9)) + random.choice((0, 1, -1))
        case _:
            holder[key] = value


def damaged_lines(random: Random, text: str, extra: tuple[str, ...] = ()) -> str:
    """Text with some of its lines changed, doubled, moved or removed."""
    lines = text.splitlines() or [""]
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(lines))
        match random.randrange(6):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, lines[random.randrange(len(lines))])
            case 2:
                other = random.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                cut = random.randint(0, len(lines[at]))
                lines[at] = lines[at][:cut] + odd_text(random) + lines[at][cut:]
            case 4:
                lines[at] = " " * random.randrange(6) + lines[at].strip()
            case _:
                lines[at] = random.choice(extra) if extra else odd_text(random)
    return random.choice(("\n", "\n", "\r\n")).join(lines) + random.choice(("", "\n"))
