"""A camera's frames on their way to the viewer of all cameras."""

from __future__ import annotations

from pipeline.runtime.newest_by_camera import NewestByCamera
from pipeline.sinks.base import CamerasViewer, Delivery, Presentation, RunContext, Sink


class ViewerFeed(Sink):
    """Hands a camera's frames to the viewer of all cameras."""

    name = "viewer"
    delivery = Delivery.MAIN_THREAD  # it only stores the frame: a thread of its own would do no more

    def __init__(
        self, camera: str, viewer: CamerasViewer, shown: NewestByCamera[tuple[Presentation, RunContext]]
    ) -> None:
        self._camera, self._viewer, self._shown = camera, viewer, shown
        self._context: RunContext | None = None
        self.wants_overlay, self.paced = viewer.wants_overlay, viewer.paced

    @property
    def paused(self) -> bool:  # type: ignore[override]
        """Whether the viewer is."""
        return self._viewer.paused

    def open(self, context: RunContext) -> None:
        """Keep the context: the run opens the viewer."""
        self._context = context

    def write(self, presentation: Presentation) -> None:
        """Store the frame in place of the one before."""
        assert self._context is not None, "opened before"
        self._shown.put(self._camera, (presentation, self._context), waits=False)

    def close(self) -> None:
        """Does nothing: the run closes the viewer."""
