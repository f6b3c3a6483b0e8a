"""Cameras that come and go, in a run that is only a record of it."""

import threading
from types import SimpleNamespace

from benchmarks.visitors import Visitors
from pipeline.errors import InputError

DEADLINE_S = 30.0


class Run:
    """Remembers who came and went; has room for `full` cameras in all, None for any number."""

    def __init__(self, full=None):
        self.came, self.gone, self.entries, self._full = [], [], {}, full
        self.changed = threading.Semaphore(0)

    def add(self, camera):
        if len(self.came) == self._full:
            self.changed.release()
            raise InputError("no more cameras")
        self.came.append(camera)
        self.entries[camera["name"]] = SimpleNamespace(summaries=[f"run of {camera['uri']}"], error=None)

    def remove(self, name):
        del self.entries[name]
        self.gone.append(name)
        self.changed.release()

    def wait(self, count):
        """Wait until this many cameras have been removed or refused."""
        for _ in range(count):
            assert self.changed.acquire(timeout=DEADLINE_S)


def test_each_comes_in_turn_and_goes_before_the_next():
    run = Run()
    with Visitors(run, ["http://a", "http://b"], 3, 0.01, {"weight": 2}) as visitors:
        visitors.begin()
        run.wait(3)
    assert [(one["name"], one["uri"], one["weight"]) for one in run.came] == [
        ("visitor-00", "http://a", 2),
        ("visitor-01", "http://b", 2),
        ("visitor-02", "http://a", 2),
    ]
    assert run.gone == ["visitor-00", "visitor-01", "visitor-02"]
    assert [(one.name, one.runs, one.error) for one in visitors.summaries] == [
        ("visitor-00", ("run of http://a",), None),
        ("visitor-01", ("run of http://b",), None),
        ("visitor-02", ("run of http://a",), None),
    ]
    assert visitors.error == ""


def test_who_has_come_goes_when_the_run_ends():
    run = Run()
    with Visitors(run, ["http://a"], 1000, 2 * DEADLINE_S, {}) as visitors:
        visitors.begin()
    assert (len(run.came), run.gone, run.entries) == (1, ["visitor-00"], {})


def test_what_fails_is_told_and_ends_it():
    run = Run(full=1)
    with Visitors(run, ["http://a"], 3, 0.0, {}) as visitors:
        visitors.begin()
        run.wait(2)
    assert visitors.error == "a camera could not be added or removed: no more cameras"
    assert len(visitors.summaries) == 1


def test_without_a_beginning_nobody_comes():
    run = Run()
    with Visitors(run, ["http://a"], 3, 0.0, {}):
        pass
    assert run.came == []
