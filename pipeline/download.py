"""Fetches Matterport's COCO weights: resumes a cut download; only a whole, checked file gets its final name."""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from mrcnn.checkpoint import WeightsError, summarize
from pipeline.download_progress import DownloadProgress
from pipeline.errors import InputError, RunError
from pipeline.weights_file import COCO_NAME

logger = logging.getLogger(__name__)

COCO_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
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

    url: str = COCO_URL
    size: int = COCO_BYTES
    attempts: int = 4
    first_delay_s: float = 1.0
    timeout_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep


class _ConnectionLost(Exception):
    """The server or the network failed in a way that another try may mend."""


class _WrongFile(Exception):
    """What the server sends, or what lies there, is not the file; the text says why."""


def download_coco_weights(
    target_dir: Path, settings: DownloadSettings | None = None, output: IO[str] | None = None
) -> Path:
    """Put mask_rcnn_coco.h5 into a folder, which is made if need be. A valid file that is already there is left alone.

    While it is under way the data lie in `mask_rcnn_coco.h5.part`, from which a later call goes on.

    Args:
        target_dir: the folder.
        settings: where from and how patiently.
        output: where progress is shown; standard error by default.

    Returns:
        Path of the file.

    Raises:
        InputError: the folder cannot be written, or has too little room.
        RunError: no network, a server that does not have the file, a file that is not the right one, a full disk.
    """
    settings = settings or DownloadSettings()
    target = target_dir / COCO_NAME
    if target.exists():
        try:
            check_weights(target, settings.size)
        except _WrongFile as error:
            logger.warning("%s is not the COCO weights file (%s); fetching it again", target, error)
        else:
            logger.info("%s is already there, and whole", target)
            return target
    part = target.with_name(target.name + ".part")
    _prepare_folder(target, part, settings.size)
    with DownloadProgress(COCO_NAME, settings.size, output) as progress:
        _fetch(target, part, settings, progress)
    try:
        check_weights(part, settings.size)
    except _WrongFile as error:
        _forget(part)
        _give_up(settings.url, target, f"what came is not the COCO weights file: {error}")
    try:
        os.replace(part, target)
    except OSError as error:
        _give_up(settings.url, target, f"{part} cannot be renamed: {error.strerror}")
    _forget(part)
    return target


def check_weights(path: Path, size: int) -> None:
    """Raises _WrongFile unless the file has that length in bytes and the layers of Matterport's COCO model."""
    actual = path.stat().st_size
    if actual != size:
        raise _WrongFile(f"expected {size:,} bytes, it has {actual:,}")
    try:
        summary = summarize(path)
    except WeightsError as error:
        raise _WrongFile(str(error)) from None
    if summary.num_classes != COCO_CLASSES:
        raise _WrongFile(f"expected {COCO_CLASSES} classes in mrcnn_class_logits, it has {summary.num_classes}")


def _prepare_folder(target: Path, part: Path, size: int) -> None:
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("ab"):
            pass
        have = part.stat().st_size
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write the weights to {folder}: {error.strerror}; choose another with --dir") from None
    if free < size - have:
        _drop_if_empty(part)
        raise InputError(
            f"{folder} has {free:,} bytes free, the weights need {size - have:,} more; choose another with --dir"
        )


def _fetch(target: Path, part: Path, settings: DownloadSettings, progress: DownloadProgress) -> None:
    """Fill `part` until it has the file's length, trying again after each loss."""
    tries, delay_s = 0, settings.first_delay_s
    while True:
        before = part.stat().st_size if part.exists() else 0
        if before > settings.size:
            _forget(part)
            before = 0
        if before == settings.size:
            return
        try:
            _fetch_once(part, before, settings, progress)
        except _ConnectionLost as error:
            after = part.stat().st_size if part.exists() else 0
            if after > before:
                tries, delay_s = 0, settings.first_delay_s
            tries += 1
            if tries >= settings.attempts:
                _drop_if_empty(part)
                _give_up(settings.url, target, f"{error}{_kept(after, settings.size)}")
            progress.note(f"{error}; trying again in {delay_s:g} s")
            settings.sleep(delay_s)
            delay_s *= 2
        except _WrongFile as error:
            _forget(part)
            _give_up(settings.url, target, str(error))
        except OSError as error:
            _drop_if_empty(part)
            raise RunError(f"cannot write {part}: {error.strerror or error}") from None


def _fetch_once(part: Path, offset: int, settings: DownloadSettings, progress: DownloadProgress) -> None:
    """One request. Raises _ConnectionLost, _WrongFile, or OSError when the disk refuses."""
    with _request(part, offset, settings) as response:
        offset = _agreed_offset(response, part, offset, settings.size)
        progress.set(offset)
        with part.open("ab" if offset else "wb") as file:
            _etag_file(part).write_text(response.headers.get("ETag") or "", encoding="utf-8")
            received = offset
            while chunk := _read(response):
                received += len(chunk)
                if received > settings.size:
                    raise _WrongFile(f"the server sends more than the expected {settings.size:,} bytes")
                file.write(chunk)
                file.flush()
                progress.set(received)
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
        raise _WrongFile(text) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _WrongFile(f"its certificate cannot be verified ({reason.verify_message})") from None
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
        raise _WrongFile(f"expected {size:,} bytes, the server offers {int(length):,} ({kind})")
    return 0


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read(CHUNK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionLost(f"the connection broke ({error or type(error).__name__})") from None


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


def _kept(received: int, size: int) -> str:
    return f"; {received:,} of {size:,} bytes are kept, the same command goes on from there" if received else ""


def _give_up(url: str, target: Path, reason: str) -> NoReturn:
    raise RunError(f"cannot download {url}: {reason}. By hand: download it in a browser and put it at {target}")
