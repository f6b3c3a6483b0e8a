"""Opens media containers: with the formats and protocols that a source may use, and errors explained for users."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import av

from pipeline.errors import InputError

NOT_VIDEO_FORMATS = frozenset("tty bin xbin adf idf lrc srt ass webvtt microdvd subviewer".split())
"""The formats that FFmpeg detects in text files, and would render as video."""

LIST_SUFFIXES = frozenset(".m3u8 .m3u .mpd .ffconcat .sdp".split())
LIST_FORMATS = frozenset("hls applehttp dash concat sdp rtsp rtp sap imf vobsub lavfi".split())
"""Playlists and the like, which name other files, and how FFmpeg calls them."""

_LOCAL_PROTOCOLS = "file,crypto,data"
_WEB_PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,crypto,data"
_STREAM_PROTOCOLS = f"{_WEB_PROTOCOLS},rtsp,srt,mmsh,mmst,rtmp,rtmps,rtmpt,rtmpts,rtmpe,rtmpte,ffrtmphttp,ffrtmpcrypt"

_ANY_BYTES_IN_TAGS: dict[str, Any] = (
    {"metadata_errors": "replace"} if hasattr(av.container.InputContainer, "metadata_errors") else {}
)
"""Up to PyAV 18, files with tags that are not UTF-8 open only with this argument, which 19 no longer has."""


def allowed_protocols(location: str) -> str:
    """FFmpeg's `protocol_whitelist` for a source.

    A playlist or a session description that comes from elsewhere must not make FFmpeg open files of this machine, and a
    web page no more than FFmpeg's own default for the web. A local playlist reaches no server.
    """
    scheme, separator, _ = location.partition("://")
    if not separator:
        return _LOCAL_PROTOCOLS
    return _WEB_PROTOCOLS if scheme.lower() in ("http", "https") else _STREAM_PROTOCOLS


def allowed_formats(location: str) -> dict[str, str]:
    """FFmpeg's `format_whitelist` for a source, as an option; empty if every format is allowed.

    A local file is a list of other files only if its name says so: what is named like a video reads no other file.
    """
    if "://" in location or Path(location).suffix.lower() in LIST_SUFFIXES:
        return {}
    return {"format_whitelist": _formats_without_lists()}


@cache
def _formats_without_lists() -> str:
    return ",".join(sorted(av.formats_available - LIST_FORMATS))


def _begins_like_a_list(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(8).startswith((b"#EXTM3U", b"ffconcat"))
    except OSError:
        return False


def open_container(
    location: str, name: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL. Raises InputError with a one-line message that calls it `name`."""
    try:
        container = open_input(location, options, timeout_s)
    except av.FFmpegError as error:
        if allowed_formats(location) and _begins_like_a_list(location):
            raise InputError(f"{name} is a playlist: name it {name}.m3u8, or give the video that it names") from None
        raise InputError(f"{name}: {explain(error)}") from None
    if container.format.name in NOT_VIDEO_FORMATS:
        container.close()
        raise InputError(f"{name} is a text file, not a video")
    return container


def open_input(
    location: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL for reading, even if its tags are not UTF-8. Raises av.FFmpegError."""
    timeout = None if timeout_s is None else (timeout_s, timeout_s)
    allowed = {"protocol_whitelist": allowed_protocols(location), **allowed_formats(location)}
    container: av.container.InputContainer = av.open(
        location, options=allowed | (options or {}), timeout=timeout, **_ANY_BYTES_IN_TAGS
    )
    return container


def explain(error: av.FFmpegError) -> str:
    """A description of an FFmpeg error for the person who gave the file or address."""
    texts: tuple[tuple[type[Exception], str], ...] = (
        (av.error.InvalidDataError, "not a readable video: damaged, truncated, or another kind of file"),
        (av.error.ExitError, "timed out"),
        (av.error.TimeoutError, "timed out"),
        (av.error.ProtocolNotFoundError, "this build of FFmpeg does not support that protocol"),
        (av.error.DecoderNotFoundError, "there is no decoder for its video; convert it with ffmpeg first"),
        (
            av.error.HTTPUnauthorizedError,
            "the server requires a user name and password (scheme://user:password@host/…)",
        ),
        (av.error.HTTPForbiddenError, "the server denies access (403)"),
        (av.error.HTTPNotFoundError, "the server has no such page (404)"),
        (av.error.ConnectionRefusedError, "connection refused: nothing is listening there"),
        (av.error.PermissionError, "permission denied"),
        (av.error.EOFError, "it ends before the first frame"),
    )
    for kind, text in texts:
        if isinstance(error, kind):
            return text
    return str(error.strerror or type(error).__name__)
