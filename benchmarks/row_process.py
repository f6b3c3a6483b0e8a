"""Runs each row in a process of its own: without the threads, memory and caches of the others, and without failing
them when it crashes or hangs.

    python -m benchmarks.row_process NAME OPTIONS RESULT.json
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.footage import ROOT
from benchmarks.measuring import RowReport
from benchmarks.options import Options
from benchmarks.report import read_json, write_json
from benchmarks.rows import load

DEADLINE_S = 900.0
"""A row takes a minute or two on an idle machine."""


def run_row(
    name: str,
    options: Options,
    deadline_s: float = DEADLINE_S,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "benchmarks.row_process"),
) -> RowReport:
    """Measure a row; the report of a failed one has `error` set.

    Args:
        name: of the row.
        options: see `Options`.
        deadline_s: longest duration in seconds.
        environment: additional variables of the process.
        command: starts the process.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result, errors = Path(folder) / "row.json", Path(folder) / "errors.txt"
        arguments = [*command, name, options.to_text(), str(result)]
        variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
        with errors.open("wb") as stderr:
            process = subprocess.Popen(arguments, cwd=ROOT, env=variables, stderr=stderr, start_new_session=True)
            try:
                code: int | None = process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        said = errors.read_text(encoding="utf-8", errors="replace")
        if code == 0 and result.is_file():
            report = RowReport.from_json(read_json(result))
        else:
            why = f"no result within {deadline_s:g} s" if code is None else f"it ended with {code}"
            report = RowReport(name, _title(name), error=f"{said.strip()[-2000:]}\n{name}: {why}: {_reason(said)}")
    return replace(report, seconds=round(time.monotonic() - began_s, 1))


def _title(name: str) -> str:
    """A row's title; its name where its module cannot be imported, which is then the reason of its failure."""
    try:
        return load(name).TITLE
    except ImportError:
        return name


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and whatever it has started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows has no process groups: children of the row end by themselves
            process.kill()
        process.wait()


def _reason(said: str) -> str:
    """The last line that is not progress."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("    ready:")]
    return lines[-1].strip() if lines else "no output"


def main(name: str, options: str, result: str) -> None:
    """Measure one row in this process and write its report."""
    report = load(name).measure(Options.from_text(options))
    write_json(Path(result), report.as_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
