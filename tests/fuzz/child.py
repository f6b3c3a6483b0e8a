"""A process that runs cases under limits: SEED SECONDS FOLDER DESCRIPTOR TARGET:FIRST:COUNT …

It writes a line of JSON to the descriptor before each case, for each failure, and at the end of each target.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import logging
import os
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tests.fuzz.guard import Guard
    from tests.fuzz.targets import Bench

MEMORY_BYTES = 3 << 30
"""What a case may take beside what its libraries need: less than the memory of a small machine."""
FILE_BYTES = 1 << 28
GROWTH_BYTES = 48 << 20
"""By how much memory may grow from a fifth of the cases on; allocators keep some."""
MEASURED_FROM = 500


def main(seed: int, case_s: float, folder: Path, descriptor: int, parts: Sequence[str]) -> None:
    """Run the cases of each part; one that takes longer than `case_s` ends the process."""
    from tests.fuzz.guard import Guard, emptied
    from tests.fuzz.targets import Bench

    bait = emptied(folder / "bait")
    _fill(bait)
    os.chdir(emptied(folder / "cwd"))
    case = emptied(folder / "case")
    guard = Guard([case, Path(os.environ["TMPDIR"])], bait)
    bench = Bench(case, bait, guard.port)
    with open(descriptor, "w", encoding="ascii", buffering=1) as report:
        for part in parts:
            target, first, count = part.split(":")
            say = partial(_write, report, target=target)
            Child(target, seed, bench, guard, say).run(int(first), int(count), case_s)


def _write(report: TextIO, **fields: object) -> None:
    report.write(json.dumps(fields) + "\n")


class Child:
    """Runs cases of a target and says what became of them."""

    def __init__(self, target: str, seed: int, bench: Bench, guard: Guard, say: Callable[..., object]) -> None:
        from tests.fuzz import harmful
        from tests.fuzz.guard import emptied
        from tests.fuzz.targets import TARGETS

        self._name, self._seed, self._bench, self._guard, self._say = target, seed, bench, guard, say
        guard.may_connect = target == "page"
        emptied(bench.folder)
        make = TARGETS[target][0] if target in TARGETS else harmful.TARGETS[target]
        self._case = make(bench)
        self._rss = 0
        self._done = self._refused = 0

    def run(self, first: int, count: int, case_s: float) -> None:
        """Run so many cases from a number on."""
        self._guard.check()
        self._case_s = case_s
        used = _statm(0)
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, resource.RLIM_INFINITY))
        many = getattr(self._case, "many", None)
        measured_from = max(MEASURED_FROM, count // 5)
        if many is not None:
            numbers = iter(range(first, sys.maxsize))
            many(self._random(first), count, lambda call: self._one(next(numbers), call, measured_from))
            self._case.close()  # type: ignore[union-attr]
        else:
            for number in range(first, first + count):
                random = self._random(number)
                self._one(number, lambda random=random: self._case(random), measured_from)  # type: ignore[operator, misc]
        grown = _rss() - self._rss if self._rss else 0
        if grown > GROWTH_BYTES:
            self._fail(first + count - 1, f"memory grew by {grown / 1e6:.0f} MB in {self._done - measured_from} cases")
        self._say(done=self._done, refused=self._refused, grown=grown)

    def _random(self, number: int) -> Random:
        return Random(f"{self._name} {self._seed} {number}")

    def _one(self, number: int, call: Callable[[], object], measured_from: int) -> None:
        from pipeline.errors import InputError
        from tests.fuzz.guard import emptied
        from tests.fuzz.targets import REFUSALS

        self._say(case=number)
        emptied(self._bench.folder)
        (self._bench.folder / "out").mkdir()
        self._bench.inputs.clear()
        faulthandler.dump_traceback_later(self._case_s, exit=True)
        self._guard.armed = True
        try:
            call()
        except REFUSALS as error:
            self._refused += 1
            if len(str(InputError(str(error))).splitlines()) != 1:  # as the command line prints it
                self._fail(number, f"the message has not one line: {str(error)!r}"[:300])
        except Exception:  # noqa: BLE001
            self._fail(number, traceback.format_exc())
        finally:
            self._guard.armed = False
            faulthandler.cancel_dump_traceback_later()
        for what in [*self._guard.check(), *self._changes()]:
            self._fail(number, what)
        self._done += 1
        if self._done == measured_from:
            self._rss = _rss()

    def _changes(self) -> list[str]:
        """What became of the inputs, and what is there besides."""
        bench = self._bench
        kept = {path for path, data in bench.inputs.items() if path.is_file() and path.read_bytes() == data}
        files = {path for path in bench.folder.rglob("*") if path.is_file()}
        changed = [f"{path} was changed" for path in set(bench.inputs) - kept]
        return changed + [f"{path} was left" for path in files - set(bench.inputs) if path.parent.name != "out"]

    def _fail(self, number: int, what: str) -> None:
        self._say(failed=number, what=what)


def _fill(bait: Path) -> None:
    """Files that would be read if a library followed an input to them."""
    import h5py
    import numpy as np

    from tests.pipeline.report.stored import line, one, write
    from tests.pipeline.sources.clips import write_clip

    (bait / "bait.txt").write_bytes(bytes(range(256)))
    with h5py.File(bait / "bait.h5", "w") as file:
        file["x"] = np.zeros(7, np.float32)
    write_clip(bait / "bait.mp4", 1)
    write_clip(bait / "bait.ts", 1, codec="mpeg2video")
    write_clip(bait / "bait.png", 1, codec="png", pix_fmt="rgb24", container_format="image2")
    write(bait / "bait.jsonl", line(0, one()))


def _statm(field: int) -> int:
    """Bytes of this process: 0 all its addresses, 1 those in memory; see proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[field]) * os.sysconf("SC_PAGE_SIZE")


def _rss() -> int:
    gc.collect()
    trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return _statm(1)


if __name__ == "__main__":
    faulthandler.enable()
    logging.disable(logging.INFO)
    seed_text, case_s_text, folder_text, descriptor_text, *parts_text = sys.argv[1:]
    main(int(seed_text), float(case_s_text), Path(folder_text), int(descriptor_text), parts_text)
