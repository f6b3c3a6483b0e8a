"""The download against a local server that resumes, refuses to, cuts the line, and serves the wrong thing."""

import http.server
import io
import logging
import re
import shutil
import threading
from collections import namedtuple

import h5py
import numpy as np
import pytest

from pipeline import download
from pipeline.download import DownloadSettings, download_coco_weights
from pipeline.errors import InputError, RunError

NAME = "mask_rcnn_coco.h5"


class FakeServer:
    """Serves `data` over HTTP; what it does wrong is set by its attributes.

    Attributes:
        data: the file.
        etag: its ETag, or None.
        ranges: whether Range is understood.
        cuts: for each request in turn, after how many bytes the line is cut (None: not at all); then never.
        statuses: for each request in turn, an error status to answer with (None: none); then none.
        sends_length: whether Content-Length is sent.
        requests: the Range header of each request, None where it had none.
    """

    def __init__(self, data):
        self.data, self.etag, self.ranges, self.sends_length = data, '"one"', True, True
        self.cuts, self.statuses, self.requests = [], [], []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{NAME}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def _handler(fake):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                fake.requests.append(asked)
                status = fake.statuses.pop(0) if fake.statuses else None
                if status:
                    self.send_error(status)
                    return
                begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and fake.ranges else 0
                self.send_response(206 if asked and fake.ranges else 200)
                if asked and fake.ranges:
                    self.send_header("Content-Range", f"bytes {begin}-{len(fake.data) - 1}/{len(fake.data)}")
                if fake.sends_length:
                    self.send_header("Content-Length", str(len(fake.data) - begin))
                if fake.etag:
                    self.send_header("ETag", fake.etag)
                self.end_headers()
                cut = fake.cuts.pop(0) if fake.cuts else None
                self.wfile.write(fake.data[begin : None if cut is None else begin + cut])

            def log_message(self, *arguments):
                pass

        return Handler


def weights_bytes(classes=81, leave_out=None):
    """A small file with the layer names of Matterport's."""
    layers = [
        name
        for name in ("conv1", "fpn_p5", "rpn_model", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
        if name != leave_out
    ]
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name in layers:
            width = classes if name == "mrcnn_class_logits" else 7
            file[f"{name}/{name}/bias:0"] = np.arange(width, dtype=np.float32)
            file[f"{name}/{name}/kernel:0"] = np.ones((30, width), np.float32)
            file[name].attrs["weight_names"] = [f"{name}/bias:0", f"{name}/kernel:0"]
    return memory.getvalue()


GOOD = weights_bytes()


@pytest.fixture
def server():
    fake = FakeServer(GOOD)
    yield fake
    fake.close()


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
    with caplog.at_level(logging.INFO, "pipeline.download"):
        assert fetch() == path
    assert path.stat().st_mtime_ns == before
    assert len(server.requests) == 1
    assert "already there" in caplog.text


def test_a_damaged_file_in_place_is_fetched_again(fetch, caplog):
    fetch.folder.mkdir()
    (fetch.folder / NAME).write_bytes(GOOD[:-3])
    assert fetch().read_bytes() == GOOD
    assert f"expected {len(GOOD):,} bytes, it has {len(GOOD) - 3:,}" in caplog.text


def test_a_cut_line_is_resumed_where_it_broke(fetch, server):
    server.cuts = [1000, 501]
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=1000-", "bytes=1501-"]
    assert fetch.pauses == [1.0, 1.0]  # each try brought something, so that the pause does not grow


def test_a_later_call_goes_on_from_the_part(fetch, server):
    server.cuts = [2000, 0]
    with pytest.raises(RunError, match=r"2,000 of .* bytes are kept"):
        fetch(attempts=1)
    assert names(fetch.folder) == [f"{NAME}.part", f"{NAME}.part.etag"]
    server.cuts = []
    assert fetch().read_bytes() == GOOD
    assert server.requests[-1] == "bytes=2000-"
    assert names(fetch.folder) == [NAME]


def test_a_server_without_ranges_starts_anew(fetch, server):
    server.cuts, server.ranges = [1000], False
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=1000-"]


def test_a_file_that_changed_meanwhile_starts_anew(fetch, server):
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(b"x" * 1000)
    (fetch.folder / f"{NAME}.part.etag").write_text('"another"')
    assert fetch().read_bytes() == GOOD
    assert server.requests == ["bytes=1000-", None]


def test_a_range_that_is_refused_starts_anew(fetch, server):
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD[:77])
    server.statuses = [416]
    assert fetch().read_bytes() == GOOD
    assert server.requests == ["bytes=77-", None]


def test_a_part_that_is_too_long_starts_anew(fetch, server):
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD + b"x")
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None]


def test_a_whole_part_needs_no_network(fetch, server):
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD)
    assert fetch().read_bytes() == GOOD
    assert server.requests == []


def test_busy_servers_are_tried_again_with_growing_pauses(fetch, server):
    server.statuses = [503, 500, 429]
    assert fetch().read_bytes() == GOOD
    assert fetch.pauses == [1.0, 2.0, 4.0]


def test_without_the_file_on_the_server_there_is_one_line_and_nothing_left(fetch, server):
    server.statuses = [404]
    with pytest.raises(RunError) as caught:
        fetch()
    text = str(caught.value)
    assert "404" in text
    assert server.url in text
    assert str(fetch.folder / NAME) in text
    assert "\n" not in text
    assert fetch.pauses == []
    assert names(fetch.folder) == []


def test_without_a_network_it_gives_up_soon(fetch, server):
    server.close()
    with pytest.raises(RunError, match=r"no connection .*By hand: download it in a browser and put it at"):
        fetch()
    assert fetch.pauses == [1.0, 2.0, 4.0]
    assert names(fetch.folder) == []


def test_a_page_of_another_length_is_refused_before_it_is_fetched(fetch, server):
    server.data = b"<html>please log in</html>"
    with pytest.raises(RunError, match=rf"expected {len(GOOD):,} bytes, the server offers 26"):
        fetch()
    assert names(fetch.folder) == []


@pytest.mark.parametrize(("data", "reason"), [(GOOD + b"x", "sends more than"), (GOOD[:-1], "connection ended after")])
def test_lengths_that_the_server_does_not_tell_are_counted(fetch, server, data, reason):
    server.data, server.sends_length = data, False
    with pytest.raises(RunError, match=reason):
        fetch(attempts=1)
    assert NAME not in names(fetch.folder)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(len(GOOD)), "not an HDF5 file"),
        (weights_bytes(leave_out="rpn_model"), "no layer 'rpn_model'"),
        (weights_bytes(classes=5), "expected 81 classes in mrcnn_class_logits, it has 5"),
    ],
)
def test_a_file_that_is_not_coco_weights_never_gets_the_name(fetch, server, data, reason):
    server.data = data
    with pytest.raises(RunError, match=reason):
        fetch(size=len(data))
    assert names(fetch.folder) == []


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


def test_a_disk_that_fills_up_meanwhile_is_not_tried_again(fetch, monkeypatch):
    def full(path, part, settings, progress):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_fetch_once", full)
    with pytest.raises(RunError, match="No space left on device"):
        fetch()
    assert fetch.pauses == []
    assert names(fetch.folder) == []


def test_the_real_address_and_length():
    settings = DownloadSettings()
    assert settings.url == "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
    assert settings.size == 257_557_808
