"""The page of a batch, whose states the test makes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline.batch.batch_monitor import BatchMonitor
from pipeline.batch.batch_state import BatchState, WorkerView
from pipeline.settings.output_settings import ServeSettings
from pipeline.web import batch_routes, server
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import request

REPORT = "<!doctype html><style>h1 { color: rgb(255, 0, 0) }</style><h1>Ünique</h1>"


class ServedBatch:
    """Its status, the file of its report, its address."""

    def __init__(self, status: BatchMonitor, report: Path, page: Any) -> None:
        self.status, self.report, self.page = status, report, page
        self.url = page.url
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; redirects are not followed."""
        return request(self.url + path.lstrip("/"), None, headers)

    def work(self, frames: int = 450, done: int = 3, failed: int = 1, workers: int = 2) -> None:
        """Be so far, of 40 recordings with 1000 frames; the first worker waits."""
        views = [WorkerView(number, f"day1/cam{number}.mp4" if number else "", 30, 120) for number in range(workers)]
        self.status.update(BatchState(40, done, failed, frames, 1000, views))


@contextlib.contextmanager
def served_batch(folder: Path, serve: dict[str, Any] | None = None) -> Iterator[ServedBatch]:
    """The page on a free port, for as long as the block lasts.

    Args:
        folder: of the results; holds the report once a test writes it.
        serve: the section of the settings.
    """
    status = BatchMonitor(time.monotonic)
    grace = mock.patch.multiple(server, CLOSE_GRACE_S=DEADLINE_S, END_DEADLINE_S=2 * DEADLINE_S)  # for a busy machine
    settings = ServeSettings.model_validate({"address": "0", **(serve or {})})
    with grace, batch_routes.served_batch(settings, status.snapshot, folder / "report.html") as page:
        yield ServedBatch(status, folder / "report.html", page)
