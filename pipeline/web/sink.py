"""The sink behind the page of a run with one source."""

from __future__ import annotations

from pipeline.settings.output_settings import ServeSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.web.feed import Feed
from pipeline.web.routes import make_app
from pipeline.web.served_page import ServedPage
from pipeline.web.view import RunView


class WebSink(Sink):
    """Serves the page during the run.

    Args:
        settings: address, token, quality, limits.
        view: the run.

    Attributes:
        feed: pictures and state for the viewers.
        page: the server; has the address and the token.
    """

    name = "page"
    delivery = Delivery.NEWEST

    def __init__(self, settings: ServeSettings, view: RunView) -> None:
        self.feed = Feed(settings, lambda: view)
        self.page = ServedPage(settings)

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """Whether there are viewers."""
        return self.feed.is_watched

    def open(self, context: RunContext) -> None:
        """Start the server and log its URL. Raises InputError if the address cannot be used."""
        self.feed.monitor.labels = context.labels
        self.page.open(lambda access: make_app(self.feed, access))

    def write(self, presentation: Presentation) -> None:
        """Encode a frame for the viewers, if any. Raises RunError if it is too large."""
        self.feed.present(presentation)

    def close(self) -> None:
        """Stop the server. May be called twice."""
        self.page.close()
