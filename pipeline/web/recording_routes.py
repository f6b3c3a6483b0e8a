"""The recordings of a run over HTTP: listed, downloaded with ranges, deleted. A request names one, it gives no path."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from aiohttp import web

from pipeline.file_names import utf8_name
from pipeline.settings.section import Section
from pipeline.sinks.switched_recorder import Recording
from pipeline.web.responses import RequestError, file_parts, json_response, open_no_link, read_body, send_all
from pipeline.web.view import RunView

log = logging.getLogger(__name__)

_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".gif": "image/gif",
}


class Deletion(Section):
    """Deletes a recording.

    Attributes:
        name: as listed.
    """

    name: str


class RecordingRoutes:
    """The request handlers. Files are found, opened, read and deleted in other threads: a disk may be slow.

    Args:
        view: returns the run.
    """

    def __init__(self, view: Callable[[], RunView]) -> None:
        self._view = view

    async def listing(self, _: web.Request) -> web.Response:
        """Sends names, sizes in bytes, and whether they are being written; the newest first."""
        return json_response(200, recordings=await asyncio.to_thread(self._listed))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Sends a recording, or the range of it that is asked for."""
        name = request.match_info["name"]
        with await asyncio.to_thread(self._opened, name) as file:
            status = os.fstat(file.fileno())
            size, tag = status.st_size, f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
            part = _range(request, tag)
            start, stop, _ = (part or slice(None)).indices(size)
            headers = {
                "Content-Type": _CONTENT_TYPES.get(Path(name).suffix.lower(), "application/octet-stream"),
                "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
                "Accept-Ranges": "bytes",
                "ETag": tag,
            }
            if part is not None and start >= stop:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
            if part is not None:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            response = web.StreamResponse(status=200 if part is None else 206, headers=headers)
            response.content_length = stop - start
            await response.prepare(request)
            return await send_all(request, response, file_parts(file, start, stop))

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a recording, and sends the list of the others."""
        change = await read_body(request, Deletion)
        await asyncio.to_thread(self._delete, change.name)
        return await self.listing(request)

    def _listed(self) -> list[dict[str, Any]]:
        found = [(one, _status(one.path)) for one in reversed(self._view().recordings())]
        return [
            {"name": _name(one), "bytes": status.st_size, "writing": one.writing}
            for one, status in found
            if status is not None
        ]

    def _finished(self, name: str) -> Path:
        """The path of a finished recording. Raises RequestError."""
        one = next(
            (one for one in self._view().recordings() if _name(one) == name and _status(one.path) is not None), None
        )
        if one is None:
            raise RequestError(404, "no such recording: this run has not made it, or it was deleted")
        if one.writing:
            raise RequestError(409, "it is being written: stop the recording first")
        return one.path

    def _opened(self, name: str) -> BinaryIO:
        path = self._finished(name)
        try:
            return open(path, "rb", opener=open_no_link)
        except OSError as error:
            raise RequestError(500, f"it cannot be read: {error.strerror or error}") from None

    def _delete(self, name: str) -> None:
        path = self._finished(name)
        try:
            path.unlink()
        except OSError as error:
            raise RequestError(500, f"it cannot be deleted: {error.strerror or error}") from None
        self._view().controls.recording_deleted(str(path))
        log.info("deleted the recording %s, as a viewer of the page asked", path)


def _name(recording: Recording) -> str:
    return utf8_name(recording.path.name)


def _status(path: Path) -> os.stat_result | None:
    """Size and times of a recording; None if it is gone, or something else has taken its place."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _range(request: web.Request, tag: str) -> slice | None:
    """The bytes that are asked for, which may lie outside; None for all, as for a range that makes no sense."""
    if "Range" not in request.headers or request.headers.get("If-Range", tag) != tag:
        return None
    try:
        part = request.http_range
    except ValueError:
        return None
    # To aiohttp, the last 0 bytes ("bytes=-0") are all.
    return slice(0, 0) if part.start == 0 and "=-" in request.headers["Range"] else part
