"""Folders that are there whole or not at all."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.engines import cache
from mrcnn.engines.base import EngineError
from tests.mrcnn.conftest import ONCE
from tests.unreadable import Refusals

pytestmark = ONCE

ROOT = Path(__file__).parents[3]


def fill(*contents: bytes):
    """Writes a.onnx, b.onnx … and w.bin into a folder."""

    def into(folder: Path) -> None:
        for name, content in zip("ab", contents, strict=False):
            (folder / f"{name}.onnx").write_bytes(content)
        (folder / "w.bin").write_bytes(b"weights")

    return into


def broken(error: Exception):
    """Writes half of what it should and fails."""

    def into(folder: Path) -> None:
        (folder / "a.onnx").write_bytes(b"ha")
        raise error

    return into


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "cache" / "net-1"
    cache.write(path, "v1", fill(b"first", b"second"), {"made": 3})
    return path


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_what_was_written_is_read(folder):
    files = cache.read(folder, "v1")
    assert set(files) == {"a", "b"}  # w.bin is read by whatever reads its .xml
    assert files["b"].read_bytes() == b"second"
    assert cache.notes(folder) == {"made": 3}
    assert names(folder.parent) == {"net-1"}


def cut_off(folder):
    (folder / "b.onnx").write_bytes(b"seco")


def changed(folder):
    (folder / "b.onnx").write_bytes(b"sec0nd")


def weights_gone(folder):
    (folder / "w.bin").unlink()


def no_manifest(folder):
    (folder / cache.MANIFEST).unlink()


def half_a_manifest(folder):
    text = (folder / cache.MANIFEST).read_text()
    (folder / cache.MANIFEST).write_text(text[: len(text) // 2])


def other_json(folder):
    (folder / cache.MANIFEST).write_text("[1, 2]")


def not_text(folder):
    (folder / cache.MANIFEST).write_bytes(b"\xff\xfe\x00")


DAMAGE = {
    cut_off: "b.onnx is missing, truncated or changed",
    changed: "b.onnx is missing, truncated or changed",
    weights_gone: "w.bin is missing, truncated or changed",
    no_manifest: "net-1 has no manifest.json: incomplete",
    half_a_manifest: "manifest.json cannot be read",
    other_json: "manifest.json cannot be read",
    not_text: "manifest.json cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_mended_by_writing_anew(folder, damage):
    damage(folder)
    with pytest.raises(cache.CacheFault, match=DAMAGE[damage]):
        cache.read(folder, "v1")
    cache.write(folder, "v1", fill(b"new"))
    assert set(cache.read(folder, "v1")) == {"a"}
    assert names(folder) == {"a.onnx", "w.bin", cache.MANIFEST}  # nothing of the old one


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(cache.CacheFault, match="nowhere does not exist"):
        cache.read(tmp_path / "nowhere", "v1")


def test_another_version_is_not_used(folder):
    with pytest.raises(cache.CacheFault, match="was written by v1, this is v2"):
        cache.read(folder, "v2")


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(file):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(cache, "sha256_of", refuse)
    with pytest.raises(cache.CacheFault, match=r"cannot be read \(.*Permission denied"):
        cache.read(folder, "v1")


FAILURES = [OSError(errno.ENOSPC, "No space left on device"), EngineError("no such layer"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failed_write_leaves_the_old_one_and_nothing_else(folder, error):
    with pytest.raises(type(error)):
        cache.write(folder, "v2", broken(error))
    assert cache.read(folder, "v1")["a"].read_bytes() == b"first"
    assert names(folder.parent) == {"net-1"}


def test_a_folder_that_windows_refuses_to_make(folder, monkeypatch):
    refuse = Refusals()
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        patched.setattr(os, "mkdir", refuse)
        with pytest.raises(PermissionError):
            cache.write(folder, "v2", fill(b"new"))
    assert cache.read(folder, "v1")["a"].read_bytes() == b"first"


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space"):
        cache.write(tmp_path / "cache" / "net", "v1", broken(FAILURES[0]))
    assert names(tmp_path / "cache") == set()


def test_the_old_one_comes_back_where_the_new_one_cannot_take_its_place(folder, monkeypatch):
    (folder / "int8").mkdir()
    (folder / "int8" / "kept.xml").write_text("x")
    replace = os.replace

    def refuse_the_new(source, target):
        if str(source).endswith(".part"):
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(cache.os, "replace", refuse_the_new)
    with pytest.raises(PermissionError):
        cache.write(folder, "v2", fill(b"new"))
    assert cache.read(folder, "v1")["a"].read_bytes() == b"first"
    assert (folder / "int8" / "kept.xml").read_text() == "x"
    assert names(folder.parent) == {"net-1"}


def test_folders_inside_are_taken_over(folder):
    cache.write(folder / "int8", "int8 v1", fill(b"small"))
    cache.write(folder, "v2", fill(b"new"))
    assert cache.read(folder, "v2")["a"].read_bytes() == b"new"
    assert cache.read(folder / "int8", "int8 v1")["a"].read_bytes() == b"small"
    assert names(folder.parent) == {"net-1"}


def test_a_file_in_the_place_of_the_folder_gives_way(tmp_path):
    (tmp_path / "net").write_text("what is this")
    cache.write(tmp_path / "net", "v1", fill(b"x"))
    assert set(cache.read(tmp_path / "net", "v1")) == {"a"}
    assert names(tmp_path) == {"net"}


def test_another_process_was_quicker(tmp_path):
    """It puts the same in place just before this one would."""
    folder = tmp_path / "net"

    def slow(part):
        fill(b"mine")(part)
        cache.write(folder, "v1", fill(b"theirs"))

    cache.write(folder, "v1", slow)
    assert set(cache.read(folder, "v1")) == {"a"}
    assert names(tmp_path) == {"net"}


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(folder):
    for name, age_s in (("net-1.old1.part", 2 * 86400), ("net-1.x.old", 2 * 86400), ("net-1.now.part", 60)):
        (folder.parent / name).mkdir()
        (folder.parent / name / "half.onnx").write_text("half")
        os.utime(folder.parent / name, (time.time() - age_s,) * 2)
    (folder.parent / "net-12.other.part").mkdir()
    os.utime(folder.parent / "net-12.other.part", (0, 0))
    cache.write(folder, "v1", fill(b"x"))
    assert names(folder.parent) == {"net-1", "net-1.now.part", "net-12.other.part"}


def test_what_is_in_an_older_format_is_removed(tmp_path):
    ours, lower = "export 10", "export 9"
    hexes = iter(f"{number:016x}" for number in range(100))

    def make(stem, version, weights="net.h5"):
        path = tmp_path / f"{stem}-{next(hexes)}"
        cache.write(path, version, fill(b"x"), {"weights": weights})
        return path

    new = make("net", ours)
    dead = [make("net", lower), make("net", "export 1")]
    cache.write(dead[1] / "int8", "int8 1", fill(b"x"))
    kept = [
        new,
        make("net", ours),  # other settings, or what the file held before
        make("net", "export 11"),
        make("net", "int8 9"),
        make("net", "export nine"),
        make("net", lower, "net.keras"),
        make("net2", lower, "net2.h5"),
        make("my-net", lower, "my-net.h5"),
        make("net-0123456789abcdef", lower, "net-0123456789abcdef.h5"),
        make("net", lower).rename(tmp_path / "net-by-hand"),
    ]
    busy, damaged, foreign = make("net", lower), make("net", lower), make("net", lower)
    (busy / "int8.abc.part").mkdir()
    (damaged / cache.MANIFEST).write_text("{")
    (foreign / cache.MANIFEST).write_text("[1]")
    (tmp_path / "net-00000000000000ff").write_text("a file")
    assert cache.remove_outdated(new, ours) == dead
    assert names(tmp_path) == {path.name for path in (*kept, busy, damaged, foreign)} | {"net-00000000000000ff"}
    assert cache.remove_outdated(new, ours) == []


WRITER = """
import sys
from pathlib import Path
from mrcnn.engines import cache
def fill(part):
    for name in "abc":
        (part / (name + ".onnx")).write_bytes(sys.argv[2].encode() * 300_000)
for _ in range(15):
    cache.write(Path(sys.argv[1]), "v1", fill)
"""


def test_two_processes_that_write_the_same_folder(tmp_path):
    folder = tmp_path / "cache" / "net"
    command = [sys.executable, "-W", "error", "-c", WRITER, str(folder)]
    both = [subprocess.Popen([*command, letter], cwd=ROOT, stderr=subprocess.PIPE, text=True) for letter in "xy"]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    files = cache.read(folder, "v1")
    assert len({path.read_bytes() for path in files.values()}) == 1  # all of one process
    assert names(folder.parent) == {"net"}


class Small(Config):
    NAME, NUM_CLASSES, GPU_COUNT, IMAGES_PER_GPU = "small", 3, 1, 1


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "weights" / "net.h5"
    path.parent.mkdir()
    path.write_bytes(b"some weights")
    return path


def test_fingerprint_follows_content_and_settings(weights):
    first = cache.fingerprint(weights, Small())
    assert len(first) == 16
    assert cache.fingerprint(weights, Small()) == first
    weights.write_bytes(b"same weights")  # of the same size
    os.utime(weights, ns=(1, 1))
    assert cache.fingerprint(weights, Small()) != first
    other = Small()
    other.MEAN_PIXEL = np.array([1.0, 2.0, 3.0])
    assert cache.fingerprint(weights, other) != cache.fingerprint(weights, Small())
    same = Small()
    same.DETECTION_MIN_CONFIDENCE = 0.123  # read at each call, in no graph
    assert cache.fingerprint(weights, same) == cache.fingerprint(weights, Small())


def test_fingerprint_follows_the_conversion_of_other_layouts(weights, monkeypatch):
    ours, theirs = weights, weights.with_suffix(".pth")
    theirs.write_bytes(b"PK\x03\x04, tensors")
    before = [cache.fingerprint(path, Small()) for path in (ours, theirs)]
    monkeypatch.setattr(cache, "CONVERSION_FORMAT", cache.CONVERSION_FORMAT + 1)
    now = [cache.fingerprint(path, Small()) for path in (ours, theirs)]
    assert (now[0] == before[0], now[1] == before[1]) == (True, False)


def test_a_backbone_of_the_users_own_cannot_be_told_apart(weights):
    config = type("Own", (Small,), {"BACKBONE": staticmethod(lambda image: [])})()
    with pytest.raises(EngineError, match="register it in BACKBONES"):
        cache.fingerprint(weights, config)


def test_folder_is_beside_the_weights(weights):
    name = f"net-{cache.fingerprint(weights, Small())}"
    assert cache.cache_folder(weights, Small()) == weights.parent / "cache" / name


def test_folder_is_the_users_where_the_weights_may_not_be_written_beside(weights, tmp_path, monkeypatch):
    name = f"net-{cache.fingerprint(weights, Small())}"
    monkeypatch.setattr("os.access", lambda path, mode: path != weights.parent)
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "mine")
    assert cache.cache_folder(weights, Small()) == tmp_path / "mine" / "engines" / name
    (weights.parent / "cache" / name).mkdir(parents=True)  # delivered with the weights: read, not written
    assert cache.cache_folder(weights, Small()) == weights.parent / "cache" / name


def test_folder_is_the_users_where_windows_refuses_to_write_beside_the_weights(weights, tmp_path, monkeypatch):
    """There, os.access does not look at what a user may do in a folder."""
    (tmp_path / "mine").mkdir()
    real = os.mkdir

    def mkdir(path, *more):
        if str(path).startswith(str(weights.parent)):
            raise PermissionError(errno.EACCES, "Access is denied", str(path))
        real(path, *more)

    name = f"net-{cache.fingerprint(weights, Small())}"
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "mine")
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        patched.setattr(os, "mkdir", mkdir)
        found = cache.cache_folder(weights, Small())
    assert found == tmp_path / "mine" / "engines" / name
    assert names(tmp_path / "mine") == set()


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_nothing_is_written_among_installed_packages(weights, tmp_path, monkeypatch, packages):
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "mine")
    installed = tmp_path / packages / "data" / "net.h5"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(weights.read_bytes())
    assert cache.cache_folder(installed, Small()).parent == tmp_path / "mine" / "engines"


def test_folder_is_temporary_where_nothing_may_be_written(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "mine")
    folder = cache.cache_folder(weights, Small())
    assert folder == cache.cache_folder(weights, Small())
    assert folder.parent.is_dir()
    with pytest.raises(EngineError, match=r"^cannot write to .*cache or .*mine.engines, .* select them with --weigh"):
        cache.check_persistent(folder, weights)
    cache.check_persistent(weights.parent / "cache" / folder.name, weights)


def test_manifest_is_plain_json(folder):
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    assert set(manifest) == {"version", "files", "notes"}
    assert set(manifest["files"]) == {"a.onnx", "b.onnx", "w.bin"}
