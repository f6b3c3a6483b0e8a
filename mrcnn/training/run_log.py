"""The log of a run: JSON Lines with the losses of training steps and of validations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mrcnn.weights.whole_file import write_whole


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line. Raises OSError if it cannot be written."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All complete lines; [] if there is no log. Skips a line that a power cut truncated."""
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


def truncate_log(path: Path, step: int) -> None:
    """Remove the lines of steps after `step`, which a resumed run repeats.

    Raises:
        OSError: it cannot be written; the log is as before.
    """
    lines = read_log(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) == len(lines):
        return
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
