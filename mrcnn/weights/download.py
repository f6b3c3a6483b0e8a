"""Downloads published weights; resumes interrupted downloads, verifies the file before it gets its final name, and
converts other programs' files."""

from __future__ import annotations

import hashlib
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

import numpy as np

from mrcnn.architecture import architecture_of
from mrcnn.weights.checkpoint import WeightsError, read_checkpoint
from mrcnn.weights.conversion import Conversion, convert
from mrcnn.weights.converted import convert_file
from mrcnn.weights.published import MODELS, PublishedModel
from mrcnn.weights.state_dict import open_state_dict

COCO = MODELS["coco"]
COCO_MODEL_URL = COCO.url
CHUNK_BYTES = 1 << 18
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """Settings of a download.

    Attributes:
        mirror: address of a folder that the file is downloaded from, by its name; None for the authors' address.
        attempts: number of consecutive attempts without progress before giving up.
        first_delay_s: delay before the second attempt, seconds; doubles each time.
        timeout_s: timeout of the connection, seconds.
        sleep: sleeps for a number of seconds.
    """

    mirror: str | None = None
    attempts: int = 4
    first_delay_s: float = 1.0
    timeout_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep


DEFAULTS = DownloadSettings()


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


class _NotOfferedError(WrongFileError):
    """The server refuses, or offers another file, such as a login page; what was received before is not affected."""


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
    fetch_weights(COCO, path, listener, DEFAULTS)
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


def part_of(model: PublishedModel, target: Path) -> Path:
    """Path of the partial file of a download to `target`."""
    published = _published_path(model, target)
    return published.with_name(published.name + ".part")


def _published_path(model: PublishedModel, target: Path) -> Path:
    """Where the published file belongs whose content `target` has in our layout."""
    return target if model.local_name == model.file_name else target.with_name(model.file_name)


def fetch_weights(model: PublishedModel, target: Path, listener: Listener, settings: DownloadSettings) -> None:
    """Download a model's weights to `target`, in our layout; an existing file is replaced when they are complete.

    Args:
        model: a model with an address.
        target: path of the file; its folder must exist.
        listener: receives progress and failed attempts.
        settings: where from, retries and timeout.

    Raises:
        DownloadError: no network, or the server does not have the file or sends another one.
        OSError: the disk is full, or the folder is not writable; the partial file is kept for the next attempt.
    """
    part = part_of(model, target)
    url = model.url if settings.mirror is None else f"{settings.mirror.rstrip('/')}/{model.file_name}"
    assert url is not None
    download = _Download(url, part, model.size, listener, settings)
    try:
        download.run()
        check_file(model, part)
        if model.local_name == model.file_name:
            check_network(model, part)
            os.replace(part, target)
        else:
            convert_published(model, part, target)
    except (_ConnectionLost, _NotOfferedError) as error:
        raise _failure(model, url, target, f"{error}{_kept(download)}") from None
    except (WrongFileError, WeightsError) as error:
        _discard(part)
        raise _failure(model, url, target, str(error)) from None
    finally:
        _drop_if_empty(part)
    _discard(part)


def check_file(model: PublishedModel, path: Path) -> None:
    """Raise WrongFileError unless a file has the size and the checksum of a model's published file, where known."""
    actual = path.stat().st_size
    if model.size is not None and actual != model.size:
        raise WrongFileError(f"expected {model.size:,} bytes, it has {actual:,}")
    algorithm, _, digits = model.digest.partition(":")
    if digits:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
        if not found.startswith(digits):
            beginning = "" if len(digits) == len(found) else " that begins with"
            name = "SHA-256" if algorithm == "sha256" else algorithm.upper()
            raise WrongFileError(f"expected the {name}{beginning} {digits}, it has {found}")


def convert_published(model: PublishedModel, published: Path, target: Path) -> None:
    """Convert a model's published file, of another program, to `target`.

    Raises:
        WeightsError: it is not the model's network.
        OSError: `target` cannot be written.
    """
    with open_state_dict(published) as tensors:
        found = convert(tensors)
        _check(model, published, found.architecture.name, str(found.config.BACKBONE), found.config.NUM_CLASSES)
        if not model.digest:
            _check_values(found)
    convert_file(published, target)


def _check_values(conversion: Conversion) -> None:
    """Raise WeightsError for values that training does not leave, in place of a checksum.

    Values that are not finite and negative variances are errors of every conversion; so most other bytes are found.
    """
    for layer in conversion.layer_names:
        arrays = conversion.arrays(layer)
        kernel, variance = arrays.get("kernel", np.zeros(1)), arrays.get("moving_variance", np.ones(1))
        if (kernel.size > 1 and np.ptp(kernel) == 0) or np.min(variance) == 0:
            raise WeightsError(
                f"its layer {layer} has a variance of 0, or one value for all weights: it was not trained"
            )


def check_network(model: PublishedModel, path: Path) -> None:
    """Raise WeightsError unless a file's network is a model's: architecture, backbone and number of classes."""
    checkpoint = read_checkpoint(path)
    architecture = architecture_of(checkpoint.config()).name
    _check(model, path, architecture, checkpoint.backbone, checkpoint.num_classes)


def _check(model: PublishedModel, path: Path, architecture: str, backbone: str | None, num_classes: int) -> None:
    found, expected = (architecture, backbone, num_classes), (model.architecture, model.backbone, model.num_classes)
    if found != expected:
        raise WeightsError(f"{path} has {_described(*found)}; expected {_described(*expected)}")


def _described(architecture: str, backbone: str | None, num_classes: int) -> str:
    return f"a {architecture} network with the backbone {backbone or 'of another kind'} and {num_classes} classes"


@dataclass(slots=True)
class _Download:
    """One file on its way from a server to `part`; `size` is taken from the server if it is not known."""

    url: str
    part: Path
    size: int | None
    listener: Listener
    settings: DownloadSettings

    def run(self) -> None:
        """Download until the file is complete, retrying with backoff. Raises what `_request` raises."""
        failures, delay_s = 0, self.settings.first_delay_s
        while True:
            before = _length(self.part)
            if self.size is not None and before > self.size:
                _discard(self.part)
                before = 0
            if before == self.size:
                return
            try:
                self._request(before)
                return
            except _ConnectionLost as error:
                if _length(self.part) > before:
                    failures, delay_s = 0, self.settings.first_delay_s
                failures += 1
                if failures >= self.settings.attempts:
                    raise
                self.listener.note(f"{error}; retrying in {delay_s:g} s")
                self.settings.sleep(delay_s)
                delay_s *= 2

    def _request(self, offset: int) -> None:
        """Send one request and append its data. Raises _ConnectionLost, WrongFileError, or OSError from the disk."""
        with self._open(offset) as response:
            had, offset = offset, self._accepted_offset(response, offset)
            self.listener.set(offset)
            if offset < had:
                _discard(self.part)
            self.part.touch()
            # Neither "wb" nor "ab": what is there by now comes from another process, which writes the same bytes at the
            # same position.
            with self.part.open("r+b") as file:
                file.seek(offset)
                _etag_file(self.part).write_text(response.headers.get("ETag") or "", encoding="utf-8")
                received = offset
                while chunk := _read(response):
                    received += len(chunk)
                    if self.size is not None and received > self.size:
                        raise WrongFileError(f"the server sends more than the expected {self.size:,} bytes")
                    file.write(chunk)
                    file.flush()
                    self.listener.set(received)
                os.fsync(file.fileno())
        if self.size is not None and received < self.size:
            raise _ConnectionLost(f"the connection ended after {received:,} of {self.size:,} bytes")

    def _open(self, offset: int) -> Any:
        headers = {"User-Agent": "stream_segment", "Accept-Encoding": "identity"}
        request = urllib.request.Request(self.url, headers=headers)
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        try:
            return urllib.request.urlopen(request, timeout=self.settings.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                text = f"the server answers {error.code} {error.reason}"
            if error.code == 416:
                _discard(self.part)
                raise _ConnectionLost(f"{text} to a resumed download") from None
            if error.code in RETRIED_STATUS:
                raise _ConnectionLost(text) from None
            raise _NotOfferedError(text) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise _NotOfferedError(f"its certificate cannot be verified ({reason.verify_message})") from None
            cause = getattr(reason, "strerror", None) or reason or type(error).__name__
            raise _ConnectionLost(f"no connection ({cause})") from None

    def _accepted_offset(self, response: Any, offset: int) -> int:
        """Position in the file at which the response begins: `offset`, or 0 if the server sends the whole file."""
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
            same_file = _read_etag(self.part) in ("", response.headers.get("ETag") or "")
            if match and int(match[1]) == offset and same_file and self._is_size(match[2]):
                return offset
            _discard(self.part)
            raise _ConnectionLost("the file on the server has changed since the interrupted download")
        length = response.headers.get("Content-Length", "*")
        if not self._is_size(length):
            kind = response.headers.get("Content-Type", "unknown type")
            offered = f"{int(length):,} bytes" if length.isdecimal() else repr(length)
            raise _NotOfferedError(f"expected {self.size:,} bytes, the server offers {offered} ({kind})")
        return 0

    def _is_size(self, announced: str) -> bool:
        """Whether a size that the server announces ("*" for none) is the file's; it becomes that if none is known."""
        if self.size is None and announced.isdecimal():
            self.size = int(announced)
        return announced in ("*", str(self.size))


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


def _kept(download: _Download) -> str:
    received = _length(download.part)
    size = "" if download.size is None else f" of {download.size:,}"
    return f"; {received:,}{size} bytes are kept, the next attempt resumes from there" if received else ""


def _failure(model: PublishedModel, url: str, target: Path, reason: str) -> DownloadError:
    by_hand = _published_path(model, target)
    other = "it" if url == model.url else str(model.url)
    return DownloadError(f"cannot download {url}: {reason}. Or download {other} in a browser and save it as {by_hand}")
