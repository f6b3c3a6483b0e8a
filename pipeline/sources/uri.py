"""Parses `--source`: a camera, a network stream, a test pattern, images or a video file."""

from __future__ import annotations

import difflib
import glob
import itertools
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from pipeline.errors import InputError
from pipeline.file_names import plain_name, user_path
from pipeline.safe_uri import MASK, safe_name
from pipeline.settings.camera_settings import unique_names

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .jp2 .exr .hdr .avif".split()
)
NETWORK_SCHEMES = frozenset("rtsp rtsps http https udp tcp rtp rtmp rtmps rtmpt srt mms mmsh".split())

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mpg .mpeg .flv .wmv .ogv .3gp".split())

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/")


class UriKind(Enum):
    """The kinds of sources a URI can name."""

    CAMERA = "camera"
    NETWORK = "network"
    PATTERN = "pattern"
    IMAGES = "images"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed source URI.

    Attributes:
        kind: the kind of source.
        location: camera index or device path, URL, pattern spec (the part after `test:`), or path of a video file.
        name: display name, without passwords; the `source_id` of its frames.
        images: the image files, in order, if `kind` is IMAGES.
    """

    kind: UriKind
    location: str = field(repr=False)  # a URL with its secrets
    name: str
    images: tuple[Path, ...] = ()


def parse_uri(uri: str) -> Target:
    """Parse a source URI and check that a named file exists. Raises InputError."""
    text = uri.strip()
    if not text or "\0" in text:
        raise InputError("the source is empty: give a camera number, a video file, images, a URL or 'test:'")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Target(UriKind.CAMERA, str(int(text)), f"camera {int(text)}")
    if text.startswith("serial:"):
        if not text.removeprefix("serial:").strip():
            raise InputError(
                "serial: is incomplete: add the camera's serial number, or a part of its name in /dev/v4l/by-id"
            )
        return Target(UriKind.CAMERA, text, f"camera {text}")
    if text.startswith("test:"):
        return Target(UriKind.PATTERN, text.removeprefix("test:"), text)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match is not None else ""
    if scheme and text.startswith("://", len(scheme)):
        return _parse_url(text, scheme)
    if scheme in NETWORK_SCHEMES:
        raise InputError(f"{safe_name(text)} is not a valid address: two slashes must follow {scheme}:")
    return _parse_path(text)


def camera_names(uris: Sequence[str]) -> list[str]:
    """A name for each of several sources, without secrets, all different: "camera-0", "192.168.1.20", "clip".

    Raises:
        InputError: one is no source, or is not there.
    """
    return unique_names([_camera_name(parse_uri(uri)) for uri in uris])


def _camera_name(target: Target) -> str:
    match target.kind:
        case UriKind.CAMERA:
            name = f"camera-{target.location}" if target.location.isdecimal() else Path(target.location).name
        case UriKind.PATTERN:
            name = "test"
        case UriKind.NETWORK:  # from what may be shown of it
            authority = target.name.partition("://")[2].partition("/")[0].rpartition("@")[2]
            name = "stream" if MASK in authority else authority.partition(":")[0]
        case _:
            name = Path(target.location).stem
    return plain_name(name)[:60] or "camera"


def is_image_name(path: Path) -> bool:
    """Whether the file has the suffix of an image format."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_video_address(url: str) -> bool:
    """Whether a URL names a recorded file ("http://host/clip.mp4?x=1") rather than a stream."""
    parts = urlsplit(url)
    return parts.scheme.lower() in ("http", "https") and Path(parts.path).suffix.lower() in VIDEO_SUFFIXES


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts "img2" before "img10"."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return tuple((0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts)


def _parse_url(text: str, scheme: str) -> Target:
    if scheme == "file":
        try:
            parts = urlsplit(text)
        except ValueError:
            raise InputError(f"{safe_name(text)} is not a valid address: expected file:///path") from None
        if parts.netloc not in ("", "localhost"):
            return _parse_path(f"//{parts.netloc}{unquote(parts.path)}")
        return _parse_path(url2pathname(text[text.index("://") + 3 :].removeprefix("localhost")))
    if scheme not in NETWORK_SCHEMES:
        supported = ", ".join(sorted(NETWORK_SCHEMES | {"file"}))
        raise InputError(f"{safe_name(text)}: '{scheme}://' is not supported; use one of {supported} or 'test:'")
    name = safe_name(text)
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:  # its text may quote a part of the password
        raise InputError(
            f"{name} is not a valid address: expected {scheme}://user:password@host:port/path, with / ? # @ and spaces "
            "in the password percent-encoded"
        ) from None
    if not host and scheme not in ("udp", "rtp"):
        raise InputError(f"{name} names no host: an address looks like {scheme}://192.168.1.20/stream")
    return Target(UriKind.NETWORK, text, name)


def _parse_path(text: str) -> Target:
    path = user_path(text, "--source")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _missing(path)
    except OSError as error:
        if _is_glob(str(path)):
            return _glob(path)
        raise InputError(f"{safe_name(str(path))} cannot be opened: {error.strerror or error}") from None
    if stat.S_ISCHR(mode):
        return Target(UriKind.CAMERA, str(path), f"camera {path}")
    if stat.S_ISDIR(mode):
        return _folder(path)
    if not stat.S_ISREG(mode):
        raise InputError(f"{safe_name(str(path))} is not a file, a folder or a camera device")
    if path.stat().st_size == 0:
        raise InputError(f"{safe_name(str(path))} is empty (0 bytes): recording or copying it failed")
    if is_image_name(path) or _has_image_signature(path):
        return Target(UriKind.IMAGES, str(path), path.name, (path,))
    return Target(UriKind.VIDEO, str(path), path.name)


def _has_image_signature(path: Path) -> bool:
    """Whether this is an image without one of the usual suffixes."""
    if path.suffix.lower() in (".mjpeg", ".mjpg"):
        return False  # a stream of JPEG images
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise InputError(f"{safe_name(str(path))} cannot be opened: {error.strerror or error}") from None
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"II*\0", b"MM\0*")) or head[:4] + head[8:] == b"RIFFWEBP"


def _missing(path: Path) -> Target:
    text = str(path)
    if re.fullmatch(r"/dev/(video[0-9]+|v4l/by-(id|path)/[^/]+)", text):
        return Target(UriKind.CAMERA, text, f"camera {text}")  # opening the camera lists the available devices
    if _is_glob(text):
        return _glob(path)
    parent = path.parent
    if not parent.is_dir():
        raise InputError(f"{safe_name(str(path))} does not exist, and neither does the folder {safe_name(str(parent))}")
    names = sorted(entry.name for entry in _entries(parent))
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"{safe_name(str(path))} does not exist{hint}")


def _is_glob(text: str) -> bool:
    return any(letter in text for letter in "*?[")


def _glob(path: Path) -> Target:
    parts = path.absolute().parts
    if "**" in parts and len([*itertools.takewhile(lambda part: not _is_glob(part), parts)]) == 1:
        raise InputError(f"{safe_name(str(path))} would search the whole disk: expected a folder before the first *")
    files = [match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file()]
    images = sorted(filter(is_image_name, files), key=lambda file: (str(file.parent), natural_key(file)))
    if images:
        return Target(UriKind.IMAGES, str(path), str(path), tuple(images))
    if len(files) == 1:
        return _parse_path(str(files[0]))
    if files:
        raise InputError(
            f"{safe_name(str(path))} matches {len(files)} files, none an image ({files[0].name} …): name one video file"
        )
    raise InputError(f"no file matches {safe_name(str(path))}")


def _folder(path: Path) -> Target:
    images = sorted((entry for entry in _entries(path) if is_image_name(entry) and entry.is_file()), key=natural_key)
    if images:
        return Target(UriKind.IMAGES, str(path), path.name or str(path), tuple(images))
    count = sum(1 for _ in _entries(path))
    raise InputError(
        f"the folder {safe_name(str(path))} contains no images ({count} other entries): expected files such as .jpg, "
        ".png, .tif or .webp; subfolders are not searched"
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror or error}") from None
