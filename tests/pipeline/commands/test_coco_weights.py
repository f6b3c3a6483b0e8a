"""The download as a user sees it: what is said before, meanwhile and afterwards."""

import contextlib
import io
import logging
import shutil
from collections import namedtuple

import pytest

from mrcnn.weights import download
from mrcnn.weights.download import DownloadSettings
from pipeline.commands.coco_weights import download_coco_weights
from pipeline.errors import InputError, RunError
from tests.coco_server import NAME, FakeServer, weights_bytes

GOOD = weights_bytes()


@pytest.fixture
def server():
    with contextlib.closing(FakeServer(GOOD)) as fake:
        yield fake


@pytest.fixture
def fetch(server, tmp_path):
    """Downloads into tmp_path/weights; `fetch.pauses` are the pauses it made, `fetch.text` what it showed."""

    def run(**changes):
        settings = {"url": server.url, "size": len(GOOD), "timeout_s": 10.0, "sleep": run.pauses.append} | changes
        return download_coco_weights(run.folder, DownloadSettings(**settings), run.text)

    run.pauses, run.text, run.folder = [], io.StringIO(), tmp_path / "weights"
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_download_makes_the_folder_and_leaves_nothing_else(fetch):
    path = fetch()
    assert path == fetch.folder / NAME
    assert path.read_bytes() == GOOD
    assert names(fetch.folder) == [NAME]
    lines = fetch.text.getvalue().splitlines()
    assert lines[0].startswith(f"{NAME}: 0 %")
    assert lines[-1].startswith(f"{NAME}: 100 %")


def test_on_a_terminal_there_is_a_bar(fetch, terminal):
    fetch.text = terminal
    fetch()
    assert "━" in fetch.text.getvalue()
    assert f"{len(GOOD) / 1000:.1f}/" in fetch.text.getvalue()


def test_a_valid_file_is_left_alone(fetch, server, caplog):
    path = fetch()
    before = path.stat().st_mtime_ns
    with caplog.at_level(logging.INFO, "pipeline.commands.coco_weights"):
        assert fetch() == path
    assert path.stat().st_mtime_ns == before
    assert len(server.requests) == 1
    assert "already there" in caplog.text


def test_a_damaged_file_in_place_is_kept_under_another_name_and_fetched_again(fetch, caplog):
    fetch.folder.mkdir()
    (fetch.folder / NAME).write_bytes(GOOD[:-3])
    assert fetch().read_bytes() == GOOD
    assert f"expected {len(GOOD):,} bytes, it has {len(GOOD) - 3:,}" in caplog.text
    kept = fetch.folder / NAME.replace(".h5", "-2.h5")
    assert kept.read_bytes() == GOOD[:-3]
    assert f"kept as {kept}" in caplog.text


def test_a_file_in_the_place_of_the_folder(fetch):
    fetch.folder.write_text("not a folder")
    with pytest.raises(InputError, match="choose another with --dir"):
        fetch()


def test_too_little_room_is_said_beforehand(fetch, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    with pytest.raises(InputError, match="has 10 bytes free"):
        fetch()
    assert server.requests == []
    assert names(fetch.folder) == []


def test_a_folder_without_room_keeps_the_part_that_is_there(fetch, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, len(GOOD) - 78))
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD[:77])
    with pytest.raises(InputError, match=f"need {len(GOOD) - 77:,} more"):
        fetch()
    assert names(fetch.folder) == [f"{NAME}.part"]


def test_a_cut_line_is_told_and_a_later_call_goes_on(fetch, server):
    server.cuts = [2000, 0]
    kept = f"2,000 of {len(GOOD):,} bytes are kept"
    with pytest.raises(RunError, match=rf"cannot download {server.url}: .*{kept}.* save it as {fetch.folder}"):
        fetch(attempts=2)
    assert "retrying in 1 s\n" in fetch.text.getvalue()
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=2000-", "bytes=2000-"]


def test_a_disk_that_fills_up_meanwhile_is_not_tried_again(fetch, monkeypatch):
    def full(path, part, settings, progress):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_fetch_once", full)
    with pytest.raises(RunError, match=rf"cannot write .*{NAME}.part: No space left on device"):
        fetch()
    assert fetch.pauses == []
    assert names(fetch.folder) == []
