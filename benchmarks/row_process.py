"""Each row runs in a process of its own: none finds the threads, memory or caches of another, and one that crashes or
hangs takes no other with it.

    python -m benchmarks.row_process NAME OPTIONS RESULT.json
"""

from __future__ import annotations

import json
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
from benchmarks.report import write_json
from benchmarks.rows import load

DEADLINE_S = 900.0
"""A row takes a minute or two where nothing else runs."""


def run_row(
    name: str,
    options: Options,
    deadline_s: float = DEADLINE_S,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "benchmarks.row_process"),
) -> RowReport:
    """Measure a row. One that fails comes back with `error` set.

    Args:
        name: of the row.
        options: see `Options`.
        deadline_s: after so many seconds it has failed.
        environment: variables for the process, over those of this one.
        command: what starts the process.
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
            report = RowReport.from_json(_record(result))
        else:
            why = f"no result within {deadline_s:g} s" if code is None else f"it ended with {code}"
            report = RowReport(name, load(name).TITLE, error=f"{said.strip()[-2000:]}\n{name}: {why}: {_reason(said)}")
    return replace(report, seconds=round(time.monotonic() - began_s, 1))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the row stays behind, whatever it has started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows has no groups of processes: what the row has started ends by itself
            process.kill()
        process.wait()


def _record(path: Path) -> dict:
    record = json.loads(path.read_text(encoding="utf-8"))
    for value in record["values"]:
        value.pop("reached")
        value["spread"] = {key: float("nan") if number is None else number for key, number in value["spread"].items()}
    return record


def _reason(said: str) -> str:
    """The last line that is no progress."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("    ready:")]
    return lines[-1].strip() if lines else "it said nothing"


def main(name: str, options: str, result: str) -> None:
    """Measure one row in this process and write its report."""
    report = load(name).measure(Options.from_text(options))
    write_json(Path(result), report.as_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
