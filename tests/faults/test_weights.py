"""Downloads, conversions and calibrations of weights, each of whose system calls fails once."""

from __future__ import annotations

import contextlib
import io
import shutil

import numpy as np
import pytest

from mrcnn.engines.calibration import WEIGHTS, Calibration, Change, read_calibration, write_calibration
from mrcnn.weights.checkpoint import WeightsError, read_checkpoint
from mrcnn.weights.converted import as_hdf5
from mrcnn.weights.download import DownloadSettings
from pipeline.commands.weights import get_weights
from tests.faults.file_system import enumerate_faults
from tests.faults.outcomes import one_line
from tests.mrcnn.weights.checkpoints import FILES
from tests.weights_server import GOOD, FakeServer, published, published_v1

SETTINGS = DownloadSettings(timeout_s=10.0, attempts=2, sleep=lambda seconds: None)
KEPT = b"somebody's own file"


@pytest.fixture
def server():
    with contextlib.closing(FakeServer(GOOD)) as fake:
        yield fake


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("foreign", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_download(tmp_path, server, monkeypatch, foreign):
    """Into a folder with another file of the same name, which is kept."""
    model, server.data = published_v1(server.url) if foreign else (published(GOOD, server.url), GOOD)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(folder):
        target = folder / model.local_name
        target.write_bytes(KEPT)

        def run():
            get_weights(model, folder, SETTINGS, io.StringIO())

        def check(error):
            problems = one_line(error)
            if not any(path.read_bytes() == KEPT for path in folder.iterdir()):
                problems.append(f"somebody's file is gone: {names_in(folder)}")
            if target.exists() and target.read_bytes() != KEPT:
                try:
                    read_checkpoint(target)
                except WeightsError as damage:
                    problems.append(f"half a file: {damage}")
            elif error is None:
                problems.append("nothing was downloaded, without an error")
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{target.stem}-2{target.suffix}").rename(folder / "kept")
            run()  # resumes what was kept
            left = set(names_in(folder)) - {"kept", target.name, f"{target.stem}-2{target.suffix}"}
            return problems + [f"{name} is left" for name in left]

        return run, check

    runs, problems = enumerate_faults(tmp_path, make, errors=None)
    assert problems == []
    assert runs > 30


@pytest.mark.slow
def test_conversion(tmp_path, monkeypatch):
    """Into the user's cache; where that fails, into a temporary folder."""
    monkeypatch.setattr("mrcnn.weights.converted.temporary_cache", lambda prefix: tmp_path)

    def make(folder):
        source = shutil.copy(FILES["torchvision_v1"], folder / "a.pth")
        found = []

        def run():
            monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            found.append(as_hdf5(source))

        def check(error):
            problems = [] if error is None or isinstance(error, WeightsError) else [f"{error!r}"]
            problems += [] if error is not None or read_checkpoint(found[0]).num_classes == 91 else ["half a file"]
            run()
            cached = folder / "cache/stream_segment/converted"
            problems += [] if found[-1].parent == cached else [f"the next conversion is {found[-1]}"]
            return problems + [f"{path.name} is left" for path in cached.iterdir() if path != found[-1]]

        return run, check

    runs, problems = enumerate_faults(tmp_path, make, errors=None)
    assert problems == []
    assert runs > 10


def test_calibration(tmp_path, monkeypatch):
    """It is kept beside the weights, or in the user's cache; an older one stays until it is complete."""
    scale = np.array([0.01, 0.02], np.float32).reshape(2, 1, 1, 1)
    old, new = (Calibration({"masks_head": [Change(WEIGHTS, [("conv", 1)], [scale * factor])]}) for factor in (1, 2))

    def make(folder):
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        weights = folder / "a.h5"
        weights.write_bytes(GOOD)
        write_calibration(weights, old)

        def run():
            monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            write_calibration(weights, new)

        def check(error):
            problems = [] if error is None or isinstance(error, OSError) else [f"{error!r}"]
            (change,) = read_calibration(weights).parts["masks_head"]
            if not any(np.array_equal(change.arrays[0], scale * factor) for factor in (1, 2)):
                problems.append("neither the old nor the new one is read")
            return problems + [f"{name} is left" for name in names_in(folder) if name.endswith(".part")]

        return run, check

    runs, problems = enumerate_faults(tmp_path, make, errors=None)
    assert problems == []
    assert runs > 5
