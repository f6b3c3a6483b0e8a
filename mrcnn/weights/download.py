"""Downloads the COCO weights that Matterport published; resumes interrupted downloads, and verifies the file before it
gets its final name."""

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

from mrcnn.weights.checkpoint import WeightsError, read_checkpoint

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
COCO_BYTES = 257_557_808
COCO_CLASSES = 81
CHUNK_BYTES = 1 << 18
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """Settings of a download.

    Attributes:
        url: URL of the file.
        size: size of the file, bytes.
        attempts: number of consecutive attempts without progress before giving up.
        first_delay_s: delay before the second attempt, seconds; doubles each time.
        timeout_s: timeout of the connection, seconds.
        sleep: sleeps for a number of seconds.
    """

    url: str = COCO_MODEL_URL
    size: int = COCO_BYTES
    attempts: int = 4
    first_delay_s: float = 1.0
    timeout_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep


COCO = DownloadSettings()


class Listener(Protocol):
    """Receives the progress of a download."""

    def set(self, received: int) -> None:
        """Called with the number of bytes received so far."""

    def note(self, text: str) -> None:
        """Called with a line about an event, such as a failed attempt."""


class DownloadError(ConnectionError):
    """The download failed; the message is one line with the reason and how to download manually."""


class WrongFileError(Exception):
    """A file is not the expected one; the message says why."""


class _ConnectionLost(Exception):
    """The server or the network failed in a way that may succeed when retried."""


def download_trained_weights(coco_model_path: str | os.PathLike[str], verbose: int = 1) -> None:
    """Download the COCO weights (257,557,808 bytes), replacing an existing file when the download is complete.

    An interrupted download is kept in a .part file beside it, which the next call resumes.

    Args:
        coco_model_path: path of the file.
        verbose: 1 or more prints messages.

    Raises:
        OSError: no network, an unexpected file, or a folder that is not writable.
    """
    path = Path(coco_model_path)
    listener = _Printer(verbose)
    listener.note(f"Downloading pretrained model to {path} ...")
    fetch_weights(path, COCO, listener)
    listener.note("... done downloading pretrained model!")


class _Printer:
    """Prints notes if verbose."""

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose

    def set(self, received: int) -> None:
        """Print nothing, as in the original."""

    def note(self, text: str) -> None:
        if self._verbose:
            print(text)


def part_of(target: Path) -> Path:
    """Path of the partial file of a download."""
    return target.with_name(target.name + ".part")


def fetch_weights(target: Path, settings: DownloadSettings, listener: Listener) -> None:
    """Download the COCO weights to `target`, replacing an existing file when the download is complete.

    Args:
        target: path of the file; its folder must exist.
        settings: settings of the download.
        listener: receives progress and failed attempts.

    Raises:
        DownloadError: no network, or the server does not have the file or sends another one.
        OSError: the disk is full, or the folder is not writable; the partial file is kept for the next attempt.
    """
    part = part_of(target)
    try:
        _fetch(part, settings, listener)
        check_weights(part, settings.size)
    except WrongFileError as error:
        _discard(part)
        raise _failure(settings.url, target, str(error)) from None
    except _ConnectionLost as error:
        raise _failure(settings.url, target, f"{error}{_kept(part, settings.size)}") from None
    finally:
        _drop_if_empty(part)
    try:
        os.replace(part, target)
    except OSError as error:
        raise _failure(settings.url, target, f"{part} cannot be renamed: {error.strerror}") from None
    _discard(part)


def check_weights(path: Path, size: int = COCO_BYTES) -> None:
    """Raise WrongFileError unless the file has that size in bytes and the layers of Matterport's COCO model."""
    actual = path.stat().st_size
    if actual != size:
        raise WrongFileError(f"expected {size:,} bytes, it has {actual:,}")
    try:
        num_classes = read_checkpoint(path).num_classes
    except WeightsError as error:
        raise WrongFileError(str(error)) from None
    if num_classes != COCO_CLASSES:
        raise WrongFileError(f"expected {COCO_CLASSES} classes in mrcnn_class_logits, it has {num_classes}")


def _fetch(part: Path, settings: DownloadSettings, listener: Listener) -> None:
    """Download into `part` until it is complete, retrying with backoff. Raises what `_fetch_once` raises."""
    failures, delay_s = 0, settings.first_delay_s
    while True:
        before = _length(part)
        if before > settings.size:
            _discard(part)
            before = 0
        if before == settings.size:
            return
        try:
            _fetch_once(part, before, settings, listener)
        except _ConnectionLost as error:
            if _length(part) > before:
                failures, delay_s = 0, settings.first_delay_s
            failures += 1
            if failures >= settings.attempts:
                raise
            listener.note(f"{error}; retrying in {delay_s:g} s")
            settings.sleep(delay_s)
            delay_s *= 2


def _fetch_once(part: Path, offset: int, settings: DownloadSettings, listener: Listener) -> None:
    """Send one request and append its data. Raises _ConnectionLost, WrongFileError, or OSError from the disk."""
    with _request(part, offset, settings) as response:
        offset = _accepted_offset(response, part, offset, settings.size)
        listener.set(offset)
        # not "ab": another process that downloads the same file writes the same bytes at the same position
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
            _discard(part)
            raise _ConnectionLost(f"{text} to a resumed download") from None
        if error.code in RETRIED_STATUS:
            raise _ConnectionLost(text) from None
        raise WrongFileError(text) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WrongFileError(f"its certificate cannot be verified ({reason.verify_message})") from None
        raise _ConnectionLost(f"no connection ({reason or type(error).__name__})") from None


def _accepted_offset(response: Any, part: Path, offset: int, size: int) -> int:
    """Position in the file at which the response begins: `offset`, or 0 if the server sends the whole file."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        same_file = _read_etag(part) in ("", response.headers.get("ETag") or "")
        if match and int(match[1]) == offset and match[2] in (str(size), "*") and same_file:
            return offset
        _discard(part)
        raise _ConnectionLost("the file on the server has changed since the interrupted download")
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


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _drop_if_empty(part: Path) -> None:
    if part.exists() and part.stat().st_size == 0:
        _discard(part)


def _kept(part: Path, size: int) -> str:
    received = _length(part)
    return f"; {received:,} of {size:,} bytes are kept, the next attempt resumes from there" if received else ""


def _failure(url: str, target: Path, reason: str) -> DownloadError:
    return DownloadError(f"cannot download {url}: {reason}. Or download it in a browser and save it as {target}")
