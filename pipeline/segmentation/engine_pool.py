"""The engines of a run: one, or several that work side by side; and what follows one that fails at its first frame."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StageStuckError
from pipeline.segmentation.engine_choice import EnginePlan, make_another, make_engine, make_next
from pipeline.settings.model_settings import EngineKind, ModelSettings
from pipeline.threads.stage import FirstError, Stage

logger = logging.getLogger(__name__)

SIDE_BY_SIDE = 2
"""So many frames go through the network at once where that pays. Measured on two cores: 15 % more frames a second than
one after the other on both, because nobody waits for the other core; what is found is the same to the bit."""
ANOTHER_ENGINE = "another engine"
"""Name of the stage that makes an engine beside those that are there."""
CLOSE_DEADLINE_S = 10.0
"""How long `close` waits for an engine that is being made."""


class EngineSet:
    """Engines of one network, for as many threads as there are engines.

    The first frame proves the first engine. OpenVINO and ONNX Runtime compile for a size of canvas when it first comes:
    what cannot compute its first frame is replaced like an engine that cannot be made. What fails after that is raised.
    The engines beside it are made as soon as two frames meet; one that cannot be is left out.

    Args:
        plans: what `plan_engines` gave, best first.
        settings, weights, config: as for `plan_engines`.
        count: engines, 1 or more; only OpenVINO on the CPU runs several.
    """

    def __init__(
        self, plans: list[EnginePlan], settings: ModelSettings, weights: Path, config: Any, count: int = 1
    ) -> None:
        self._plans = plans
        self._made_of = (settings, weights, config)
        self._count = count
        self._threads = None if count == 1 else max(1, core_count() // count)
        self._idle: LifoQueue[Any] = LifoQueue()  # the one used last first; None: an engine that is not made yet
        self._making: list[Stage] = []
        self._proving = threading.Lock()
        self._proven = False
        self._engine, self._plan = make_engine(plans, *self._made_of, self._threads)

    @property
    def plan(self) -> EnginePlan:
        """Of the engines."""
        return self._plan

    @property
    def count(self) -> int:
        """How many threads may call `detect_molded` at the same time without waiting for one another."""
        return side_by_side(self._plan, self._count)

    def detect_molded(self, images: NDArray[np.uint8], windows: NDArray[np.int32]) -> Sequence[Any]:
        """As of `mrcnn.engines.base.Engine`, for several threads. Raises InputError if no engine computes its first."""
        with self._proving:
            if not self._proven:
                return self._prove(images, windows)
        while (engine := self._idle.get()) is None:
            self._begin_another(images.shape[:3])
        try:
            found: Sequence[Any] = engine.detect_molded(images, windows)
        finally:
            self._idle.put(engine)
        return found

    def close(self) -> None:
        """Wait until nothing more is being made."""
        for stage in self._making:
            try:
                stage.join(CLOSE_DEADLINE_S)
            except StageStuckError as error:
                logger.info("%s", error)

    def _prove(self, images: NDArray[np.uint8], windows: NDArray[np.int32]) -> Sequence[Any]:
        while True:
            try:
                found: Sequence[Any] = self._engine.detect_molded(images, windows)
            except Exception as error:  # what the runtimes raise has no common class but this
                if self._plan.engine is EngineKind.KERAS:
                    raise
                reason = f"{self._plan}: {_one_line(error)}"
                self._engine, self._plan = make_next(self._plan, reason, self._plans, *self._made_of, self._threads)
                continue
            for _ in range(self.count - 1):
                self._idle.put(None)
            self._idle.put(self._engine)
            self._proven = True
            return found

    def _begin_another(self, shape: tuple[int, ...]) -> None:
        """Make one more engine, ready for batches of this shape, (B, H, W), in a thread of its own.

        Meanwhile the frames go to those that are there.
        """

        def make() -> None:
            engine = make_another(self._plan, *self._made_of, self._threads)
            engine.warm_up(*shape)
            self._idle.put(engine)

        errors = FirstError(lambda: logger.warning("%s; going on with fewer at a time", errors.error))
        stage = Stage(ANOTHER_ENGINE, make, errors)
        self._making.append(stage)
        stage.start()


def side_by_side(plan: EnginePlan, count: int) -> int:
    """How many engines of this plan there are where `count` are wanted: it pays with OpenVINO."""
    return count if plan.engine is EngineKind.OPENVINO else 1


def default_workers(batch_size: int) -> int:
    """How many frames, or batches, go through the network side by side where nobody says so."""
    return min(SIDE_BY_SIDE, core_count()) if batch_size == 1 else 1


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_line(error: Exception) -> str:
    """OpenVINO tells in the last line what is wrong, and ONNX Runtime in its only one."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
