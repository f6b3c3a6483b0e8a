"""Chooses by measurement where the settings leave a choice: precision, threads, and how many engines side by side."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.segmentation.comparison import Clock, Verdict, compare
from pipeline.segmentation.engine_choice import EngineChoice, EngineSelection, MemoryShortage
from pipeline.settings.model_settings import EngineKind

if TYPE_CHECKING:
    from mrcnn.engines.base import Engine

logger = logging.getLogger(__name__)

FORMAT = 4
"""Format of the kept measurements; incremented when what is compared changes."""
QUICK_FRAME_S = 0.25
QUICK_BUDGET_S, SLOW_BUDGET_S = 5.0, 20.0
"""How long to measure, for networks whose frames take less or more than QUICK_FRAME_S; engines are made meanwhile."""
LEAST_THREADS = 2
WATCHED = 20
"""How many frames of a run are held against what was measured."""
MUCH_FASTER = 0.6
"""A run whose frames take less than this share of what was measured shows that the machine was busy then."""


class EngineTrials:
    """The comparison of a selection's engines on the first canvas, and what is known from earlier runs.

    A measurement is kept with the network's exported graphs, by processor, usable cores, version of OpenVINO and
    candidates, if the machine was steady enough to trust it; otherwise in this object, for a network that is restarted.
    A machine may be steadily busy: if the frames of a run are much faster, the measurement is kept no longer.

    Args:
        selection: the network and the engines to choose from.
        stopped: whether the run ends; the comparison then ends without a result.
        clock: seconds.
    """

    def __init__(
        self,
        selection: EngineSelection,
        stopped: Callable[[], bool] = lambda: False,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._selection, self._stopped, self._clock = selection, stopped, clock
        self._machine = selection.machine
        self._times_workers = selection.most_workers > 1 and not selection.workers_are_forced
        first = selection.choices[0]
        self._is_open = first.engine is EngineKind.OPENVINO and bool(
            selection.precisions_to_time or self._times_workers
        )
        self._key = self._made_key() if self._is_open else ""
        record = self._machine.recall(selection.model, self._key) if self._is_open else {}
        kept = record.get("canvases")
        self._canvases: dict[str, Any] = dict(kept) if isinstance(kept, dict) else {}
        self._last = str(record.get("last"))
        self._unsure: set[str] = set()
        self._watching = threading.Lock()
        self._watched: dict[str, list[float]] = {}

    def prefer(self) -> None:
        """Move the choice that an earlier run measured to the front of the selection, where there is one."""
        if not self._is_open:
            return
        choices = self._selection.choices
        known = self._known(self._last)
        if known is None:
            workers = 1 if self._times_workers else choices[0].workers
            known = replace(choices[0], workers=workers)
        self._selection.choices = [
            known,
            *(one for one in choices if one.precision is not known.precision or one.engine is not known.engine),
        ]

    @property
    def frame_ms(self) -> float | None:
        """Milliseconds a frame of the canvas that was measured last, as chosen; None if none was."""
        return self._frame_ms(self._last)

    def most_workers(self, choice: EngineChoice) -> int:
        """How many engines may compute side by side once the first canvas has been compared."""
        return self._selection.most_workers if self._times_workers and self._is_open else choice.workers

    def settle(
        self, engine: Engine, choice: EngineChoice, images: NDArray[np.uint8], windows: NDArray[np.int32]
    ) -> tuple[list[Engine], EngineChoice]:
        """The engines to go on with, and what they are: compared on this canvas, unless an earlier run did that.

        Args:
            engine: has computed this canvas.
            choice: what it is.
            images, windows: see `mrcnn.engines.base.Engine.detect_molded`.
        """
        if not self._is_open or choice.engine is not EngineKind.OPENVINO:
            return [engine], choice
        known = self._known(_shape_text(images))
        if known is not None:
            began_with = self._selection.choices[0]
            if known == choice or choice != began_with:  # what was preferred has failed
                return [engine], choice
        trial = _Trial(self._selection, self._stopped, self._clock, images, windows)
        try:
            if known is not None:
                another = trial.made(known, str(known))
                return ([engine], choice) if another is None else ([another], known)
            # The best of another canvas says which precision to begin with, not how many engines or threads.
            start = replace(choice, workers=1 if self._times_workers else choice.workers, threads=None)
            began = engine if start == choice else trial.made(start, str(start))
            if began is None:
                return [engine], choice
            trial.precisions(began, start)
            trial.fewer_threads()
            if self._times_workers:
                trial.more_workers()
        except _StoppedError:
            return [engine], choice
        chosen = replace(trial.choice, reason=trial.text())
        if chosen.reason:
            logger.info("measured on this machine: %s", chosen.reason)
        if not trial.sure:
            logger.info("the machine was too busy, or had too little memory, to be sure; the next start measures again")
        self._keep(_shape_text(images), chosen, 1000 * trial.frame_s, trial.sure)
        return trial.engines, chosen

    def watch(self, images: NDArray[np.uint8], seconds: float) -> None:
        """Hold the time that an engine of the choice took for a canvas in the run against what was measured.

        Called from several threads. `images`: see `settle`.
        """
        shape = _shape_text(images)
        if shape in self._unsure or len(self._watched.get(shape, ())) == WATCHED:
            return
        known, measured_ms = self._known(shape), self._frame_ms(shape)
        if known is None or measured_ms is None:
            return
        with self._watching:
            times_s = self._watched.setdefault(shape, [])
            if len(times_s) == WATCHED:
                return
            times_s.append(seconds / known.workers)
            frame_ms = 1000 * statistics.median(times_s)
            was_busy = len(times_s) == WATCHED and frame_ms < MUCH_FASTER * measured_ms
        if was_busy:
            logger.info(
                "a frame takes %.0f ms, not %.0f as measured, when the machine was busy; the next start measures again",
                *(frame_ms, measured_ms),
            )
            self._unsure.add(shape)
            self._write()

    def _made_key(self) -> str:
        selection, machine = self._selection, self._machine
        names = [choice.precision.value for choice in selection.choices if choice.engine is EngineKind.OPENVINO]
        content = [FORMAT, machine.processor(), machine.cores(), _openvino_version(), names]
        content += [selection.most_workers, selection.workers_are_forced]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _frame_ms(self, shape: str) -> float | None:
        one = self._canvases.get(shape)
        found = one.get("frame_ms") if isinstance(one, dict) else None
        return float(found) if isinstance(found, (int, float)) else None

    def _known(self, shape: str) -> EngineChoice | None:
        """What was measured for a canvas shape, if it is among the choices."""
        one = self._canvases.get(shape)
        if not isinstance(one, dict):
            return None
        for choice in self._selection.choices:
            if choice.engine is EngineKind.OPENVINO and choice.precision.value == one.get("precision"):
                workers, threads = one.get("workers"), one.get("threads")
                if isinstance(workers, int) and 1 <= workers <= self._selection.most_workers:
                    return replace(choice, workers=workers, threads=threads, reason=str(one.get("reason", "")))
        return None

    def _keep(self, shape: str, choice: EngineChoice, frame_ms: float, sure: bool) -> None:
        entry = {"precision": choice.precision.value, "workers": choice.workers, "threads": choice.threads}
        self._canvases[shape] = {**entry, "reason": choice.reason, "frame_ms": round(frame_ms, 2)}
        self._last = shape
        if not sure:
            self._unsure.add(shape)
            return
        self._write()

    def _write(self) -> None:
        kept = {one: entry for one, entry in self._canvases.items() if one not in self._unsure}
        self._machine.remember(self._selection.model, self._key, {"canvases": kept, "last": self._last})


class _StoppedError(Exception):
    """The run ends."""


class _Trial:
    """One comparison.

    Attributes:
        choice: the best so far.
        engines: the engines of that choice; each has computed the canvas.
        frame_s: seconds a frame of that choice.
        sure: whether every verdict was.
    """

    def __init__(
        self,
        selection: EngineSelection,
        stopped: Callable[[], bool],
        clock: Clock,
        images: NDArray[np.uint8],
        windows: NDArray[np.int32],
    ) -> None:
        self._selection, self._stopped, self._clock = selection, stopped, clock
        self._images, self._windows = images, windows
        self._began_s = clock()
        self._until_s = self._began_s + QUICK_BUDGET_S
        self._texts: list[str] = []
        self.frame_s = 0.0
        self.sure = True

    def precisions(self, engine: Engine, choice: EngineChoice) -> None:
        """Choose the precision; starts from an engine that has computed the canvas."""
        self.engines, self.choice = [engine], choice
        if self._seconds(engine) > QUICK_FRAME_S:
            self._until_s = self._began_s + SLOW_BUDGET_S
        candidates: dict[str, tuple[EngineChoice, Engine]] = {}
        for other in self._selection.precisions_to_time:
            is_present = other.precision is choice.precision
            wanted = choice if is_present else replace(other, workers=choice.workers)
            made = engine if is_present else self.made(wanted, other.precision.value)
            if made is not None:
                candidates[other.precision.value] = wanted, made
        if len(candidates) > 1:
            name = self._compared({name: self._runs([made]) for name, (_, made) in candidates.items()})
            self.choice, best = candidates[name]
            self.engines = [best]

    def fewer_threads(self) -> None:
        """Halve the threads as long as that is faster, as for a small network on many cores."""
        threads = self._selection.machine.threads(self.choice.workers) or self._selection.machine.cores()
        while threads // 2 >= LEAST_THREADS and self._in_time():
            fewer = replace(self.choice, threads=threads // 2)
            if not self._wins(fewer, f"{threads} threads", f"{threads // 2} threads"):
                return
            threads //= 2

    def more_workers(self) -> None:
        """Double the engines side by side as long as that is faster."""
        while (workers := 2 * self.choice.workers) <= self._selection.most_workers and self._in_time():
            names = [f"{count} side by side" if count > 1 else "one by one" for count in (self.choice.workers, workers)]
            if not self._wins(replace(self.choice, workers=workers, threads=None), *names):
                return
        self.sure = self.sure and (self._in_time() or self.choice.workers > 1)

    def text(self) -> str:
        """What was measured, in words."""
        return "; ".join(self._texts)

    def _wins(self, choice: EngineChoice, present_name: str, name: str) -> bool:
        """Whether another choice of the same precision is faster than the present one; if so, it becomes that."""
        engines: list[Engine] = []
        while len(engines) < choice.workers:
            if (engine := self.made(choice, name)) is None:
                return False
            engines.append(engine)
        frames = choice.workers
        present, other = self._runs(self.engines, frames), self._runs(engines, frames)
        if self._compared({present_name: present, name: other}, frames) == present_name:
            return False
        self.choice, self.engines = choice, engines
        return True

    def _compared(self, sides: Mapping[str, Any], frames: int = 1) -> str:
        verdict: Verdict = compare(sides, self._until_s, self._clock)
        times = sorted(verdict.medians_s.items(), key=lambda item: item[1])
        self.frame_s = verdict.medians_s[verdict.name] / frames
        self._texts.append(", ".join(f"{name} {_ms(seconds / frames)}" for name, seconds in times))
        self.sure = self.sure and verdict.sure
        return verdict.name

    def made(self, choice: EngineChoice, name: str) -> Engine | None:
        """An engine that has computed the canvas; None if it cannot be made or fails, which the log says of `name`."""
        self._check_stop()
        try:
            engine = self._selection.make_another(choice)
            engine.detect_molded(self._images, self._windows)
        except Exception as error:  # noqa: BLE001  what the runtimes raise has no common class but this
            logger.info("left out of the comparison: %s: %s", name, one_line(error))
            self.sure = self.sure and not isinstance(error, MemoryShortage)
            return None
        return engine

    def _runs(self, engines: list[Engine], frames: int = 1) -> Any:
        """A function that computes the canvas `frames` times, on engines side by side."""
        if len(engines) == 1:
            return lambda: [self._seconds(engines[0]) for _ in range(frames)]

        def side_by_side() -> None:
            with ThreadPoolExecutor(len(engines)) as pool:
                list(pool.map(self._seconds, (engines * frames)[:frames]))

        return side_by_side

    def _check_stop(self) -> None:
        if self._stopped():
            raise _StoppedError

    def _seconds(self, engine: Engine) -> float:
        self._check_stop()
        began_s = self._clock()
        engine.detect_molded(self._images, self._windows)
        return self._clock() - began_s

    def _in_time(self) -> bool:
        return self._clock() < self._until_s


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"


def _shape_text(images: NDArray[np.uint8]) -> str:
    return "x".join(map(str, images.shape[:3]))


def _openvino_version() -> str:
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return ""


def one_line(error: Exception) -> str:
    """OpenVINO says in its last line what is wrong, and ONNX Runtime in its only one."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
