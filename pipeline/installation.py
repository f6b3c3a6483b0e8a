"""Where the program's own files are and how the user starts it: from a clone, or as a package that pip installed."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the clone, or site-packages."""

WHEEL_DATA = ROOT / "pipeline" / "data"
"""Where a wheel holds what a clone has at its top level (setup.py)."""


def is_clone() -> bool:
    """Whether the program runs from a clone, whose folder holds the weights and receives downloads."""
    return (ROOT / "pyproject.toml").is_file() and (ROOT / "stream_segment.py").is_file()


def shipped_file(name: str) -> Path:
    """Path of a file that comes with the program, such as `samples/people.mp4`; in a wheel, a read-only one."""
    return (ROOT if is_clone() else WHEEL_DATA) / name


def install_command(extra: str) -> str:
    """The command that installs what an extra of pyproject.toml adds."""
    return f'pip install -e ".[{extra}]"' if is_clone() else f'pip install "stream-segment[{extra}]"'


def program_name() -> str:
    """The command that started the program, for help and messages that name another command."""
    started_by_script = Path(sys.argv[0]).stem == "stream-segment"
    return "stream-segment" if started_by_script or not is_clone() else "python stream_segment.py"
