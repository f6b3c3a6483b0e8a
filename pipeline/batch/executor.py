"""The interface of what runs workers: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.batch.results_folder import Claim
from pipeline.batch.worker import Outcome
from pipeline.batch.worker_plan import WorkerPlan


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded its network."""

    worker: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """A worker cannot load its network, and no other would; `reason` is a line for the user."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A worker has done `frames` of its recording; `total` is None if their number is unknown."""

    worker: int
    frames: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt has ended, and the worker is free."""

    worker: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Died:
    """A worker has ended without being asked to; `reason` says what is known."""

    worker: int
    reason: str


Event = Ready | Unusable | Progressed | Finished | Died


class Executor(ABC):
    """Runs workers, each of which is started, given one recording after the other, and stopped.

    Used by one thread. A worker is a number, from 0 on; one that has died or was stopped may be started again.

    Attributes:
        workers: how many there are.
    """

    workers: int

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; `Ready`, `Unusable` or `Died` follows."""

    @abstractmethod
    def give(self, worker: int, claim: Claim) -> None:
        """Let a worker that is ready and free make an attempt; `Finished` or `Died` follows."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """End a worker at once, whatever it does; no event follows. It leaves its claim's folder behind."""

    @abstractmethod
    def events(self, timeout_s: float) -> Sequence[Event]:
        """What has happened; waits for something until the time is over."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once."""


class Place(ABC):
    """Where workers run.

    Attributes:
        workers: how many.
        cores: that each of them uses.
    """

    workers: int
    cores: int

    @abstractmethod
    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """What a function returns where a worker would run; raises the StreamSegmentError that it raises."""

    def share(self, chosen: Mapping[str, Any], recordings: int | None) -> dict[str, Any]:
        """Settle `workers` and `cores`, where what was measured decides them.

        Args:
            chosen: what `choose_engine` has chosen for the batch.
            recordings: how many are to do; None where there is work for any number of workers.

        Returns:
            What was chosen, with the number of engines that each worker runs.
        """
        return dict(chosen)

    @abstractmethod
    def executor(self, plan: WorkerPlan) -> Executor:
        """Runs workers there."""
