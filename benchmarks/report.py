"""The results as a table on a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.measuring import RowReport, Spread, Target, Value
from mrcnn.weights.whole_file import write_whole

VERDICTS = {True: "reached", False: "missed", None: ""}
STYLES = {True: "green", False: "bold red", None: ""}


def number(value: float) -> str:
    """Three significant digits, or all before the decimal point."""
    if math.isnan(value):
        return "nothing found"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def measured(value: Value) -> str:
    """The median with its unit."""
    return f"{number(value.spread.median)} {value.unit}".strip()


def spread_text(spread: Spread) -> str:
    """Minimum, maximum and count; "" for a single measurement."""
    return "" if spread.count < 2 else f"{number(spread.low)} … {number(spread.high)}, n = {spread.count}"


def target_text(target: Target | None) -> str:
    """Such as "at least 4"."""
    return "" if target is None else f"{'at most' if target.at_most else 'at least'} {target.bound:g}"


def as_table(reports: Sequence[RowReport]) -> Table:
    """The results for a terminal."""
    table = Table(show_lines=False, header_style="bold")
    for heading in ("", "measured", "least … greatest", "to reach", ""):
        table.add_column(heading)
    for report in reports:
        table.add_section()
        table.add_row(f"[bold]{escape(report.title)}[/]", "", "", "", f"[dim]{report.seconds:.0f} s[/]")
        for value in report.values:
            name = f"  {escape(value.name)}" + (f" [dim]({escape(value.note)})[/]" if value.note else "")
            verdict = VERDICTS[value.reached]
            style = STYLES[value.reached]
            cells = (measured(value), spread_text(value.spread), target_text(value.target))
            table.add_row(name, *map(escape, cells), f"[{style}]{verdict}[/]" if style else verdict)
        if report.error:
            table.add_row("  [bold red]FAILED[/]", f"[red]{escape(last_line(report.error))}[/]", "", "", "")
        for note in report.notes:
            table.add_row(f"  [dim]{escape(note)}[/]", "", "", "", "")
    return table


def as_markdown(record: Mapping[str, Any]) -> str:
    """The results as Markdown: the machine in one line, then the table."""
    reports = [RowReport.from_json(row) for row in record["rows"]]
    lines = [machine_line(record["machine"]), ""]
    lines += ["| what | measured | least … greatest | to reach | |", "|---|---|---|---|---|"]
    for report in reports:
        lines.append(f"| **{_cell(report.title)}** | | | | |")
        for value in report.values:
            name = value.name + (f" ({value.note})" if value.note else "")
            cells = [name, measured(value), spread_text(value.spread), target_text(value.target)]
            lines.append("| " + " | ".join(map(_cell, [*cells, VERDICTS[value.reached]])) + " |")
        if report.error:
            lines.append(f"| not measured: {_cell(last_line(report.error))} | | | | failed |")
    notes = [f"- {report.name}: {note}" for report in reports for note in report.notes]
    engines = [f"- {report.name}: {text}" for report in reports for text in engine_lines(report.settings)]
    return "\n".join([*lines, *([""] if notes or engines else []), *engines, *notes]) + "\n"


def engine_lines(settings: Mapping[str, Any]) -> list[str]:
    """The engines that a row ran on."""
    found = [str(settings["engine"])] if "engine" in settings else []
    for inner in settings.values():
        if isinstance(inner, Mapping):
            found += engine_lines(inner)
    return found


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine of the measurement as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = " ".join(machine["cpu_flags"])
    card = f"{machine['gpu']}, " if machine.get("gpu") else ""
    return (
        f"{machine['date'][:10]}, commit {machine['commit'] or 'unknown'}: {card}{machine['cores']} cores of "
        f"{machine['cpu']} ({flags}), {machine['memory_gb']} GB, load {machine['load_at_start']} at the start; "
        f"Python {machine['python']}, {versions}."
    )


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record atomically."""
    write_whole(path, json.dumps(_plain(record), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A record of `write_json`."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def show(reports: Sequence[RowReport]) -> None:
    """Print the table."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(as_table(reports))


def last_line(text: str) -> str:
    """The last line of an error's text, which names it."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _plain(value: Any) -> Any:
    """JSON-compatible values: null for NaN and infinity, file names instead of absolute paths."""
    if isinstance(value, str) and os.path.isabs(value):
        return Path(value).name
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
