"""Adding, changing and removing cameras over HTTP: only from an allow-list of sources."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Protocol

import yaml
from aiohttp import web
from pydantic import Field

from pipeline.errors import InputError, StreamSegmentError
from pipeline.file_names import user_path
from pipeline.safe_uri import SourceUri
from pipeline.settings.camera_settings import ADDRESSES, CameraName, CameraSettings, Weight
from pipeline.settings.loading import dump_settings
from pipeline.settings.output_settings import ServeSettings
from pipeline.settings.schema import Settings
from pipeline.settings.section import Section
from pipeline.sinks.paths import check_folder, replace_file
from pipeline.web.responses import RequestError, read_body

log = logging.getLogger(__name__)

MAX_CAMERAS = 64
_MARK = "# Written by stream_segment (serve.cameras_file) with each change of the cameras on the page.\n"
_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_ADDRESS = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?{_HOST}(?:[/?][!-\[\]-~]*)?"
)
"""Printable ASCII without a backslash, and no @ before the path but one: every parser finds the same host in it."""
_ALLOWED = re.compile(rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://{_HOST}/?")


class NewCamera(Section):
    """Adds a camera, with the settings of the run. Titles are the form's labels."""

    name: Annotated[CameraName, Field(title="Name")]
    uri: Annotated[SourceUri, Field(title="Address")]
    detect_uri: Annotated[SourceUri | None, Field(title="Sub-stream")] = None
    weight: Weight = 1.0


class ChangedCamera(Section):
    """Gives a camera another source or weight; None leaves it. The sub-stream belongs to the source."""

    camera: str
    uri: Annotated[SourceUri | None, Field(title="Address")] = None
    detect_uri: Annotated[SourceUri | None, Field(title="Sub-stream")] = None
    weight: Weight | None = None


class RemovedCamera(Section):
    """Removes a camera."""

    camera: str


class EditableCameras(Protocol):
    """The cameras of a run, as far as they can be edited."""

    @property
    def settings(self) -> Settings:
        """Of the run, with the present cameras."""

    def is_enabled(self, camera: str) -> bool:
        """Whether a camera is to run."""

    def add(self, camera: Mapping[str, Any], before: str | None = None) -> None:
        """Add a camera, before another one or as the last. Raises StreamSegmentError."""

    def remove(self, camera: str) -> None:
        """Remove a camera; waits for its end. Raises StreamSegmentError."""

    def changing(self) -> AbstractContextManager[None]:
        """Inside the block the run goes on without a camera."""


def is_allowed(uri: str, allowed: Sequence[str]) -> bool:
    """Whether a source is on the allow-list: as it is written, or an address by its scheme, host and port.

    An entry without a port stands for the scheme's usual port.
    """
    if "://" not in uri:
        return uri in allowed
    given = _ADDRESS.fullmatch(uri)
    entries = (_ALLOWED.fullmatch(entry) for entry in allowed)
    return given is not None and any(entry is not None and _place(entry) == _place(given) for entry in entries)


def _place(match: re.Match[str]) -> tuple[str, str, int | None]:
    scheme = match["scheme"].lower()
    return scheme, match["host"].lower(), int(match["port"]) if match["port"] else _PORTS.get(scheme)


class CameraEditing:
    """The request handlers; changes are made in other threads, one after the other.

    Args:
        settings: whether and what may be edited, and the file to write.
        cameras: the run's.
        answer: sends the new status.

    Raises:
        InputError: the file cannot be written, or holds something else.
    """

    def __init__(
        self,
        settings: ServeSettings,
        cameras: EditableCameras,
        answer: Callable[[web.Request], Any],
    ) -> None:
        self._settings = settings
        self._cameras = cameras
        self._answer = answer
        self._lock = threading.Lock()
        self._file = None
        if settings.edit_cameras and settings.cameras_file is not None:
            self._file = user_path(settings.cameras_file, "serve.cameras_file")
            _check_file(self._file)

    def sources(self) -> dict[str, dict[str, str | None]]:
        """What may be shown of each camera's addresses, by its name; empty where cameras cannot be edited."""
        cameras = self._cameras.settings.cameras if self._settings.edit_cameras else ()
        return {
            camera.name: {
                "source": str(camera.uri),
                "sub_stream": None if camera.detect_uri is None else str(camera.detect_uri),
            }
            for camera in cameras
        }

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Adds a camera."""
        return await self._edit(request, NewCamera, self._add)

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Changes a camera."""
        return await self._edit(request, ChangedCamera, self._change)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Removes a camera."""
        return await self._edit(request, RemovedCamera, self._remove)

    async def _edit(self, request: web.Request, kind: type[Any], action: Callable[[Any], None]) -> web.StreamResponse:
        if not self._settings.edit_cameras:
            raise RequestError(403, "cameras cannot be edited here: serve.edit_cameras is off")
        change = await read_body(request, kind)
        await asyncio.to_thread(self._apply, action, change)
        answer: web.StreamResponse = await self._answer(request)
        return answer

    def _apply(self, action: Callable[[Any], None], change: Any) -> None:
        with self._lock:
            try:
                action(change)
            except StreamSegmentError as error:
                raise RequestError(409, str(error)) from None
            self._save()

    def _add(self, change: NewCamera) -> None:
        self._check(change)
        for name in (camera.name for camera in self._cameras.settings.cameras):
            if name.casefold() == change.name.casefold():
                raise RequestError(409, f"Name: there is a camera {name} already; case makes no difference")
        if len(self._cameras.settings.cameras) >= MAX_CAMERAS:
            raise RequestError(409, f"there are {MAX_CAMERAS} cameras, which is the most")
        self._cameras.add(change.model_dump())
        log.info("added the camera %s (%s), as a viewer of the page asked", change.name, change.uri)

    def _change(self, change: ChangedCamera) -> None:
        old = self._named(change.camera)
        self._check(change)
        values = _values(old, self._cameras.is_enabled(old.name))
        # Without its sub-stream: that of another camera would put masks where nobody is.
        left = values if change.uri is None else {key: values[key] for key in values if key not in ADDRESSES}
        new = left | change.model_dump(exclude={"camera"}, exclude_none=True)
        if change.detect_uri is not None:
            new.pop("detect_uri_env", None)
        settings = self._cameras.settings
        # Raises while the camera still runs.
        settings.with_cameras([new if camera is old else camera for camera in settings.cameras])
        after = [camera.name for camera in settings.cameras][settings.cameras.index(old) + 1 :]
        before = after[0] if after else None
        with self._cameras.changing():
            self._cameras.remove(old.name)
            try:
                self._cameras.add(new, before)
            except StreamSegmentError:
                self._cameras.add(values, before)
                raise
        log.info("changed the camera %s, as a viewer of the page asked", old.name)

    def _remove(self, change: RemovedCamera) -> None:
        camera = self._named(change.camera)
        if self._file is not None and len(self._cameras.settings.cameras) == 1:
            raise RequestError(
                409, "the last camera cannot be removed: a start without cameras would open one; disable it"
            )
        self._cameras.remove(camera.name)
        log.info("removed the camera %s, as a viewer of the page asked", change.camera)

    def _named(self, name: str) -> CameraSettings:
        one = next((camera for camera in self._cameras.settings.cameras if camera.name == name), None)
        if one is None:
            raise RequestError(404, "there is no camera of this name")
        return one

    def _check(self, change: NewCamera | ChangedCamera) -> None:
        allowed = self._settings.camera_sources
        if not all(uri is None or is_allowed(uri.reveal(), allowed) for uri in (change.uri, change.detect_uri)):
            raise RequestError(403, "this source is not allowed: serve.camera_sources lists schemes, hosts and devices")

    def _save(self) -> None:
        if self._file is None:
            return
        settings = self._cameras.settings
        values = yaml.safe_load(dump_settings(settings))
        for key in ADDRESSES:  # the cameras take its place
            values["source"].pop(key, None)
        for written, camera in zip(values["cameras"], settings.cameras, strict=True):
            written["enabled"] = self._cameras.is_enabled(camera.name)
            for key in ADDRESSES:
                written.pop(key, None)
            for key, address in camera.addresses.items():
                written[key] = address.reveal() if isinstance(address, SourceUri) else address
        text = _MARK + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        try:
            # Addresses may hold passwords: nobody else reads it.
            replace_file(self._file, text.encode(), durable=True, mode=0o600)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning("serve.cameras_file %s cannot be written: %s", self._file, reason)
            raise RequestError(500, f"done, but serve.cameras_file cannot be written: {reason}") from None


def _values(camera: CameraSettings, enabled: bool) -> dict[str, Any]:
    """A camera's entry, as `cameras` in the settings takes it."""
    return {
        "name": camera.name,
        **camera.addresses,
        "enabled": enabled,
        "weight": camera.weight,
        **camera.sections,
    }


def _check_file(file: Path) -> None:
    check_folder(file.parent, f"serve.cameras_file {file}")
    if not file.exists():
        return
    try:
        own = file.read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, UnicodeError):
        own = False
    if not own:
        raise InputError(f"serve.cameras_file {file} exists, and the program did not write it: give another name")
