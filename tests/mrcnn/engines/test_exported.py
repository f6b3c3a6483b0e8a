"""Graphs from the cache, or made now; the network itself is exported here in this process or in one of its own."""

import errno
import logging
import subprocess
import sys

import pytest

from mrcnn.config import Config
from mrcnn.engines import cache, exported
from mrcnn.engines.base import EngineError
from mrcnn.engines.exported import VERSION, ExportFault, exported_parts
from mrcnn.network.constants import PART_NAMES
from tests.mrcnn.conftest import ONCE

pytestmark = ONCE


class Small(Config):
    NAME, NUM_CLASSES, GPU_COUNT, IMAGES_PER_GPU = "small", 3, 1, 1


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def exports(monkeypatch):
    """Stands for the export; a list of the folders that it was asked to fill."""
    calls = []

    def fake(weights, config, folder):
        calls.append(folder)
        for name in PART_NAMES:
            (folder / f"{name}.onnx").write_text(f"{name} {len(calls)}")

    monkeypatch.setattr(exported.Export, "export", lambda export, folder: fake(export.weights, export.config, folder))
    return calls


def test_first_call_exports_the_second_reads(weights, exports, caplog):
    first = exported_parts(weights, Small())
    assert tuple(sorted(first)) == tuple(sorted(PART_NAMES))
    assert exported_parts(weights, Small()) == first
    assert len(exports) == 1
    assert not exports[0].exists()
    folder = cache.cache_folder(weights, Small())
    assert cache.notes(folder) == {"weights": "net.h5"}
    assert all(path.parent == folder for path in first.values())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_other_weights_under_the_same_name_are_exported_anew(weights, exports):
    first = exported_parts(weights, Small())
    weights.write_bytes(b"other weights")
    assert exported_parts(weights, Small())["boxes"].parent != first["boxes"].parent
    assert len(exports) == 2


def test_a_broken_cache_is_made_anew_with_one_warning(weights, exports, caplog):
    exported_parts(weights, Small())["masks"].write_text("cut")
    assert exported_parts(weights, Small())["masks"].read_text() == "masks 2"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "masks.onnx is missing, truncated or changed: exporting again" in warnings[0]


def test_a_cache_without_one_of_the_parts_is_made_anew(weights, exports, caplog):
    folder = cache.cache_folder(weights, Small())
    cache.write(folder, VERSION, lambda part: (part / "boxes.onnx").write_text("old"))
    assert exported_parts(weights, Small())["boxes"].read_text() == "boxes 1"
    assert "has no features" in caplog.text


def test_a_cache_of_another_version_is_made_anew(weights, exports, caplog):
    folder = cache.cache_folder(weights, Small())
    cache.write(folder, "stream_segment export 0", lambda part: (part / "boxes.onnx").write_text("old"))
    assert exported_parts(weights, Small())["boxes"].read_text() == "boxes 1"
    assert "was written by stream_segment export 0" in caplog.text


def test_an_older_format_of_the_same_weights_is_removed_in_one_line(weights, exports, caplog):
    parent = cache.cache_folder(weights, Small()).parent
    for name, version, digit in (("net", "stream_segment export 0", "a"), ("net", VERSION, "b"), ("my", VERSION, "c")):
        notes = {"weights": f"{name}.h5"}
        cache.write(parent / f"{name}-{16 * digit}", version, lambda part: (part / "a.onnx").write_text("x"), notes)
    with caplog.at_level(logging.INFO, "mrcnn.engines.exported"):
        made = exported_parts(weights, Small())["boxes"].parent
    assert {path.name for path in parent.iterdir()} == {made.name, f"net-{16 * 'b'}", f"my-{16 * 'c'}"}
    lines = [record.getMessage() for record in caplog.records if "removed" in record.getMessage()]
    assert lines == [f"removed outdated exports of net.h5 from {parent}: net-{16 * 'a'}"]
    exported_parts(weights, Small())
    assert len(exports) == 1


def test_what_another_process_has_made_meanwhile_stays(weights, monkeypatch):
    folder = cache.cache_folder(weights, Small())

    def slow(weights, config, part):
        for place, text in ((folder, "theirs"), (part, "ours")):
            place.mkdir(exist_ok=True)
            for name in PART_NAMES:
                (place / f"{name}.onnx").write_text(text)
        if not (folder / cache.MANIFEST).exists():
            cache.write(folder, VERSION, lambda other: [(other / f"{n}.onnx").write_text("theirs") for n in PART_NAMES])

    monkeypatch.setattr(exported.Export, "export", lambda export, folder: slow(export.weights, export.config, folder))
    assert exported_parts(weights, Small())["boxes"].read_text() == "theirs"
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_a_full_disk_is_one_line(weights, monkeypatch):
    def full(weights, config, folder):
        (folder / "features.onnx").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exported.Export, "export", lambda export, folder: full(export.weights, export.config, folder))
    with pytest.raises(ExportFault, match=r"cannot be written to .*net-.*: .*No space left on device"):
        exported_parts(weights, Small())
    assert not list((weights.parent / "cache").iterdir())


def unusable():
    raise FileNotFoundError("No usable temporary directory found")


def test_no_place_to_keep_it_is_told(weights, monkeypatch, tmp_path, exports, caplog):
    temporary = tmp_path / "stream_segment-engines-x"
    monkeypatch.setattr(cache, "_is_writable", lambda folder: False)
    monkeypatch.setattr(cache, "_temporary_folder", lambda: temporary)
    assert exported_parts(weights, Small())["boxes"].parent.parent == temporary
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("preparing net.h5 for this engine, for this run only: cannot write to ")
    assert str(weights.parent / "cache") in line


def test_no_place_to_write_is_one_line(weights, monkeypatch, tmp_path, exports):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "_is_writable", lambda folder: False)
    monkeypatch.setattr(cache, "_temporary_folder", unusable)
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "file" / "cache")
    with pytest.raises(ExportFault, match=r"cannot be written to .*file"):
        exported_parts(weights, Small())
    assert not exports


def test_without_onnx(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportFault, match=r"pip install onnx$"):
        exported_parts(weights, Small())
    assert not (weights.parent / "cache").exists()


def test_a_mistake_in_this_process_is_one_line(weights, tiny_files):
    assert "keras" in sys.modules
    with pytest.raises(ExportFault, match=r"net\.h5 cannot be exported: "):
        exported_parts(weights, tiny_files[1])
    assert not list((weights.parent / "cache").iterdir())


def test_a_mistake_in_a_process_of_its_own_is_one_line(weights, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    config = Small()
    config.NUM_CLASSES = 0
    with pytest.raises(
        ExportFault, match=r"net\.h5 cannot be exported: the weight file.s NUM_CLASSES must be .*, got 0"
    ) as caught:
        exported_parts(weights, config)
    assert "\n" not in str(caught.value)
    assert not list((weights.parent / "cache").iterdir())


ENDINGS = [
    (2, "I0000 framework\nerror: no layer x\nW0000 more of the framework\n", "no layer x"),
    (1, "Traceback (most recent call last):\n  …\nMemoryError: too much\n", "MemoryError: too much"),
    (3, "", "exit code 3"),
    (-9, "W0000 framework\n", "killed by signal 9"),
]


def stand_in(monkeypatch, code):
    """Let a process with this code take the place of the one that exports."""
    monkeypatch.delitem(sys.modules, "keras")
    start = subprocess.Popen
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(exported.subprocess, "Popen", lambda _, **options: start(command, **options))


@pytest.mark.parametrize(("code", "stderr", "reason"), ENDINGS)
def test_how_a_process_of_its_own_may_end(weights, monkeypatch, code, stderr, reason):
    end = f"os._exit({code})" if code >= 0 else f"os.kill(os.getpid(), {-code})"
    stand_in(monkeypatch, f"import os, sys; sys.stderr.write({stderr!r}); sys.stderr.flush(); {end}")
    with pytest.raises(EngineError, match=f"cannot be exported: .*{reason}"):
        exported_parts(weights, Small())


def test_a_long_export_shows_that_it_is_alive(weights, monkeypatch, caplog):
    monkeypatch.setattr(exported, "PROGRESS_INTERVAL_S", 0.05)
    stand_in(monkeypatch, "import sys, time; time.sleep(0.5); sys.exit('error: ' + str(len(sys.stdin.read())))")
    with caplog.at_level("INFO"), pytest.raises(EngineError, match=r"cannot be exported: \d{3,}"):
        exported_parts(weights, Small())
    assert sum("still preparing net.h5: " in message for message in caplog.messages) >= 2


def test_the_tiny_network_is_exported_here(tiny_files):
    weights, config = tiny_files
    parts = exported_parts(weights, config)
    assert all(path.stat().st_size > 1000 for path in parts.values())
