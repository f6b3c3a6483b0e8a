"""The log of a run: JSON Lines, one for what was trained and one for each validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mrcnn.weights.whole_file import write_whole


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Add a line.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines; [] if there is no log. A line that was cut off by a power cut is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def cut_log(path: Path, step: int) -> None:
    """Take away the lines of steps after `step`, which are going to be done again.

    Raises:
        OSError: it cannot be written; the log is as before.
    """
    lines = read_log(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) == len(lines):
        return
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
