"""Cached networks, each of whose system calls fails once: the old content or the new one is there, whole."""

from __future__ import annotations

import pytest

from mrcnn.engines import cache
from mrcnn.engines.base import EngineError
from tests.faults.file_system import enumerate_faults

OLD, NEW = "v 1", "v 2"


def graphs(content):
    """Writes graphs and a folder into a folder."""

    def fill(folder):
        for name in ("a.onnx", "b.onnx", "w.bin"):
            (folder / name).write_bytes(content)

    return fill


def engine_cache(parent):
    """A folder that replaces another one, in which a folder with an int8 network lies; outdated ones are removed."""
    folder = parent / "cache" / "net-0123456789abcdef"
    outdated = parent / "cache" / "net-0123456789abcde0"
    notes = {"weights": "net.h5"}
    for name, version in ((folder, OLD), (outdated, "v 0")):
        cache.write(name, version, graphs(b"old"), notes)
    cache.write(folder / "int8", OLD, graphs(b"int8"))

    def run():
        cache.write(folder, NEW, graphs(b"new"), notes)
        cache.remove_outdated(folder, NEW)

    def check(error):
        problems = [] if error is None or isinstance(error, OSError) else [f"{error!r}"]
        versions = {OLD: b"old", NEW: b"new"}
        readable = [version for version in versions if is_whole(folder, version, versions[version])]
        problems += [] if len(readable) == 1 else [f"readable as {readable}"]
        if (folder / "int8").exists() and not is_whole(folder / "int8", OLD, b"int8"):
            problems.append("half of the int8 network is there")
        problems += ["the new one is not there, without an error"] * (error is None and readable == [OLD])
        run()
        problems += [] if is_whole(folder, NEW, b"new") else ["it cannot be written again"]
        return problems + [f"{path.name} is left" for path in folder.parent.glob("*.*")]

    return run, check


def is_whole(folder, version, content):
    try:
        return {path.read_bytes() for path in cache.read(folder, version).values()} == {content}
    except cache.CacheFault:
        return False


@pytest.mark.parametrize("errors", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_engine_cache(tmp_path, errors):
    runs, problems = enumerate_faults(tmp_path, engine_cache, errors)
    assert problems == []
    assert runs > 30


def test_reading_a_cache(tmp_path):
    """A cache that cannot be read is one that is not there: it is written anew."""

    def make(parent):
        folder, read = parent / "net-1", []
        cache.write(folder, NEW, graphs(b"new"))

        def run():
            read.append(cache.read(folder, NEW))

        def check(error):
            return [] if isinstance(error, EngineError) or read else [f"{error!r}"]

        return run, check

    runs, problems = enumerate_faults(tmp_path, make, errors=None)
    assert problems == []
    assert runs > 5
