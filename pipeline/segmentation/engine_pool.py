"""A pool of engines that compute side by side. Falls back to the next engine when the first frame fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from queue import LifoQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StageStuckError
from pipeline.segmentation.engine_choice import EngineChoice, EngineSelection
from pipeline.segmentation.engine_trials import EngineTrials, one_line
from pipeline.settings.model_settings import EngineKind
from pipeline.threads.stage import FirstError, Stage

if TYPE_CHECKING:
    from mrcnn.engines.base import Engine, RawDetections

logger = logging.getLogger(__name__)

MOST_SIDE_BY_SIDE = 4
"""Frames that may go through the network at once, if the first frame shows that it pays: nobody waits for the other
cores, but each further engine holds a copy of the network. The detections are the same to the bit."""
ANOTHER_ENGINE = "another engine"
"""Name of the stage that makes one more engine while the others compute."""
CLOSE_DEADLINE_S = 10.0
"""How long `close` waits for an engine that is being made."""


class EnginePool:
    """Engines of one network, for as many threads as there are engines.

    The first frame proves the first engine: OpenVINO and ONNX Runtime compile for a canvas size when it first comes,
    and an engine that cannot compute its first frame is replaced like one that cannot be made. What fails after that
    is raised. Where the settings leave a choice that only this machine can make, the first frame also decides by
    measurement (`EngineTrials`). The other engines are made as soon as two frames meet; one that cannot be made is left
    out.

    Args:
        selection: the network, the engines to try, and how many compute side by side.
        trials: of that selection.
    """

    def __init__(self, selection: EngineSelection, trials: EngineTrials) -> None:
        self._selection = selection
        self._idle: LifoQueue[Engine | None] = LifoQueue()  # the one used last first; None: an engine not made yet
        self._making: list[Stage] = []
        self._prepared: set[tuple[Engine, tuple[int, ...]]] = set()  # engines, and shapes that they have computed
        self._preparing: set[Engine] = set()
        self._proving = threading.Lock()
        self._compiling = threading.Lock()
        self._proven = False
        self._trials = trials
        trials.prefer()
        self._engine, self._choice = selection.make()

    @property
    def choice(self) -> EngineChoice:
        """What all engines in the pool are."""
        return self._choice

    @property
    def size(self) -> int:
        """How many threads may call `detect_molded` at the same time without waiting for one another, by now."""
        return self._choice.workers

    @property
    def most(self) -> int:
        """How many that may become with the first frame."""
        return self._choice.workers if self._proven else self._trials.most_workers(self._choice)

    @property
    def preparing(self) -> bool:
        """Whether an engine computes its first batch of a shape, for which it may have to compile."""
        return bool(self._preparing)

    def detect_molded(self, images: NDArray[np.uint8], windows: NDArray[np.int32]) -> Sequence[RawDetections]:
        """See `mrcnn.engines.base.Engine.detect_molded`; from several threads.

        Raises:
            InputError: no engine computes its first frame.
        """
        with self._proving:
            if not self._proven:
                return self._prove(images, windows)
        while (engine := self._idle.get()) is None:
            self._begin_another(images.shape[:3])
        is_prepared = (engine, images.shape) in self._prepared
        if not is_prepared:
            self._preparing.add(engine)
        try:
            began_s = time.perf_counter()
            found: Sequence[RawDetections] = engine.detect_molded(images, windows)
            if is_prepared:
                self._trials.watch(images, time.perf_counter() - began_s)
            self._prepared.add((engine, images.shape))
            return found
        finally:
            self._preparing.discard(engine)
            self._idle.put(engine)

    def close(self) -> None:
        """Wait for engines that are being made."""
        for stage in self._making:
            try:
                stage.join(CLOSE_DEADLINE_S)
            except StageStuckError as error:
                logger.info("%s", error)

    def _prove(self, images: NDArray[np.uint8], windows: NDArray[np.int32]) -> Sequence[RawDetections]:
        while True:
            try:
                found: Sequence[RawDetections] = self._engine.detect_molded(images, windows)
            except Exception as error:  # what the runtimes raise has no common class but this
                if self._choice.engine is EngineKind.KERAS:
                    raise
                reason = f"{self._choice}: {one_line(error)}"
                self._engine, self._choice = self._selection.make_next(self._choice, reason)
                continue
            engines, self._choice = self._trials.settle(self._engine, self._choice, images, windows)
            if engines[0] is not self._engine:
                found = engines[0].detect_molded(images, windows)
            for _ in range(self.size - len(engines)):
                self._idle.put(None)
            for engine in engines:
                self._idle.put(engine)
            self._proven = True
            return found

    def _begin_another(self, shape: tuple[int, ...]) -> None:
        """Make one more engine, ready for batches of this shape, (B, H, W), in a thread of its own.

        Meanwhile the frames go to those that exist.
        """

        def make() -> None:
            with self._compiling:  # one after the other: each needs to know how much memory is left
                engine = self._selection.make_another(self._choice)
                engine.warm_up(*shape)
            self._idle.put(engine)

        errors = FirstError(lambda: logger.warning("%s; computing fewer frames at a time", errors.error))
        stage = Stage(ANOTHER_ENGINE, make, errors)
        self._making.append(stage)
        stage.start()


def default_workers(batch_size: int, cores: int) -> int:
    """How many frames may go through the network side by side unless the settings say; batches go one by one."""
    return min(MOST_SIDE_BY_SIDE, cores) if batch_size == 1 else 1
