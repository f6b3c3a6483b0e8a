"""Decides what of a source's URI may be shown, and keeps the rest out of texts; refuses addresses where paths belong.

Cameras take passwords and tokens anywhere in an address: before the host, in the query, after a semicolon, as a segment
of the path. So nothing is searched for and masked; only what is known to be harmless is shown.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "***"

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/])")
_ADDRESS_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,3}(?:.*@)?[^\s'\"]*")
_HOST = re.compile(r"(?:[\w.-]{0,253}|\[[0-9A-Fa-f:.]+(?:%\w+)?\])(?::([0-9]{1,5}))?")
_LIKE_ADDRESS = re.compile(r"(?::|//).*@|[?;&]\w+=|^[0-9]+(?:\.[0-9]+){3}[:/]|^[\w.-]+:[0-9]+/", re.DOTALL)
"""An address whose scheme is missing or mistyped, rather than a local path."""
_WORDS = frozenset(
    """
    amp asf audio av avc axis cam camera cameras cctv ch channel channels cgi bin clip defaultprimary file files flv
    h h264 h265 hevc high hls img index image input jpeg jpg live low m main media mediainput mjpeg mjpg mkv mov mp mpeg
    mpg multicast net nphmjpeg nvr onvif play playback playlist preview primary profile realmonitor sample sdp second
    secondary smp snapshot snap stream streaming streams sub test track tracks trackid ts tv udp unicast v vid video
    videomain videos videosub view vod webcam webm
    """.split()
)
"""Words of the paths that cameras and media servers use; every other word may be a key."""


def path_text(given: object) -> object:
    """A `pathlib` path as text; anything else as it is."""
    return str(given) if isinstance(given, PurePath) else given


class SourceUri:
    """The URI of a source: printing, formatting or logging it shows its name, without secrets."""

    # No dataclass: dataclasses.asdict and pydantic's model_dump would take it apart.
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceUri) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """The URI as the user wrote it, secrets included, to open it."""
        return self._text

    @property
    def name(self) -> str:
        """What may be shown of the URI."""
        return safe_name(self._text)

    @property
    def is_secret(self) -> bool:
        """Whether `name` leaves something out."""
        return MASK in self.name

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"SourceUri({self.name!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        given = core_schema.no_info_before_validator_function(
            path_text, core_schema.str_schema(coerce_numbers_to_str=True)
        )
        text = core_schema.no_info_after_validator_function(cls._of, given)
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), text],
            mode="left_to_right",
            custom_error_type="source_uri",
            custom_error_message="expected a camera number, a path or a URL without masked parts (" + MASK + ")",
            serialization=core_schema.plain_serializer_function_ser_schema(cls._serialized, info_arg=True),
        )

    def _serialized(self, info: core_schema.SerializationInfo) -> SourceUri | str:
        return self.name if info.mode_is_json() else self

    @classmethod
    def _of(cls, text: str) -> SourceUri:
        """Raises ValueError for a secret that was copied from where it is masked."""
        if MASK in text and ("://" in text or not text.strip("*")):
            raise ValueError(f"the secret is masked ({MASK})")
        return cls(text)


def refuse_address(text: str) -> str:
    """Returns a path as it is. Raises ValueError for an address, also without its scheme: it may hold a secret."""
    folder = os.path.dirname(os.path.expanduser(text))
    if _ADDRESS.match(text) or (MASK in safe_name(text) and not os.path.isdir(folder)):
        raise ValueError("expected a path on this machine, not an address")
    return text


def safe_name(uri: str) -> str:
    """What of a source's URI may be shown.

    Of an address: scheme, host, port, and those segments of the path that consist of words that all cameras use; never
    the user, the query, an RTMP stream key. Whatever could be read as a part of a password is left out. Local paths are
    shown whole, unless they look like an address without its scheme.
    """
    text = " ".join(uri.split())
    match = _ADDRESS.match(text)
    if match is None:
        return _safe_path(uri.strip())
    scheme = match[1]
    rest = text[match.end() :]
    if scheme.lower() == "file" and ("@" not in rest or text.startswith("///", len("file:"))):
        return uri.strip()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" in tail:
        # The password may contain a slash, or the path an @: what looks like the host may be a part of either.
        return f"{scheme}://{MASK}"
    user, at, host = authority.rpartition("@")
    path, *query = re.split(r"[?#]", tail, maxsplit=1)
    found = _HOST.fullmatch(host)
    valid = found is not None and int(found[1] or 0) <= 65535
    return "".join(
        (
            f"{scheme}://",
            f"{MASK}@" if at and user else "",
            host if valid else MASK,
            _safe_segments(path, is_rtmp=scheme.lower().startswith("rtmp")) if valid else "",
            f"?{MASK}" if any(query) else "",
        )
    )


def mask_uris(text: str) -> str:
    """A message of a library, with every address in it replaced by what may be shown of it."""
    return _ADDRESS_IN_TEXT.sub(lambda match: safe_name(match[0]), text)


def _safe_segments(path: str, is_rtmp: bool) -> str:
    segments = path.split("/")
    last = len(path.rstrip("/").split("/")) - 1
    return "/".join(
        segment if not segment or (_is_harmless(segment) and not (is_rtmp and index == last > 0)) else MASK
        for index, segment in enumerate(segments)
    )


def _is_harmless(segment: str) -> bool:
    """Whether the segment consists of known words and of numbers of up to three digits, such as "ch0_main.264"."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", segment):
        return False
    if segment.lower() in _WORDS:
        return True
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+", segment)
    return len(words) <= 8 and all(len(word) <= 3 if word.isdigit() else word.lower() in _WORDS for word in words)


def _safe_path(path: str) -> str:
    if path.startswith(("test:", "serial:")) or re.match(r"[A-Za-z]:[\\/]", path) or not _LIKE_ADDRESS.search(path):
        return path
    return safe_name(f"none://{path.lstrip('/')}").removeprefix("none://")
