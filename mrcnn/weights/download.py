"""Fetches the COCO weights that Matterport published: resumes a cut download; only a whole, checked file gets its
final name."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mrcnn.weights.checkpoint import WeightsError, summarize

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
COCO_BYTES = 257_557_808
COCO_CLASSES = 81
CHUNK_BYTES = 1 << 18
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How a file is fetched.

    Attributes:
        url: where it is.
        size: its length, bytes.
        attempts: tries in a row that bring nothing before giving up; one that brings data starts the count anew.
        first_delay_s: pause before the second try, seconds; it doubles each time.
        timeout_s: how long a connection may be silent, seconds.
        sleep: waits that many seconds.
    """

    url: str = COCO_MODEL_URL
    size: int = COCO_BYTES
    attempts: int = 4
    first_delay_s: float = 1.0
    timeout_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep


COCO = DownloadSettings()


class Listener(Protocol):
    """Who is told how far a download is."""

    def set(self, received: int) -> None:
        """So many bytes are there now."""

    def note(self, text: str) -> None:
        """Something happened that is worth a line."""


class DownloadError(ConnectionError):
    """The file could not be had; the text says in one line why, and how to get it by hand."""


class WrongFileError(Exception):
    """What the server sends, or what lies there, is not the file; the text says why."""


class _ConnectionLost(Exception):
    """The server or the network failed in a way that another try may mend."""


def download_trained_weights(coco_model_path: str | os.PathLike[str], verbose: int = 1) -> None:
    """Download the COCO weights (257,557,808 bytes) to a file, which appears when it is complete. A file that is there
    is replaced. What a cut download has brought is kept in a .part beside it, and the next call goes on from there.

    Args:
        coco_model_path: where to put the file.
        verbose: print what is going on if 1 or more.

    Raises:
        OSError: no network, another file than expected, or a folder that cannot be written.
    """
    path = Path(coco_model_path)
    listener = _Printer(verbose)
    listener.note(f"Downloading pretrained model to {path} ...")
    fetch_weights(path, COCO, listener)
    listener.note("... done downloading pretrained model!")


class _Printer:
    """Prints notes if there is to be any print at all."""

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose

    def set(self, received: int) -> None:
        """The original shows no progress."""

    def note(self, text: str) -> None:
        if self._verbose:
            print(text)


def part_of(target: Path) -> Path:
    """Where the data of a download lie until it is complete."""
    return target.with_name(target.name + ".part")


def fetch_weights(target: Path, settings: DownloadSettings, listener: Listener) -> None:
    """Put the COCO weights at `target`; what is there is replaced when they are complete.

    Args:
        target: its folder must exist.
        settings: where from and how patiently.
        listener: told how far it is, and of tries that failed.

    Raises:
        DownloadError: no network, a server that does not have the file, or a file that is not the right one.
        OSError: the disk is full, or the folder cannot be written; a file that is half there stays for the next try.
    """
    part = part_of(target)
    try:
        _fetch(part, settings, listener)
        check_weights(part, settings.size)
    except WrongFileError as error:
        _forget(part)
        raise _failure(settings.url, target, str(error)) from None
    except _ConnectionLost as error:
        raise _failure(settings.url, target, f"{error}{_kept(part, settings.size)}") from None
    finally:
        _drop_if_empty(part)
    try:
        os.replace(part, target)
    except OSError as error:
        raise _failure(settings.url, target, f"{part} cannot be renamed: {error.strerror}") from None
    _forget(part)


def check_weights(path: Path, size: int = COCO_BYTES) -> None:
    """Raises WrongFileError unless the file has that length in bytes and the layers of Matterport's COCO model."""
    actual = path.stat().st_size
    if actual != size:
        raise WrongFileError(f"expected {size:,} bytes, it has {actual:,}")
    try:
        summary = summarize(path)
    except WeightsError as error:
        raise WrongFileError(str(error)) from None
    if summary.num_classes != COCO_CLASSES:
        raise WrongFileError(f"expected {COCO_CLASSES} classes in mrcnn_class_logits, it has {summary.num_classes}")


def _fetch(part: Path, settings: DownloadSettings, listener: Listener) -> None:
    """Fill `part` until it has the file's length, trying again after each loss. Raises what `_fetch_once` raises."""
    tries, delay_s = 0, settings.first_delay_s
    while True:
        before = _length(part)
        if before > settings.size:
            _forget(part)
            before = 0
        if before == settings.size:
            return
        try:
            _fetch_once(part, before, settings, listener)
        except _ConnectionLost as error:
            if _length(part) > before:
                tries, delay_s = 0, settings.first_delay_s
            tries += 1
            if tries >= settings.attempts:
                raise
            listener.note(f"{error}; trying again in {delay_s:g} s")
            settings.sleep(delay_s)
            delay_s *= 2


def _fetch_once(part: Path, offset: int, settings: DownloadSettings, listener: Listener) -> None:
    """One request. Raises _ConnectionLost, WrongFileError, or OSError when the disk refuses."""
    with _request(part, offset, settings) as response:
        offset = _agreed_offset(response, part, offset, settings.size)
        listener.set(offset)
        # not "ab": another process that fetches the same writes the same bytes to the same place
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            _etag_file(part).write_text(response.headers.get("ETag") or "", encoding="utf-8")
            received = offset
            while chunk := _read(response):
                received += len(chunk)
                if received > settings.size:
                    raise WrongFileError(f"the server sends more than the expected {settings.size:,} bytes")
                file.write(chunk)
                file.flush()
                listener.set(received)
            os.fsync(file.fileno())
    if received < settings.size:
        raise _ConnectionLost(f"the connection ended after {received:,} of {settings.size:,} bytes")


def _request(part: Path, offset: int, settings: DownloadSettings) -> Any:
    headers = {"User-Agent": "stream_segment", "Accept-Encoding": "identity"}
    request = urllib.request.Request(settings.url, headers=headers)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        return urllib.request.urlopen(request, timeout=settings.timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            text = f"the server answers {error.code} {error.reason}"
        if error.code == 416:
            _forget(part)
            raise _ConnectionLost(f"{text} to a resumed download") from None
        if error.code in RETRIED_STATUS:
            raise _ConnectionLost(text) from None
        raise WrongFileError(text) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WrongFileError(f"its certificate cannot be verified ({reason.verify_message})") from None
        raise _ConnectionLost(f"no connection ({reason or type(error).__name__})") from None


def _agreed_offset(response: Any, part: Path, offset: int, size: int) -> int:
    """Where in the file the answer's data begin: `offset`, or 0 when the server sends all of it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        same_file = _read_etag(part) in ("", response.headers.get("ETag") or "")
        if match and int(match[1]) == offset and match[2] in (str(size), "*") and same_file:
            return offset
        _forget(part)
        raise _ConnectionLost("the file on the server is not the one that the cut download began with")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size):
        kind = response.headers.get("Content-Type", "unknown type")
        raise WrongFileError(f"expected {size:,} bytes, the server offers {int(length):,} ({kind})")
    return 0


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read(CHUNK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionLost(f"the connection broke ({error or type(error).__name__})") from None


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _etag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _read_etag(part: Path) -> str:
    try:
        return _etag_file(part).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _drop_if_empty(part: Path) -> None:
    if part.exists() and part.stat().st_size == 0:
        _forget(part)


def _kept(part: Path, size: int) -> str:
    received = _length(part)
    return f"; {received:,} of {size:,} bytes are kept, another try goes on from there" if received else ""


def _failure(url: str, target: Path, reason: str) -> DownloadError:
    return DownloadError(f"cannot download {url}: {reason}. By hand: download it in a browser and put it at {target}")
