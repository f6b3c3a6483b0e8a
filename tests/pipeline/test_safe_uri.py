"""What of a URI may be shown, by hand; tests/test_secrets.py holds over all exits that nothing else is."""

import pytest

from pipeline.safe_uri import SourceUri, mask_uris, safe_name
from tests.pipeline.nasty_uris import NASTY_URIS, SECRET


@pytest.mark.parametrize("uri", NASTY_URIS)
def test_no_secret_is_shown(uri):
    assert SECRET not in safe_name(uri)
    assert SECRET not in mask_uris(f"opening '{uri}' failed") or "://" not in uri
    one = SourceUri(uri)
    assert one.is_secret
    for text in (str(one), repr(one), f"{one}", f"{one!s:>5}", "%s" % one, repr([one]), repr({"uri": one})):  # noqa: UP031
        assert SECRET not in text
    assert one.reveal() == uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://joe:pw@cam:554/Streaming/Channels/101", "rtsp://***@cam:554/Streaming/Channels/101"),
        ("rtsp://cam/cam/realmonitor?channel=1&subtype=0", "rtsp://cam/cam/realmonitor?***"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsp://cam/axis-media/media.amp", "rtsp://cam/axis-media/media.amp"),
        ("rtsp://cam:7447/Zq8aLkPw2nT5", "rtsp://cam:7447/***"),
        ("rtsp://cam/live/20260314", "rtsp://cam/live/***"),
        ("rtmp://host/live/video", "rtmp://host/live/***"),
        ("rtmp://host/live/video/", "rtmp://host/live/***/"),
        ("http://[fe80::1%eth0]:80/video", "http://[fe80::1%eth0]:80/video"),
        ("http://host/path@home", "http://***"),
        ("http://host:port/video", "http://***"),
        ("udp://@:5000", "udp://:5000"),
        ("udp://239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("srt://:9000", "srt://:9000"),
        ("joe:pw@192.168.1.5/live", "***@192.168.1.5/live"),
        ("192.168.1.5:80/odd", "192.168.1.5:80/***"),
    ],
)
def test_addresses(uri, shown):
    assert safe_name(uri) == shown


@pytest.mark.parametrize(
    "path",
    [
        "0",
        "clip.mp4",
        "photos/*.png",
        "date=2026-03-14/take 1.mp4",
        "joe@home/clip.mp4",
        "/mnt/nas/take 2: a & b.mp4",
        r"C:\videos\a@b.mp4",
        "file:///videos/clip.mp4",
        "file:///videos/a@b.mp4",
        "test:640x360@30",
        "serial:AB12@3",
        "Füße 视频.mp4",
    ],
)
def test_what_is_no_address_is_shown_whole(path):
    assert safe_name(path) == path
    assert not SourceUri(path).is_secret


def test_messages_of_libraries():
    assert mask_uris("failed: rtsp://joe:pw@cam/live") == "failed: rtsp://***@cam/live"
    assert mask_uris("[Errno 5] I/O error: 'http://cam/x?key=pw'") == "[Errno 5] I/O error: 'http://cam/***?***'"
    assert mask_uris("no address: a/b and 3:4") == "no address: a/b and 3:4"
