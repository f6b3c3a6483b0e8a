"""Source URIs, valid and invalid."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.sources.uri import Target, UriKind, camera_names, is_video_address, natural_key, parse_uri


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with videos, images of two digits' counts, and other things."""
    for name in ("clip.mp4", "clip2.mp4", "img10.jpg", "img2.JPG", "img1.png", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").write_text("x")
    (tmp_path / "two words é").mkdir()
    (tmp_path / "two words é" / "clip ü 1.mp4").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("0", Target(UriKind.CAMERA, "0", "camera 0")),
        (" 12 ", Target(UriKind.CAMERA, "12", "camera 12")),
        ("/dev/video9999", Target(UriKind.CAMERA, "/dev/video9999", "camera /dev/video9999")),
        ("test:", Target(UriKind.PATTERN, "", "test:")),
        ("test:64x48@5", Target(UriKind.PATTERN, "64x48@5", "test:64x48@5")),
        ("RTSP://cam/live", Target(UriKind.NETWORK, "RTSP://cam/live", "RTSP://cam/live")),
        ("udp://@:5000", Target(UriKind.NETWORK, "udp://@:5000", "udp://:5000")),
        (
            "https://joe:p%40ss@cam:8443/v?x=1&token=abc#t",
            Target(
                UriKind.NETWORK,
                "https://joe:p%40ss@cam:8443/v?x=1&token=abc#t",
                "https://***@cam:8443/v?***",
            ),
        ),
    ],
)
def test_uris_that_are_not_files(uri: str, expected: Target) -> None:
    assert parse_uri(uri) == expected


def test_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, spaced = folder / "clip.mp4", folder / "two words é" / "clip ü 1.mp4"
    assert parse_uri(str(clip)) == Target(UriKind.VIDEO, str(clip), "clip.mp4")
    assert parse_uri(str(spaced)).name == "clip ü 1.mp4"
    assert parse_uri(spaced.as_uri()).location == str(spaced)
    assert parse_uri(clip.as_uri().replace("file:///", "file://localhost/")).location == str(clip)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert parse_uri("~/clip.mp4").location == str(clip)
    monkeypatch.chdir(folder)
    assert parse_uri("clip.mp4").location == "clip.mp4"


def test_images(folder: Path) -> None:
    image = folder / "img2.JPG"
    assert parse_uri(str(image)) == Target(UriKind.IMAGES, str(image), "img2.JPG", (image,))
    whole = parse_uri(str(folder))
    assert (whole.kind, whole.name) == (UriKind.IMAGES, folder.name)
    assert [path.name for path in whole.images] == ["img1.png", "img2.JPG", "img10.jpg"]
    matched = parse_uri(str(folder / "img1*"))
    assert [path.name for path in matched.images] == ["img1.png", "img10.jpg"]
    assert parse_uri(str(folder / "clip.*")).kind is UriKind.VIDEO, "a pattern that matches one video"
    assert [path.name for path in parse_uri(str(folder / "**" / "img1.png")).images] == ["img1.png"]


@pytest.mark.parametrize("pattern", ["**", "*/**/a.png", "**/[a-c]/*.jpg"])
def test_the_whole_disk_is_not_searched(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path.cwd().anchor
    with pytest.raises(InputError, match=r"would search the whole disk: expected a folder before the first \*"):
        parse_uri(root + pattern)
    monkeypatch.chdir(root)
    with pytest.raises(InputError, match="would search the whole disk"):
        parse_uri(pattern)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("photo", b"\xff\xd8\xff\xe0 and so on", UriKind.IMAGES),
        ("photo.download", b"\x89PNG\r\n\x1a\n and so on", UriKind.IMAGES),
        ("photo.tmp", b"RIFF1234WEBPVP8 ", UriKind.IMAGES),
        ("clip.tmp", b"RIFF1234AVI LIST", UriKind.VIDEO),
        ("cam.mjpeg", b"\xff\xd8\xff\xe0 and so on", UriKind.VIDEO),
    ],
)
def test_files_without_their_suffix(tmp_path: Path, name: str, content: bytes, kind: UriKind) -> None:
    (tmp_path / name).write_bytes(content)
    assert parse_uri(str(tmp_path / name)).kind is kind


@pytest.mark.parametrize("name", ["a[1].jpg", "what?.mp4" if os.name != "nt" else "what.mp4"])
def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert parse_uri(str(tmp_path / name)).location == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clpi.mp4", r"clpi\.mp4 does not exist; did you mean clip2?\.mp4 or clip2?\.mp4"),
        ("zzzzzzzz", r"zzzzzzzz does not exist$"),
        ("nowhere/clip.mp4", r"does not exist, and neither does the folder .*nowhere"),
        ("empty.mp4", r"empty\.mp4 is empty \(0 bytes\)"),
        ("none", r"the folder .*none contains no images \(1 other entries\)"),
        ("*.webm", r"no file matches .*\*\.webm"),
        ("clip*", r"matches 2 files, none an image"),
        ("x" * 300, "this name is too long"),
    ],
)
def test_bad_paths(folder: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_uri(str(folder / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "the source is empty"),
        ("  ", "the source is empty"),
        ("a\0b", "the source is empty"),
        ("foo://x/y", r"'foo://' is not supported; use one of file, http"),
        ("1" * 5000, "this name is too long"),
        ("http://", "names no host"),
        ("rtsp:///live", "names no host"),
        ("rtsp://u:secret@cam:99999/", r"rtsp://\*\*\*@\*\*\* is not a valid address"),
        ("http://[::1/", "is not a valid address"),
        ("~nobody-of-that-name/clip.mp4", "home folder|there is no"),
    ],
)
def test_bad_uris(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_uri(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a file, a folder or a camera device"):
        parse_uri(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host/a/clip.MP4?x=1", True),
        ("HTTPS://joe:x@host/clip.webm", True),
        ("http://host/video.mjpg", False),
        ("http://host/live.m3u8", False),
        ("http://host.ts/", False),
        ("rtsp://host/clip.mp4", False),
    ],
)
def test_is_video_address(url: str, expected: bool) -> None:
    assert is_video_address(url) is expected


def test_natural_order() -> None:
    names = ["b1.png", "a10.png", "A2.png", "a2b.png", "10.png", "9.png", "a.png", "a٣.png"]
    ordered = sorted((Path(name) for name in names), key=natural_key)
    assert [path.name for path in ordered][:2] == ["9.png", "10.png"]
    assert [path.name for path in ordered].index("A2.png") < [path.name for path in ordered].index("a10.png")
    assert len(ordered) == len(names)


@pytest.mark.parametrize("text", ["/dev/v4l/by-id/usb-Cam_AB12-video-index0", "/dev/v4l/by-path/pci-0:2:1.0-video"])
def test_stable_device_paths_are_cameras_even_while_unplugged(text: str) -> None:
    target = parse_uri(text)
    assert (target.kind, target.location, target.name) == (UriKind.CAMERA, text, f"camera {text}")


def test_a_camera_by_its_serial_number() -> None:
    target = parse_uri("serial:AB12")
    assert (target.kind, target.location, target.name) == (UriKind.CAMERA, "serial:AB12", "camera serial:AB12")
    with pytest.raises(InputError, match="serial: is incomplete"):
        parse_uri("serial: ")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("0", "camera-0"),
        ("/dev/video7", "video7"),
        ("serial:AB 12", "serial-AB-12"),
        ("test:640x360@30", "test"),
        ("rtsp://joe:hunter2@cam.example.com:554/live", "cam.example.com"),
        ("rtsp://host/key@hunter2/live", "stream"),
        ("http://[fe80::1]:8080/video", "fe80"),
        ("udp://@:5000", "camera"),
    ],
)
def test_a_source_gives_its_camera_a_name_without_secrets(uri, name):
    assert camera_names([uri]) == [name]


def test_names_of_cameras_differ(tmp_path):
    clip = tmp_path / "a b.mp4"
    clip.write_bytes(b"x")
    assert camera_names([str(clip), "test:", str(clip), "test:8x8"]) == ["a-b", "test", "a-b-2", "test-2"]
