"""Requests that no browser sends, to every route of the page."""

from __future__ import annotations

import contextlib
import logging
import re
import select
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import Bench
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import served
from tests.pipeline.web.served_batch import REPORT, served_batch
from tests.pipeline.web.served_cameras import served_cameras

TOKEN = "correct-horse-battery"
INCOMPLETE_AFTER_S = 0.2
ROUTES = (
    "/ /app.js /cameras.js /connection.js /plots.js /recordings.js /style.css /icon.svg /live /stream.mjpg "
    "/snapshot.jpg /api/status /api/events /api/overlay /api/recording /api/recordings /api/recordings/delete "
    "/recordings/x.mp4 /healthz /metrics /api/cameras /cameras/hall/ /cameras/hall/live /cameras/hall/api/status "
    "/api/cameras/add /api/cameras/change /api/cameras/remove /cameras/hall/api/overlay "
    "/cameras/hall/recordings/x.mp4 /cameras/absent/ /cameras/absent/api/recording /batch.js /report.html"
).split()
OWN_PATH = r"/([A-Za-z0-9%._~-]+/?)*"
"""A path of this site: percent-encoded, no empty segment."""

ODD = st.sampled_from(
    [
        b"",
        b"\xff\xfe",
        b"\xc3",
        b"\x00",
        b"http://[",
        b"http://[::1",
        b"//evil.example/x",
        b"%0d%0aX: y",
        b"%",
        b"%ff",
        b"a" * 9000,
    ]
)
VALUE = st.one_of(ODD, st.binary(max_size=30), st.text(max_size=20).map(lambda text: text.encode("utf-8")))
GOOD = {
    b"Host": [b"127.0.0.1", b"localhost:80", b"evil.example", b"[", b"[::1"],
    b"Authorization": [b"Bearer " + TOKEN.encode(), b"Bearer \xff\xfe", b"Bearer", b"Basic \xe9", b"bearer  "],
    b"Cookie": [b"stream_segment_0=\xff", b'a="\xff', b"=;=;", b'stream_segment="\\777"', b"a=b; \x80=\x81"],
    b"Origin": [b"http://[", b"null", b"http://127.0.0.1", b"\xff", b"http://[::1]:x"],
    b"Sec-Fetch-Site": [b"same-origin", b"cross-site", b"\xff"],
    b"X-Stream-Segment": [b"1", b"\xff"],
    b"X-Forwarded-For": [b"203.0.113.7", b"\xff"],
    b"Accept": [b"text/html", b"\xff", b"*/*;q=x"],
    b"Content-Type": [
        b"application/json",
        b"application/json; charset=\xff",
        b"application/json; charset=nope",
        b"/",
        b";",
    ],
    b"Content-Length": [b"0", b"2", b"-1", b"9" * 30, b"1e3", b"\xff"],
    b"Transfer-Encoding": [b"chunked", b"gzip, chunked", b"\xff"],
    b"Content-Encoding": [b"gzip", b"br", b"zstd", b"\xff"],
    b"Upgrade": [b"websocket", b"h2c"],
    b"Connection": [b"Upgrade", b"keep-alive", b"\xff"],
    b"Sec-WebSocket-Key": [b"dGhlIHNhbXBsZSBub25jZQ==", b"\xff", b"short"],
    b"Sec-WebSocket-Version": [b"13", b"x", b"\xff"],
    b"Sec-WebSocket-Extensions": [b"permessage-deflate; x=\xff", b"permessage-deflate; server_max_window_bits=99"],
    b"Range": [b"bytes=9-1", b"bytes=0-0,2-3", b"bytes=-" + b"9" * 5000, b"\xff"],
    b"If-Range": [b'"x"', b"\xff"],
    b"If-Modified-Since": [b"\xff", b"Thu, 99 Foo 9999 99:99:99 GMT"],
    b"Expect": [b"100-continue", b"\xff"],
}
HEADER = st.one_of(
    st.sampled_from(sorted(GOOD)).flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(st.sampled_from(GOOD[name]), VALUE))
    ),
    st.tuples(st.binary(min_size=1, max_size=10), VALUE),
)
PATH = st.one_of(
    st.sampled_from(ROUTES).map(str.encode),
    st.tuples(st.sampled_from(ROUTES).map(str.encode), VALUE).map(b"".join),
    VALUE.map(lambda value: b"/" + value),
    st.sampled_from(
        [
            *(b"//evil.example/x", b"///", b"http://evil.example/", b"*", b"/\\evil.example", b"/%2e%2e/%2f", b"//["),
            *(
                b"/recordings/%2fetc%2fpasswd",
                b"/recordings/..",
                b"/recordings//evil.example",
                *(
                    b"/recordings/%0d%0aX:y",
                    b"/cameras/%2f%2fevil.example/",
                    b"/cameras/../",
                    b"/cameras//",
                    b"/cameras/\xff/",
                ),
            ),
        ]
    ),
)
QUERY = st.one_of(
    st.just(b""),
    st.sampled_from(
        [b"?token=x", b"?token=" + TOKEN.encode(), b"?token=%ff", b"?token=\xff", b"?token=%00", b"?token", b"?&&=="]
    ),
    VALUE.map(lambda value: b"?token=" + value),
)
BODY = st.one_of(
    st.just(b""),
    st.sampled_from(
        [
            *(
                b"{}",
                b'{"on": true}',
                b'{"masks": 1}',
                b'{"min_score": NaN}',
                b"[" * 4000,
                b"\xff",
                b"5\r\n{}",
                b"a" * 5000,
            ),
            *(b'{"name": "x", "uri": "file:///etc/passwd"}', b'{"camera": "gate", "uri": "0"}', b'{"camera": "gate"}'),
            *(b'{"camera": "hall", "enabled": true}', b'{"camera": "..", "enabled": 1}'),
            *(b'{"name": "../../etc/passwd"}', b'{"name": ""}', b'{"name": "\\ud800"}', b'{"name": "a\\u0000"}'),
        ]
    ),
    st.binary(max_size=40),
)
METHOD = st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT"]), VALUE)
HEAD = st.lists(HEADER, max_size=6)


def answer(port, data):
    """The head of what the server answers; empty if it closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        try:
            connection.sendall(data)
            # The server leaves a request whose client has shut down without an answer: only if it waits for more.
            if not select.select([connection], [], [], INCOMPLETE_AFTER_S)[0]:
                connection.shutdown(socket.SHUT_WR)
            while b"\r\n\r\n" not in received and (part := connection.recv(65536)):
                received += part
        except ConnectionError:
            pass
    return received.partition(b"\r\n\r\n")[0]


def locations(head):
    names = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip().decode("latin-1") for name, _, value in names if name.lower() == b"location"]


def ask(run, method, path, query, head, body):
    """Send one request; hold that its answer is no error of the server and leads to no other site; its status."""
    names = {name.lower() for name, _ in head}
    headers = [*([] if b"host" in names else [(b"Host", b"127.0.0.1")]), *head]
    if not names & {b"content-length", b"transfer-encoding"}:
        headers.append((b"Content-Length", str(len(body)).encode()))
    lines = [method + b" " + path + query + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    answered = answer(run.port, b"\r\n".join(lines) + b"\r\n\r\n" + body)
    status = int(answered.split()[1]) if answered else None
    assert status is None or status < 500, answered
    assert all(re.fullmatch(OWN_PATH, location) for location in locations(answered))
    return status


@contextlib.contextmanager
def one_source(serve):
    with served(serve=serve) as run:
        run.wait_for_masks()
        yield run


@contextlib.contextmanager
def several_cameras(serve):
    with served_cameras("hall", "gate", serve={**serve, "edit_cameras": True}) as run:
        run.until(lambda: run.get("/healthz")[0] == 200)
        yield run


@contextlib.contextmanager
def batch(serve):
    with tempfile.TemporaryDirectory() as folder, served_batch(Path(folder), serve) as run:
        run.report.write_text(REPORT, encoding="utf-8")
        run.work()
        yield run


class Log(logging.Handler):
    """Keeps what is a warning or has a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.WARNING:
            self.texts.append(record.getMessage())


class Page:
    """The pages of one source, of two cameras and of a batch, without and with a token."""

    def __init__(self, bench: Bench) -> None:
        self._pages = contextlib.ExitStack()
        self._log = Log()
        logging.getLogger().addHandler(self._log)
        serve = {"max_viewers": 1000, "camera_sources": ["rtsp://127.0.0.1"]}
        self._runs = [
            self._pages.enter_context(kind({**serve, "token": token}))
            for kind in (one_source, several_cameras, batch)
            for token in (None, TOKEN)
        ]

    def many(self, random: Random, count: int, one: Callable[[Callable[[], None]], None]) -> None:
        """Send so many requests, each in a call of `one`; hypothesis chooses them, and makes one that fails small."""

        @seed(random.randrange(2**32))
        @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.sampled_from(self._runs), METHOD, PATH, QUERY, HEAD, BODY)
        def send(run, method, path, query, head, body):
            one(lambda: self._send(run, method, path, query, head, body))

        send()

    def _send(self, run, *request) -> None:
        self._log.texts.clear()
        ask(run, *request)
        assert self._log.texts == []

    def close(self) -> None:
        """End the runs."""
        self._pages.close()
