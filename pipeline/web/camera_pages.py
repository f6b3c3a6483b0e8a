"""The page of a run with several cameras: what it needs of each, and the server."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pipeline.settings.output_settings import ServeSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.web.camera_routes import ServedCamera, ServedCameras, make_cameras_app
from pipeline.web.feed import Feed, jpeg
from pipeline.web.served_page import ServedPage
from pipeline.web.tiles import Tiles

_TILE_WIDTH = 480
"""Pixels: nine of them fill a screen."""
_TILE_QUALITY = 75


class CameraPages:
    """Serves the grid and the cameras' own pages during the run.

    Args:
        settings: address, token, quality, limits.
        cameras: the run's.

    Attributes:
        page: the server; has the address and the token.
        tiles: the small pictures of the grid.
    """

    def __init__(self, settings: ServeSettings, cameras: ServedCameras) -> None:
        self._settings = settings
        self._cameras = cameras
        self._lock = threading.Lock()
        self._feeds: dict[ServedCamera, Feed] = {}
        self.page = ServedPage(settings)
        self.tiles = Tiles(settings.max_viewers)

    def open(self) -> None:
        """Start the server and log its URL. Raises InputError if the address cannot be used."""
        self.page.open(lambda access: make_cameras_app(self._cameras, self.feeds, self.tiles, access))

    def close(self) -> None:
        """Stop the server. May be called twice."""
        self.page.close()

    def make_sink(self, camera: ServedCamera) -> Sink:
        """The sink through which a run of a camera reaches its viewers."""
        return _CameraSink(camera.name, self._feed_of(camera), self.tiles)

    def _feed_of(self, camera: ServedCamera) -> Feed:
        """The feed of a camera, which stays when it is disabled and enabled again."""
        with self._lock:
            if camera not in self._feeds:
                self._feeds[camera] = Feed(self._settings, lambda: camera.view)
            return self._feeds[camera]

    def feeds(self) -> Mapping[str, Feed]:
        """The feeds of all cameras by name; those of cameras that were removed end. In the event loop's thread."""
        with self._lock:
            entries = self._cameras.entries  # read inside: a camera that has a feed is there, unless it was removed
            for camera in [camera for camera in self._feeds if entries.get(camera.name) is not camera]:
                self._feeds.pop(camera).close()
        feeds = {name: self._feed_of(camera) for name, camera in entries.items()}
        self.tiles.forget(name for name, camera in entries.items() if camera.state)
        return feeds


class _CameraSink(Sink):
    """Hands the frames of a camera to the viewers of its page and of the grid."""

    name = "page"
    delivery = Delivery.NEWEST

    def __init__(self, camera: str, feed: Feed, tiles: Tiles) -> None:
        self._camera, self._feed, self._tiles = camera, feed, tiles

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """Whether there are viewers; for those of the grid, only of the frames that they get."""
        return self._feed.is_watched or self._tiles.is_due(self._camera)

    def open(self, context: RunContext) -> None:
        """Take the names of the classes."""
        self._feed.monitor.labels = context.labels

    def write(self, presentation: Presentation) -> None:
        """Encode a frame for the viewers, if any. Raises RunError if it is too large."""
        self._feed.present(presentation)
        if presentation.drawn and self._tiles.is_due(self._camera):
            self._tiles.publish(self._camera, jpeg(presentation.square_bgr, _TILE_QUALITY, _TILE_WIDTH))

    def close(self) -> None:
        """Does nothing: the page outlives the run of a camera."""
