"""The request handlers of a run with several cameras: the grid of all, and each camera's own page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from aiohttp import web

from pipeline.errors import StreamSegmentError
from pipeline.labels import plural
from pipeline.settings.section import Section
from pipeline.web.access import Access
from pipeline.web.camera_editing import CameraEditing, EditableCameras
from pipeline.web.feed import Feed
from pipeline.web.prometheus import Metrics
from pipeline.web.responses import (
    RequestError,
    event,
    json_response,
    read_body,
    send_acknowledged,
    send_events,
    until_set,
)
from pipeline.web.routes import RUN_PAGE, Site
from pipeline.web.run_routes import RunRoutes, run_routes
from pipeline.web.tiles import Tiles
from pipeline.web.view import SAMPLE_EVERY_S, RunView
from pipeline.web.viewers import Viewers

GRID_PAGE = "cameras.html"
_OF_A_RUN = ("/api/overlay", "/api/recording")
"""What changes a run of a camera, and ends with it."""


class ServedCamera(Protocol):
    """A camera, as the page reads it."""

    @property
    def name(self) -> str:
        """Unique, made of letters, digits, dots, dashes and underscores."""

    @property
    def enabled(self) -> bool:
        """Whether it is to run."""

    @property
    def state(self) -> str:
        """What keeps frames from coming; "" while they come."""

    @property
    def view(self) -> RunView:
        """Its present run, or the last one."""


class ServedCameras(EditableCameras, Protocol):
    """The cameras of a run."""

    @property
    def entries(self) -> Mapping[str, ServedCamera]:
        """The cameras by name; replaced whole."""

    def enable(self, camera: str) -> None:
        """Start a camera; may wait. Raises StreamSegmentError."""

    def disable(self, camera: str) -> None:
        """Let a camera end. Raises StreamSegmentError."""


class CameraChange(Section):
    """Enables or disables a camera."""

    camera: str
    enabled: bool


class CameraRoutes:
    """The request handlers of the grid; all run in the server's event loop.

    Args:
        cameras: the run's.
        site: the application around.
        tiles: the small pictures.
    """

    def __init__(self, cameras: ServedCameras, site: Site, tiles: Tiles) -> None:
        settings = cameras.settings.serve
        self._editing = editing = CameraEditing(settings, cameras, self.status)
        self._is_editable = settings.edit_cameras
        self._cameras = cameras
        self._site = site
        self._tiles = tiles
        self._listeners = Viewers(tiles.viewers.limit)
        self._ended = asyncio.Event()
        self._own: dict[str, RunRoutes] = {}
        site.app.on_startup.append(self._start)
        site.app.on_shutdown.append(self._end)
        self._run_page = site.file(RUN_PAGE)
        site.app.add_routes(
            [
                web.get("/", site.file(GRID_PAGE)),
                web.get("/live", self.live, allow_head=False),
                web.get("/api/status", self.status),
                web.get("/api/events", self.events, allow_head=False),
                web.post("/api/cameras", self.change),
                web.post("/api/cameras/add", editing.add),
                web.post("/api/cameras/change", editing.change),
                web.post("/api/cameras/remove", editing.remove),
                web.get("/healthz", self.healthz),
                web.get("/metrics", self.metrics),
                web.get("/cameras/{camera}", self.slash),
                web.get("/cameras/{camera}/", self.page),
                *run_routes(self._of, "/cameras/{camera}/"),
            ]
        )

    async def _start(self, _: web.Application) -> None:
        self._tiles.viewers.bind()
        self._listeners.bind()

    async def _end(self, _: web.Application) -> None:
        self._ended.set()
        self._tiles.viewers.close()
        self._listeners.close()

    def _of(self, request: web.Request) -> RunRoutes:
        """The handlers of the camera that a request names. Raises RequestError."""
        name = request.match_info["camera"]
        feed = self._site.feeds().get(name)
        if feed is None:
            self._own.pop(name, None)
            raise RequestError(404, "there is no camera of this name")
        if name not in self._own or self._own[name].feed is not feed:
            self._own[name] = RunRoutes(feed, name)
        if request.path.endswith(_OF_A_RUN) and not self._cameras.entries[name].enabled:
            raise RequestError(409, "the camera is disabled: enable it first")
        return self._own[name]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Sends the page of a camera."""
        self._of(request)
        return await self._run_page(request)

    async def slash(self, request: web.Request) -> web.Response:
        """Leads to the page of a camera, whose requests are relative to its address."""
        self._of(request)
        return web.Response(status=303, headers={"Location": f"/cameras/{quote(request.match_info['camera'])}/"})

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Sends the small pictures of all cameras over a WebSocket: see `Tiles`."""
        with self._tiles.viewers.watching():
            return await send_acknowledged(request, self._tiles.messages())

    async def status(self, _: web.Request) -> web.Response:
        """Sends what the grid shows, as JSON."""
        return web.json_response(self._status())

    def _status(self) -> dict[str, Any]:
        feeds = self._site.feeds()
        entries = [(entry, feeds[name]) for name, entry in self._cameras.entries.items() if name in feeds]
        sources = self._editing.sources()
        return {
            "cameras": [_camera_status(entry, feed) | sources.get(entry.name, {}) for entry, feed in entries],
            "viewers": self._tiles.viewers.count,
            "max_viewers": self._tiles.viewers.limit,
            "editable": self._is_editable,
        }

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends the status twice per second as server-sent events, and "end" when the run ends."""
        with self._listeners.watching():
            return await send_events(request, self._status_events())

    async def _status_events(self) -> AsyncGenerator[bytes]:
        while not self._ended.is_set():
            yield event(self._status())
            await until_set(self._ended, SAMPLE_EVERY_S)
        yield event({}, "end")

    async def change(self, request: web.Request) -> web.Response:
        """Enables or disables a camera, and sends the new status."""
        change = await read_body(request, CameraChange)
        if change.camera not in self._cameras.entries:
            raise RequestError(404, "there is no camera of this name")
        action = self._cameras.enable if change.enabled else self._cameras.disable
        try:
            await asyncio.to_thread(action, change.camera)  # enabling waits for the end of the last run
        except StreamSegmentError as error:
            raise RequestError(409, str(error)) from None
        return await self.status(request)

    async def healthz(self, _: web.Request) -> web.Response:
        """Answers 200 while the frames of all enabled cameras are presented, otherwise 503; names no camera."""
        feeds = self._site.feeds()
        wanted = [feeds[name] for name, entry in self._cameras.entries.items() if name in feeds and _counts(entry)]
        ill = sum(not feed.monitor.health().ok for feed in wanted)
        reason = f"{ill} of {len(wanted)} cameras show no frames" if ill else ""
        return json_response(503 if ill else 200, ok=not ill, reason=reason)

    async def metrics(self, _: web.Request) -> web.Response:
        """Sends the metrics of all cameras for Prometheus, each with the label `camera`."""
        metrics = Metrics(self._site.feeds())
        return web.Response(body=metrics.text(), headers={"Content-Type": metrics.content_type})


def _counts(entry: ServedCamera) -> bool:
    """Whether a camera's frames are missed when they do not come: not if it is disabled, or a file that has ended."""
    return entry.enabled and entry.state != "ended"


def _camera_status(entry: ServedCamera, feed: Feed) -> dict[str, Any]:
    status = feed.monitor.status(feed.pictures.count)
    health = feed.monitor.health()
    return {
        "name": entry.name,
        "enabled": entry.enabled,
        "state": entry.state or health.trouble,
        "fps": status["fps"],
        "frame_age_s": status["frame_age_s"],
        "objects": status["objects"],
        "seen": ", ".join(plural(count, name) for name, count in status["objects"].items() if count),
        "recording": status["recording"]["on"],
        "drops": sum(drop["count"] for drop in status["drops"]),
    }


def make_cameras_app(
    cameras: ServedCameras, feeds: Callable[[], Mapping[str, Feed]], tiles: Tiles, access: Access
) -> web.Application:
    """Returns the web application of a run with several cameras.

    Args:
        cameras: the run's.
        feeds: returns their feeds by name.
        tiles: the small pictures.
        access: accepts or refuses requests.
    """
    site = Site(access, feeds)
    CameraRoutes(cameras, site, tiles)
    return site.app
