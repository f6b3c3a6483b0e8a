"""Runs targets in processes of their own, which may crash or hang, and collects what they find."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import TARGETS
from tests.syntax_trees import ROOT

MOST_FAILURES = 50
"""So many failures of a target end it."""
CASE_S = 60.0
"""A damaged file takes some milliseconds, the slowest a second on an idle machine."""
MOST_LINES = 16
"""Of a traceback."""
_KEPT = 4000


@dataclass(frozen=True)
class Failure:
    """A case that did what no input may; `python -m tests.fuzz --target TARGET --first CASE --cases 1` repeats it."""

    target: str
    case: int
    what: str

    @property
    def kind(self) -> str:
        """What failures with the same cause share: the last line of ours in the traceback, and the error's type."""
        lines = self.what.strip().splitlines()
        ours = [line for line in lines if line.startswith(f'  File "{ROOT}') and "/tests/fuzz/" not in line]
        return f"{ours[-1:]} {lines[-1].partition(':')[0]}" if ours else re.sub(r"[0-9]+|/\S+", "#", lines[0])[:80]

    def __str__(self) -> str:
        lines = self.what.strip().splitlines()
        return "\n".join((f"{self.target} case {self.case}:", *lines[:2], *lines[max(2, len(lines) - MOST_LINES) :]))


@dataclass
class Outcome:
    """What became of the cases of a target."""

    target: str
    done: int = 0
    refused: int = 0
    grown_bytes: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        kinds: dict[str, list[Failure]] = {}
        for failure in self.failures:
            kinds.setdefault(failure.kind, []).append(failure)
        found = "".join(f"\n-- {len(same)} times, first {same[0]}" for same in kinds.values())
        return (
            f"{self.target:12} {self.done:6} cases, {self.refused:6} refused, "
            f"memory {self.grown_bytes / 1e6:+6.1f} MB, {len(self.failures)} failures{found}"
        )


def shares(cases: int, names: list[str]) -> dict[str, int]:
    """How many cases each target gets."""
    weights = {name: TARGETS[name][1] for name in names}
    return {name: max(1, round(cases * weight / sum(weights.values()))) for name, weight in weights.items()}


def run_targets(counts: dict[str, int], seed: int, first: int = 0, case_s: float = CASE_S) -> list[Outcome]:
    """Run cases of targets one after the other; a process that ends early loses its case, and another takes the rest.

    Args:
        counts: cases by target.
        seed: another one gives other cases.
        first: number of the first case of each.
        case_s: a case that takes longer hangs.
    """
    outcomes = {name: Outcome(name) for name in counts}
    parts = {name: (first, count) for name, count in counts.items()}
    while parts:
        with tempfile.TemporaryDirectory(prefix="stream_segment-fuzz-") as folder:
            _run_child(outcomes, parts, (seed, case_s, Path(folder)))
        parts = {name: part for name, part in parts.items() if len(outcomes[name].failures) < MOST_FAILURES}
    return list(outcomes.values())


def _run_child(outcomes: dict[str, Outcome], parts: dict[str, tuple[int, int]], how: tuple[int, float, Path]) -> None:
    """Run one process, given seed, limit and folder; what it has done leaves `parts`."""
    import matplotlib

    folder = how[-1]
    reading, writing = os.pipe()
    texts = [f"{name}:{first}:{count}" for name, (first, count) in parts.items()]
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TMPDIR"), str(folder / "home"))
    (folder / "home").mkdir()
    home["MPLCONFIGDIR"] = matplotlib.get_configdir()  # listing the fonts of a machine takes seconds
    with open(folder / "errors", "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.fuzz.child", *map(str, (*how, writing)), *texts],
            cwd=ROOT,
            env={**os.environ, **home, "MALLOC_ARENA_MAX": "2", "OPENCV_LOG_LEVEL": "OFF"},
            stdout=errors,
            stderr=errors,
            pass_fds=[writing],
        )
    os.close(writing)
    target, case = next(iter(parts)), parts[next(iter(parts))][0] - 1
    with open(reading, encoding="ascii") as report:
        for line in report:
            told = json.loads(line)
            target = told["target"]
            outcome = outcomes[target]
            if "case" in told:
                case = told["case"]
                outcome.done += 1
            elif "failed" in told:
                outcome.failures.append(Failure(target, told["failed"], told["what"]))
            else:
                outcome.refused += told["refused"]
                outcome.grown_bytes += told["grown"]
                del parts[target]
                target, case = next(iter(parts), target), -1
    code = process.wait()
    if not parts:
        return
    first, count = parts.pop(target)
    text = (folder / "errors").read_bytes()[-_KEPT:].decode("utf-8", "replace")
    outcomes[target].failures.append(Failure(target, case, f"the process ended with {code}: {text}"))
    following = max(case, first) + 1
    if following < first + count:
        parts[target] = following, first + count - following
