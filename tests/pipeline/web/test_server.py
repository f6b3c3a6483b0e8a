import asyncio
import contextlib
import gc
import socket
import threading
import urllib.request

import pytest
from aiohttp import web

from pipeline.errors import RunError, StageStuckError
from pipeline.web import server
from pipeline.web.address import listen, url_of
from pipeline.web.server import WebServer
from tests.pipeline.fakes import DEADLINE_S


def app_of(handler, **signals):
    app = web.Application()
    app.router.add_get("/", handler)
    for name, work in signals.items():
        getattr(app, name).append(work)
    return app


async def hello(_):
    return web.Response(text=threading.current_thread().name)


def test_it_serves_in_its_own_thread_until_closed():
    listening = listen("127.0.0.1", 0)
    url = url_of(listening)
    one = WebServer(app_of(hello), listening)
    one.start()
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        assert answer.read() == b"stream_segment page server"
    one.close()
    one.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=DEADLINE_S)


def test_a_handler_that_waits_indefinitely_does_not_delay_the_end():
    entered = threading.Event()

    async def wait(_):
        entered.set()
        await asyncio.Event().wait()

    listening = listen("127.0.0.1", 0)
    place = listening.getsockname()
    one = WebServer(app_of(wait), listening)
    one.start()
    with socket.create_connection(place, DEADLINE_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert entered.wait(DEADLINE_S)
        one.close()
        connection.settimeout(DEADLINE_S)
        assert connection.recv(100) == b""


def test_the_socket_of_a_viewer_that_reads_nothing_is_closed_at_the_end():
    entered = threading.Event()

    async def send_for_ever(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            entered.set()
            await response.write(bytes(2**20))

    listening = listen("127.0.0.1", 0)
    place = listening.getsockname()
    one = WebServer(app_of(send_for_ever), listening)
    one.start()
    gc.disable()  # it would close what was forgotten, and hide it
    try:
        with socket.create_connection(place, DEADLINE_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert entered.wait(DEADLINE_S)
            one.close()
            connection.settimeout(DEADLINE_S)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(2**20):
                    pass
    finally:
        gc.enable()


def test_a_start_that_fails():
    async def fail(_):
        raise ValueError("no such file")

    one = WebServer(app_of(hello, on_startup=fail), listen("127.0.0.1", 0))
    with pytest.raises(RunError, match="failed to start: no such file"):
        one.start()
    one.close()


def test_a_stuck_event_loop_is_reported(monkeypatch):
    monkeypatch.setattr(server, "END_DEADLINE_S", 0.1)
    entered, release = threading.Event(), threading.Event()

    async def block(_):
        entered.set()
        release.wait(DEADLINE_S)
        return web.Response()

    listening = listen("127.0.0.1", 0)
    one = WebServer(app_of(block), listening)
    one.start()
    viewer = threading.Thread(target=lambda: urllib.request.urlopen(url_of(listening), timeout=DEADLINE_S).close())
    viewer.start()
    assert entered.wait(DEADLINE_S)
    with pytest.raises(StageStuckError, match=r"page's server did not end within 0\.1 s"):
        one.close()
    release.set()
    viewer.join(DEADLINE_S)


def ended(connection):
    """Whether the server closes the connection."""
    connection.settimeout(DEADLINE_S)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@contextlib.contextmanager
def connected(count, max_connections=256):
    """A server and so many open connections to it."""
    listening = listen("127.0.0.1", 0)
    one = WebServer(app_of(hello), listening, max_connections)
    one.start()
    try:
        with contextlib.ExitStack() as stack:
            address = listening.getsockname()
            yield address, [stack.enter_context(socket.create_connection(address, DEADLINE_S)) for _ in range(count)]
    finally:
        one.close()


def test_connections_beyond_the_limit_are_closed_at_once(caplog):
    with connected(8, max_connections=3) as (_, connections):
        assert all(ended(connection) for connection in connections[3:])
        for connection in connections[:3]:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
    assert caplog.records == []


def test_connections_without_a_request_are_closed(monkeypatch, caplog):
    monkeypatch.setattr(server, "_KEEP_ALIVE_S", 0.2)
    with connected(2, max_connections=2) as (address, (silent, slow)):
        slow.sendall(b"GET / HT")
        assert ended(silent)
        assert ended(slow)
        with urllib.request.urlopen("http://{}:{}/".format(*address), timeout=DEADLINE_S) as answer:
            assert answer.read() == b"stream_segment page server"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("others", "host", "crowded"),
    [
        ([], "192.0.2.1", False),
        (["192.0.2.1"] * 31, "192.0.2.1", False),
        (["192.0.2.1"] * 32, "192.0.2.1", True),
        (["192.0.2.1"] * 32, "192.0.2.2", False),
        (["fe80::1%eth0"] * 32, "fe80::1%eth0", True),
        (["127.0.0.1"] * 99, "127.0.0.1", False),
        (["::ffff:127.0.0.1"] * 99, "::ffff:127.0.0.1", False),
        (["127.0.0.1"] * 100, "192.0.2.1", True),
        (["127.0.0.1"] * 100, "127.0.0.1", True),
    ],
)
def test_limits_of_connections(others, host, crowded):
    assert server.is_crowded(others, host, 100) is crowded
