"""The page of a run: its files, the routes, and who may use them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import resources
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from pipeline.web.access import Access, Refusal
from pipeline.web.feed import Feed
from pipeline.web.responses import MAX_BODY_BYTES, RequestError, json_response, until_set
from pipeline.web.run_routes import RunRoutes, run_routes
from pipeline.web.view import SAMPLE_EVERY_S
from pipeline.web.viewers import TooManyViewers

RUN_PAGE = "index.html"
_FILES = {
    "/app.js": "text/javascript",
    "/plots.js": "text/javascript",
    "/recordings.js": "text/javascript",
    "/connection.js": "text/javascript",
    "/cameras.js": "text/javascript",
    "/batch.js": "text/javascript",
    "/style.css": "text/css",
    "/icon.svg": "image/svg+xml",
}
_POLICY = "Content-Security-Policy"
_HEADERS = {
    _POLICY: "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "stream_segment",
}


class Site:
    """The web application of a run: a guard before all handlers, the page's files, the history of all feeds.

    Args:
        access: accepts or refuses requests.
        feeds: returns the feeds of the run by the name of their cameras; in the event loop's thread.

    Attributes:
        app: the application.
    """

    def __init__(self, access: Access, feeds: Callable[[], Mapping[str, Feed]]) -> None:
        self._access = access
        self._feeds = feeds
        self._sampler: asyncio.Task[None] | None = None
        self._folder = resources.files("pipeline.web") / "page"
        self._ending = asyncio.Event()
        self.app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        self.app.on_startup.append(self._start)
        self.app.on_shutdown.append(self._end)
        self.app.on_response_prepare.append(_add_headers)
        self.app.add_routes([web.get(path, self.file(path[1:], kind)) for path, kind in _FILES.items()])

    def file(self, name: str, kind: str = "text/html") -> Handler:
        """A handler that sends a file of the page."""
        body = (self._folder / name).read_bytes()

        async def send(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type=kind, charset="utf-8")

        return send

    def feeds(self) -> Mapping[str, Feed]:
        """The feeds, bound to the event loop."""
        feeds = self._feeds()
        for feed in feeds.values():
            feed.bind()
        return feeds

    async def _start(self, _: web.Application) -> None:
        self._sampler = asyncio.create_task(self._sample())

    async def _end(self, _: web.Application) -> None:
        self._ending.set()
        for feed in self.feeds().values():
            feed.close()
        if self._sampler is not None:
            await self._sampler

    async def _sample(self) -> None:
        while not self._ending.is_set():
            for feed in self.feeds().values():
                feed.monitor.sample()
            await until_set(self._ending, SAMPLE_EVERY_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers a request that is refused or fails, and one that brings the token in its query."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return self._refused(request, refusal)
        token, resource = request.query.get("token"), request.match_info.route.resource
        if token is not None and request.method == "GET" and resource is not None:
            values = {name: quote(value, safe="") for name, value in request.match_info.items()}
            return self._without_token(request, token, resource.canonical.format(**values))
        try:
            return await handler(request)
        except TooManyViewers as error:
            return json_response(503, error=str(error))
        except RequestError as error:
            return json_response(error.status, error=str(error))

    def _refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        status, text = refusal.value
        headers = {"WWW-Authenticate": "Bearer"} if refusal is Refusal.TOKEN else {}
        if "text/html" not in request.headers.get("Accept", ""):
            return json_response(status, headers, error=text)
        page = (self._folder / "refused.html").read_text(encoding="utf-8").replace("{{reason}}", text)
        return web.Response(text=page, content_type="text/html", status=status, headers=headers)

    def _without_token(self, request: web.Request, token: str, path: str) -> web.Response:
        """Redirects the browser to the same page with the token replaced by a cookie.

        Args:
            request: the request.
            token: the one in the query.
            path: that of the route, filled in; never the requested one, which could lead to another site.
        """
        response = web.Response(status=303, headers={"Location": path})
        if self._access.matches(token):
            response.set_cookie(
                self._access.cookie_name,
                self._access.cookie,
                max_age=30 * 86400,
                httponly=True,
                samesite="Strict",
                secure=request.headers.get("X-Forwarded-Proto") == "https",
            )
        return response


def make_app(feed: Feed, access: Access) -> web.Application:
    """Returns the web application of a run with one source.

    Args:
        feed: pictures and state of the run.
        access: accepts or refuses requests.
    """
    site = Site(access, lambda: {"": feed})
    routes = RunRoutes(feed)
    site.app.add_routes([web.get("/", site.file(RUN_PAGE)), *run_routes(lambda _: routes)])
    return site.app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    own_policy = {name: value for name, value in response.headers.items() if name == _POLICY}
    response.headers.update({**_HEADERS, **own_policy})
