"""Generates the table in docs/options.md from the command line's flags and the defaults of their settings.

python tools/options_table.py            # prints it
python tools/options_table.py --write    # updates docs/options.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.commands.run import build_parser  # noqa: E402 - the path is set above
from pipeline.settings.schema import Settings  # noqa: E402

PAGE = ROOT / "docs" / "options.md"
BEGIN, END = "<!-- options: tools/options_table.py -->", "<!-- /options -->"


def options_table() -> str:
    """A Markdown table: option, setting, default, meaning."""
    defaults = Settings().model_dump(mode="json")
    rows = ["| option | setting | default | meaning |", "|---|---|---|---|"]
    for action in build_parser()._actions:
        if not action.option_strings or action.option_strings[0] in ("-h", "--version"):
            continue
        name = action.option_strings[-1] + (f" {action.metavar}" if action.metavar else "")
        key = action.dest.removeprefix(f"{action.option_strings[-1]} ").split(" ")[0]
        is_setting = "." in key or key in defaults
        setting, default = (f"`{key}`", _plain(_look_up(defaults, key))) if is_setting else ("", "")
        if is_setting and isinstance(action, argparse._StoreConstAction):
            setting = f"`{key}: {_plain(action.const)}`"
        meaning = " ".join((action.help or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {setting} | {default} | {meaning} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with the current table between its markers. Raises ValueError if they are missing."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{options_table()}\n{END}{after}"


def _look_up(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _plain(value: Any) -> str:
    if value is None or value == []:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(options_table())
