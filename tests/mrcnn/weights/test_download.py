"""The download against a local server that resumes, refuses to, cuts the line, and serves the wrong thing."""

import contextlib
import hashlib
import json

import numpy as np
import pytest

from mrcnn.weights import download
from mrcnn.weights.checkpoint import read_checkpoint
from mrcnn.weights.download import (
    COCO,
    DownloadError,
    DownloadSettings,
    WrongFileError,
    check_file,
    download_trained_weights,
    fetch_weights,
)
from tests.mrcnn.weights.checkpoints import FILES, read_all
from tests.weights_server import NAME, FakeServer, published, published_v1, weights_bytes

GOOD = weights_bytes()


@pytest.fixture
def server():
    with contextlib.closing(FakeServer(GOOD)) as fake:
        yield fake


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.received, self.notes = [], []

    def set(self, received):
        self.received.append(received)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def fetch(server, tmp_path):
    """Downloads into `fetch.folder`; `fetch.pauses` are the pauses it made, `fetch.listener` was told the rest."""

    def run(model=None, **changes):
        model = published(GOOD, server.url) if model is None else model
        settings = {"timeout_s": 10.0, "sleep": run.pauses.append} | changes
        fetch_weights(model, run.folder / model.local_name, run.listener, DownloadSettings(**settings))
        return run.folder / model.local_name

    run.pauses, run.listener, run.folder = [], Listener(), tmp_path / "weights"
    run.folder.mkdir()
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_complete(fetch, server):
    path = fetch.folder / NAME
    path.write_bytes(b"an old one")
    assert fetch().read_bytes() == GOOD
    assert names(fetch.folder) == [NAME]
    assert fetch.listener.received[0] == 0
    assert fetch.listener.received[-1] == len(GOOD)
    assert fetch.listener.notes == []


def test_a_cut_line_is_resumed_where_it_broke(fetch, server):
    server.cuts = [1000, 501]
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=1000-", "bytes=1501-"]
    assert fetch.pauses == [1.0, 1.0]  # each try brought something, so that the pause does not grow


def test_a_later_call_goes_on_from_the_part(fetch, server):
    server.cuts = [2000, 0]
    with pytest.raises(DownloadError, match=r"2,000 of .* bytes are kept"):
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
    (fetch.folder / f"{NAME}.part").write_bytes(b"x" * 1000)
    (fetch.folder / f"{NAME}.part.etag").write_text('"another"')
    assert fetch().read_bytes() == GOOD
    assert server.requests == ["bytes=1000-", None]


def test_a_range_that_is_refused_starts_anew(fetch, server):
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD[:77])
    server.statuses = [416]
    assert fetch().read_bytes() == GOOD
    assert server.requests == ["bytes=77-", None]


def test_a_part_that_is_too_long_starts_anew(fetch, server):
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD + b"x")
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None]


def test_a_whole_part_needs_no_network(fetch, server):
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD)
    assert fetch().read_bytes() == GOOD
    assert server.requests == []


def test_busy_servers_are_tried_again_with_growing_pauses(fetch, server):
    server.statuses = [503, 500, 429]
    assert fetch().read_bytes() == GOOD
    assert fetch.pauses == [1.0, 2.0, 4.0]


def test_without_the_file_on_the_server_there_is_one_line_and_nothing_left(fetch, server):
    server.statuses = [404]
    with pytest.raises(DownloadError) as caught:
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
    with pytest.raises(DownloadError, match=r"no connection .*Or download it in a browser and save it as"):
        fetch()
    assert fetch.pauses == [1.0, 2.0, 4.0]
    assert names(fetch.folder) == []


def test_a_page_of_another_length_is_refused_before_it_is_fetched(fetch, server):
    server.data = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match=rf"expected {len(GOOD):,} bytes, the server offers 26 bytes"):
        fetch()
    assert names(fetch.folder) == []


@pytest.mark.parametrize("status", [403, None], ids=["refused", "a login page"])
def test_what_the_server_does_not_offer_any_more_leaves_the_part(fetch, server, status):
    server.cuts, server.statuses = [2000], [None, status]
    fetch.listener.note = lambda _: setattr(server, "ranges", False) or setattr(server, "data", b"<html>log in</html>")
    with pytest.raises(DownloadError, match=r"the server (answers 403|offers 19 bytes) .*; 2,000 of .* bytes are kept"):
        fetch()
    assert (fetch.folder / f"{NAME}.part").read_bytes() == GOOD[:2000]
    server.data, server.ranges = GOOD, True
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=2000-", "bytes=2000-"]


@pytest.mark.parametrize(("data", "reason"), [(GOOD + b"x", "sends more than"), (GOOD[:-1], "connection ended after")])
def test_lengths_that_the_server_does_not_tell_are_counted(fetch, server, data, reason):
    server.data, server.sends_length = data, False
    with pytest.raises(DownloadError, match=reason):
        fetch(attempts=1)
    assert NAME not in names(fetch.folder)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(len(GOOD)), "not an HDF5 file"),
        (weights_bytes(leave_out="rpn_model"), "no layer 'rpn_model'"),
        (weights_bytes(classes=5), "resnet101 and 5 classes; expected .* resnet101 and 81"),
    ],
)
def test_a_file_that_is_not_coco_weights_never_gets_the_name(fetch, server, data, reason):
    server.data = data
    with pytest.raises(DownloadError, match=reason):
        fetch(published(data, server.url))
    assert names(fetch.folder) == []


@pytest.mark.parametrize(("algorithm", "shown"), [("sha256", "SHA-256"), ("md5", "MD5")])
def test_a_file_of_the_right_size_and_layout_with_other_bytes_never_gets_the_name(fetch, server, algorithm, shown):
    position = GOOD.index(np.ones(30, np.float32).tobytes())
    server.data = GOOD[:position] + np.zeros(30, np.float32).tobytes() + GOOD[position + 120 :]
    whole = hashlib.new(algorithm, GOOD).hexdigest()
    with pytest.raises(DownloadError, match=rf"expected the {shown} {whole}, it has"):
        fetch(published(GOOD, server.url, digest=f"{algorithm}:{whole}"))
    assert names(fetch.folder) == []
    assert fetch(published(GOOD, server.url, digest="")).read_bytes() == server.data, "nothing else is wrong with it"


def test_the_first_digits_of_a_checksum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")  # SHA-256 ba7816bf 8f01cfea …, MD5 90015098 3cd24fb0 …
    for digest in ("sha256:ba7816bf", "md5:900150983cd24fb0"):
        check_file(published(b"abc", "", digest=digest), path)
    with pytest.raises(WrongFileError, match=r"the SHA-256 that begins with ba7816be, it has ba7816bf8f01cfea"):
        check_file(published(b"abc", "", digest="sha256:ba7816be"), path)
    with pytest.raises(WrongFileError, match="expected 4 bytes, it has 3"):
        check_file(published(b"abcd", ""), path)


def test_another_programs_file_is_converted(fetch, server):
    model, server.data = published_v1(server.url)
    server.cuts = [3000, 0]
    with pytest.raises(DownloadError, match="3,000 of"):
        fetch(model, attempts=2)
    assert names(fetch.folder) == ["v1.pth.part", "v1.pth.part.etag"]
    server.cuts = []
    path = fetch(model)
    assert names(fetch.folder) == ["coco-r50.h5"]
    assert read_checkpoint(path).config().ARCHITECTURE == "torchvision"
    assert fetch.listener.received[-1] == len(server.data)


def test_a_network_that_is_not_the_models_never_gets_the_name(fetch, server):
    model, server.data = published_v1(server.url, architecture="torchvision_v2", digest="")
    (fetch.folder / "coco-r50.h5").write_bytes(b"an old one")
    with pytest.raises(
        DownloadError, match=r"a torchvision network .* and 91 classes; expected a torchvision_v2 network"
    ):
        fetch(model)
    assert names(fetch.folder) == ["coco-r50.h5"]
    assert (fetch.folder / "coco-r50.h5").read_bytes() == b"an old one"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda name, count: np.zeros(count), "conv1 has a variance of 0, or one value"),
        (lambda name, count: np.full(count, 0.25), "has a variance of 0, or one value"),
        (lambda name, count: np.arange(count) * ("running_var" not in name), "bn_conv1 has a variance of 0"),
        (lambda name, count: np.random.default_rng(1).normal(size=count) - 1, "moving_variance has negative values"),
        (lambda name, count: np.full(count, np.nan), "conv1/kernel has values that are not finite"),
    ],
)
def test_without_a_checksum_the_values_are_looked_at(fetch, server, values, message):
    """Of the published models this concerns coco-r101-3x."""
    header, data = {}, b""
    for name, array in read_all(FILES["torchvision_v1"]).items():
        content = values(name, array.size).astype(np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    server.data = len(text).to_bytes(8, "little") + text + data
    model, _ = published_v1(server.url, size=None, digest="")
    with pytest.raises(DownloadError, match=message):
        fetch(model)
    assert names(fetch.folder) == []


def test_a_size_that_is_not_known_is_the_servers(fetch, server):
    model, server.data = published_v1(server.url, size=None, digest="")
    server.cuts = [1000, 0]
    with pytest.raises(DownloadError, match=rf"1,000 of {len(server.data):,} bytes are kept"):
        fetch(model, attempts=2)
    server.cuts = [2000]
    assert read_checkpoint(fetch(model)).num_classes == 91
    assert server.requests == [None, "bytes=1000-", "bytes=1000-", "bytes=3000-"]


def test_a_mirror_has_the_file_under_its_name(fetch, server):
    model = published(GOOD, "http://127.0.0.1:1/of/the/authors.h5")
    assert fetch(model, mirror=f"{server.mirror}/").read_bytes() == GOOD
    server.statuses = [404]
    with pytest.raises(DownloadError, match=rf"{server.url}: .*404.*Or download {model.url} in a browser"):
        fetch(model, mirror=server.mirror)


def test_a_redirect_is_followed_also_by_a_resumed_download(fetch, server):
    server.redirects, server.cuts = 1, [1000]
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, None, "bytes=1000-"]
    server.redirects = 100
    with pytest.raises(DownloadError, match="the server answers 302"):
        fetch()


def test_by_hand_the_published_file_goes_under_its_own_name(fetch, server):
    model, server.data = published_v1(server.url)
    server.close()
    with pytest.raises(DownloadError, match=rf"Or download it in a browser and save it as {fetch.folder / 'v1.pth'}$"):
        fetch(model, attempts=1)


def test_two_processes_that_fetch_the_same_do_not_mix(fetch, server, monkeypatch):
    """The first is half way when a second one brings more; it goes on writing where it was."""
    part = fetch.folder / f"{NAME}.part"
    part.write_bytes(GOOD[:100])
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)

    def meanwhile(received):
        if received == 1100:
            part.write_bytes(GOOD[:5000])

    fetch.listener.set = meanwhile
    assert fetch().read_bytes() == GOOD
    assert server.requests == ["bytes=100-"]


def test_of_two_processes_that_begin_at_once_neither_cuts_off_what_the_other_has(fetch, monkeypatch):
    part, lengths = fetch.folder / f"{NAME}.part", []

    def other_is_faster(received):
        if received == 0:  # the server has answered, nothing is written yet
            part.write_bytes(GOOD)
        lengths.append(part.stat().st_size)

    fetch.listener.set = other_is_faster
    monkeypatch.setattr(download, "CHUNK_BYTES", 1000)
    assert fetch().read_bytes() == GOOD
    assert set(lengths) == {len(GOOD)}


@pytest.fixture
def coco(server, monkeypatch, tmp_path):
    """Where `download_trained_weights` puts its file; it fetches from the server, with one try."""
    monkeypatch.setattr(download, "COCO", published(GOOD, server.url))
    monkeypatch.setattr(download, "DEFAULTS", DownloadSettings(attempts=1, timeout_s=10.0))
    return tmp_path / "coco.h5"


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_originals_function(coco, capsys, verbose):
    coco.write_bytes(b"an old one")
    download_trained_weights(str(coco), verbose)
    assert coco.read_bytes() == GOOD
    assert (str(coco) in capsys.readouterr().out) is bool(verbose)
    assert names(coco.parent) == [coco.name]


def test_the_originals_function_goes_on_from_a_cut_download(coco, server):
    coco.write_bytes(b"an old one")
    server.cuts = [500]
    with pytest.raises(ConnectionError, match=f"ended after 500 of {len(GOOD):,} bytes.*save it as {coco}"):
        download_trained_weights(coco)
    assert coco.read_bytes() == b"an old one"
    download_trained_weights(coco)
    assert coco.read_bytes() == GOOD
    assert server.requests == [None, "bytes=500-"]


def test_a_missing_folder_is_an_error_of_the_system(coco):
    with pytest.raises(FileNotFoundError):
        download_trained_weights(coco.parent / "nowhere" / "coco.h5")


def test_the_real_address_and_length():
    assert COCO.url == "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
    assert COCO.size == 257_557_808
