"""Downloading the COCO weights: whole or not at all."""

import io
import socket
from email.message import Message

import pytest

from mrcnn import download

CONTENT = b"\x89HDF weights" * 1000


class Response(io.BytesIO):
    """What urlopen gives: a body and headers."""

    def __init__(self, body, length):
        super().__init__(body)
        self.headers = Message()
        if length is not None:
            self.headers["Content-Length"] = str(length)


def serve(monkeypatch, body, length):
    urls = []

    def urlopen(url, timeout):
        assert timeout > 0
        urls.append(url)
        return Response(body, length)

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    return urls


@pytest.mark.parametrize("length", [len(CONTENT), None])
def test_the_file_is_complete(monkeypatch, tmp_path, capsys, length):
    urls = serve(monkeypatch, CONTENT, length)
    path = tmp_path / "coco.h5"
    path.write_bytes(b"an old one")
    download.download_trained_weights(str(path))
    assert path.read_bytes() == CONTENT
    assert urls == ["https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"]
    assert str(path) in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_silent(monkeypatch, tmp_path, capsys):
    serve(monkeypatch, CONTENT, None)
    download.download_trained_weights(tmp_path / "coco.h5", verbose=0)
    assert capsys.readouterr().out == ""


def test_a_cut_transfer_leaves_nothing(monkeypatch, tmp_path):
    serve(monkeypatch, CONTENT[:500], len(CONTENT))
    with pytest.raises(ConnectionError, match=f"ended after 500 of {len(CONTENT)} bytes.*put it at"):
        download.download_trained_weights(tmp_path / "coco.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_transfer_keeps_the_old_file(monkeypatch, tmp_path):
    serve(monkeypatch, CONTENT[:500], len(CONTENT))
    path = tmp_path / "coco.h5"
    path.write_bytes(b"an old one")
    with pytest.raises(ConnectionError):
        download.download_trained_weights(path)
    assert path.read_bytes() == b"an old one"


def test_without_a_network_the_way_by_hand_is_told(monkeypatch, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(download, "COCO_MODEL_URL", f"http://127.0.0.1:{port}/coco.h5")
    with pytest.raises(ConnectionError, match=r"cannot download http.*refused.*put it at .*coco\.h5"):
        download.download_trained_weights(tmp_path / "coco.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_error_of_the_system(monkeypatch, tmp_path):
    serve(monkeypatch, CONTENT, None)
    with pytest.raises(FileNotFoundError):
        download.download_trained_weights(tmp_path / "nowhere" / "coco.h5")
