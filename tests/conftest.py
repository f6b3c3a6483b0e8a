"""What every test gets: no thread of ours may outlive the test that started it."""

from __future__ import annotations

import threading

import pytest

from pipeline.stage import THREAD_PREFIX


@pytest.fixture(autouse=True)
def _no_thread_left_behind():
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)]
    for thread in left:
        thread.join(5.0)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"threads outlived the test: {alive}"
