"""Requests over real sockets for files that stand for a run's recordings."""

import contextlib
import http.client
import json
import logging
import os
import time
from urllib.parse import quote

import pytest

from pipeline.controls import Controls
from pipeline.ledger import RunLedger
from pipeline.settings.output_settings import OverlaySettings, ServeSettings
from pipeline.sinks.switched_recorder import Recording
from pipeline.web.sink import WebSink
from pipeline.web.view import RunView
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.sinks.presentations import context
from tests.pipeline.web.served import CONTROL, request

DATA = bytes(range(256)) * 1000
NAME = "Straße 街角 \N{VIDEO CAMERA} #1 50%?&.mp4"


class Page:
    """A page of a run whose recordings are the files of a folder, in the order of their making."""

    def __init__(self, folder):
        self.folder = folder
        self.recordings = []
        self.controls = Controls(OverlaySettings())
        view = RunView(RunLedger(), self.controls, time.monotonic, recordings=lambda: self.recordings)
        self.sink = WebSink(ServeSettings(address="0"), view)
        self.sink.open(context())
        self.url = self.sink.page.url
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def make(self, name, data=DATA, writing=False):
        path = self.folder / name
        path.write_bytes(data)
        self.recordings.append(Recording(path, writing))
        return path

    def get(self, path, **headers):
        return request(self.url + path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def download(self, name, **headers):
        return self.get(f"recordings/{quote(name, safe='')}", **headers)

    def delete(self, name, headers=CONTROL):
        status, _, body = request(self.url + "api/recordings/delete", json.dumps({"name": name}).encode(), headers)
        return status, json.loads(body)


@pytest.fixture
def page(tmp_path):
    one = Page(tmp_path)
    with contextlib.closing(one.sink):
        yield one


def test_the_list_has_the_newest_first_and_says_what_is_being_written(page):
    page.make("a.mp4", b"12345")
    page.make(NAME, b"")
    page.make("b.mkv", b"1", writing=True)
    status, _, body = page.get("api/recordings")
    assert status == 200
    assert json.loads(body) == {
        "recordings": [
            {"name": "b.mkv", "bytes": 1, "writing": True},
            {"name": NAME, "bytes": 0, "writing": False},
            {"name": "a.mp4", "bytes": 5, "writing": False},
        ]
    }


def test_a_download_whole(page):
    page.make(NAME)
    status, headers, body = page.download(NAME)
    assert (status, body) == (200, DATA)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Length"] == "256000"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Disposition"] == f"inline; filename*=UTF-8''{quote(NAME, safe='')}"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Range" not in headers


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, 255_999),
        ("bytes=0-0", 0, 0),
        ("bytes=100000-200000", 100_000, 200_000),
        ("bytes=255999-", 255_999, 255_999),
        ("bytes=-1000", 255_000, 255_999),
        ("bytes=-999999", 0, 255_999),
        ("bytes=200000-999999", 200_000, 255_999),
    ],
)
def test_a_range(page, asked, first, last):
    page.make("a.mp4")
    status, headers, body = page.download("a.mp4", Range=asked)
    assert (status, body) == (206, DATA[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/256000"
    assert headers["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=9-1", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-"])
def test_a_range_that_makes_no_sense_is_ignored(page, asked):
    page.make("a.mp4")
    assert page.download("a.mp4", Range=asked)[::2] == (200, DATA)


def test_the_last_0_bytes_are_none(page):
    page.make("a.mp4")
    status, headers, body = page.download("a.mp4", Range="bytes=-0")
    assert (status, headers["Content-Range"], body) == (416, "bytes */256000", b"")


def test_a_range_behind_the_end(page):
    page.make("a.mp4")
    status, headers, body = page.download("a.mp4", Range="bytes=256000-")
    assert (status, headers["Content-Range"], body) == (416, "bytes */256000", b"")


def test_a_download_resumes_only_in_the_same_file(page):
    path = page.make("a.mp4")
    tag = page.download("a.mp4", Range="bytes=0-9")[1]["ETag"]
    assert page.download("a.mp4", Range="bytes=10-19", If_Range=tag)[::2] == (206, DATA[10:20])
    path.write_bytes(b"another take")
    assert page.download("a.mp4", Range="bytes=10-11", If_Range=tag)[::2] == (200, b"another take")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.MP4", "video/mp4"), ("a.mkv", "video/x-matroska"), ("a.webm", "video/webm"), ("a.gif", "image/gif")],
)
def test_types(page, name, kind):
    page.make(name)
    assert page.download(name)[1]["Content-Type"] == kind


def test_what_is_being_written_is_neither_sent_nor_deleted(page):
    path = page.make("a.mp4", writing=True)
    assert page.download("a.mp4")[0] == 409
    status, answer = page.delete("a.mp4")
    assert (status, answer) == (409, {"error": "it is being written: stop the recording first"})
    assert path.exists()


def test_nothing_but_recordings_of_this_run_is_sent_or_deleted(page):
    page.make("a.mp4")
    other = page.folder / "other.mp4"
    other.write_bytes(b"somebody's")
    beside = page.folder.parent / f"{page.folder.name}.mp4"
    beside.write_bytes(b"somebody's")
    gone = page.make("gone.mp4")
    gone.unlink()
    replaced = page.make("replaced.mp4")
    replaced.unlink()
    replaced.symlink_to(other)
    (page.folder / "a.mp4.gz").write_bytes(b"somebody's")
    names = [other.name, str(other), "", ".", "..", f"../{beside.name}", f"{page.folder.name}/a.mp4", "gone.mp4"]
    for name in [*names, "replaced.mp4", "a.mp4.gz", "a.mp4\0", "A.mp4"]:
        assert page.download(name)[0] == 404, name
        assert page.delete(name)[0] == 404, name
    for path in ("recordings/../a.mp4", "recordings/a.mp4/", "recordings/./a.mp4/../../x"):
        assert page.get(path)[0] == 404
    assert other.exists()
    assert beside.exists()
    assert replaced.is_symlink()
    assert page.download("a.mp4", Accept_Encoding="gzip, br")[2] == DATA


def test_deleting(page, caplog):
    caplog.set_level(logging.INFO)
    kept, path = page.make("a.mp4", b"123"), page.make(NAME)
    page.controls.recording_to(str(path))
    page.controls.recording_to(None)
    assert page.delete(NAME) == (200, {"recordings": [{"name": "a.mp4", "bytes": 3, "writing": False}]})
    assert (path.exists(), kept.exists()) == (False, True)
    assert page.controls.state.saved is None
    assert caplog.messages[-1] == f"deleted the recording {path}, as a viewer of the page asked"
    assert page.delete(NAME)[0] == 404


def test_deleting_needs_the_header_of_the_page(page):
    path = page.make("a.mp4")
    assert page.delete("a.mp4", {"Content-Type": "application/json"})[0] == 403
    assert page.delete("a.mp4", CONTROL | {"Origin": "http://evil.example"})[0] == 403
    assert path.exists()


@pytest.mark.parametrize("body", [b"{}", b'{"name": 1}', b'{"name": "a.mp4", "path": "/etc"}', b'["a.mp4"]'])
def test_a_malformed_deletion(page, body):
    page.make("a.mp4")
    assert request(page.url + "api/recordings/delete", body, CONTROL)[0] == 400


def test_what_the_system_refuses_is_said(page, monkeypatch):
    path = page.make("a.mp4")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "unlink", refuse)
    monkeypatch.setattr(os, "open", refuse)
    assert page.delete("a.mp4") == (500, {"error": "it cannot be deleted: Permission denied"})
    assert json.loads(page.download("a.mp4")[2]) == {"error": "it cannot be read: Permission denied"}


def test_a_file_that_shrinks_is_not_passed_off_as_whole(page):
    path = page.make("a.mp4", bytes(10_000_000))
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=DEADLINE_S)
    connection.request("GET", "/recordings/a.mp4")
    answer = connection.getresponse()
    path.write_bytes(b"")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
