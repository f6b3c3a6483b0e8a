import asyncio
import contextlib
import errno
import gc
import re
import socket
import sys
import threading
import urllib.request

import pytest
from aiohttp import web

from pipeline.errors import InputError, RunError, StageStuckError
from pipeline.settings.output_settings import split_address
from pipeline.web import server
from pipeline.web.server import ConnectionLimits, WebServer, is_local, listen, url_of
from tests.pipeline.fakes import DEADLINE_S

LIMITS = ConnectionLimits.for_viewers(32, behind_proxy=False)


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
    one = WebServer(app_of(hello), listening, LIMITS)
    one.start()
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        assert answer.read() == b"stream_segment page server"
    one.close()
    one.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=DEADLINE_S)


class Proactors(asyncio.DefaultEventLoopPolicy):
    """Windows' loop, which ends its server with the first client that leaves before it is accepted."""

    def new_event_loop(self):
        raise NotImplementedError


def test_it_does_without_the_loop_that_windows_prefers():
    listening = listen("127.0.0.1", 0)
    one = WebServer(app_of(hello), listening, LIMITS)
    asyncio.set_event_loop_policy(Proactors())
    try:
        one.start()
    finally:
        asyncio.set_event_loop_policy(None)
        one.close()
        listening.close()


def test_a_handler_that_waits_indefinitely_does_not_delay_the_end():
    entered = threading.Event()

    async def wait(_):
        entered.set()
        await asyncio.Event().wait()

    listening = listen("127.0.0.1", 0)
    place = listening.getsockname()
    one = WebServer(app_of(wait), listening, LIMITS)
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
    one = WebServer(app_of(send_for_ever), listening, LIMITS)
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

    one = WebServer(app_of(hello, on_startup=fail), listen("127.0.0.1", 0), LIMITS)
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
    one = WebServer(app_of(block), listening, LIMITS)
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
def connected(count, limits, host="127.0.0.1"):
    """A server and so many open connections to it."""
    listening = listen(host, 0)
    one = WebServer(app_of(hello), listening, limits)
    one.start()
    try:
        with contextlib.ExitStack() as stack:
            address = ("127.0.0.1", listening.getsockname()[1])
            yield address, [stack.enter_context(socket.create_connection(address, DEADLINE_S)) for _ in range(count)]
    finally:
        one.close()


def test_connections_beyond_the_limit_are_closed_at_once(caplog):
    with connected(8, ConnectionLimits(total=3, local=9, per_address=9)) as (_, connections):
        assert all(ended(connection) for connection in connections[3:])
        for connection in connections[:3]:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
    assert caplog.records == []


def test_connections_without_a_request_are_closed(monkeypatch, caplog):
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.2)
    with connected(2, ConnectionLimits(total=2, local=2, per_address=2)) as (address, (silent, slow)):
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
        (["127.0.0.1"] * 79, "127.0.0.1", False),
        (["127.0.0.1"] * 80, "127.0.0.1", True),
        (["127.0.0.2"] * 40 + ["::1"] * 40, "::ffff:127.0.0.1", True),
        (["127.0.0.1"] * 80, "192.0.2.1", False),
        (["127.0.0.1"] * 80 + ["192.0.2.1"] * 20, "192.0.2.2", True),
        (["127.0.0.1"] * 70 + ["192.0.2.1"] * 30, "127.0.0.1", True),
    ],
)
def test_limits_of_connections(others, host, crowded):
    limits = ConnectionLimits(total=100, local=80, per_address=32)
    assert limits.is_crowded(others, host) is crowded


def test_this_machine_leaves_room_for_others_unless_it_may_be_a_proxy():
    assert ConnectionLimits.for_viewers(32, behind_proxy=False) == ConnectionLimits(256, 224, 32)
    assert ConnectionLimits.for_viewers(32, behind_proxy=True) == ConnectionLimits(256, 256, 32)
    assert ConnectionLimits.for_viewers(100, behind_proxy=False) == ConnectionLimits(300, 268, 32)
    assert ConnectionLimits.for_viewers(1000, behind_proxy=False).total == 3000


def test_under_windows_all_connections_fit_in_a_select(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert ConnectionLimits.for_viewers(1000, behind_proxy=False) == ConnectionLimits(500, 468, 32)
    assert ConnectionLimits.for_viewers(32, behind_proxy=False).total == 256


def test_connections_of_this_machine_are_counted_whatever_address_they_use():
    limits = ConnectionLimits(total=9, local=2, per_address=9)
    with connected(2, limits, "0.0.0.0") as (address, kept), contextlib.ExitStack() as stack:
        for host in {"127.0.0.1", own_address()}:
            assert ended(stack.enter_context(socket.create_connection((host, address[1]), DEADLINE_S)))
        for connection in kept:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def own_address():
    """An address of this machine that others can reach, if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        ("0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:8080", "::1", 8080),
        ("kiosk.local:8080", "kiosk.local", 8080),
    ],
)
def test_host_and_port(text, host, port):
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "localhost", "host:", ":8080", "host:65536", "-1", "8o8o", "::1:8080", "1.5", "٣"]
)
def test_invalid_addresses(text):
    with pytest.raises(ValueError, match=r"HOST|brackets"):
        split_address(text)


def test_a_loopback_socket():
    with contextlib.closing(listen("127.0.0.1", 0)) as listening:
        assert is_local(listening.getsockname()[0])
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://127.0.0.1:{port}/"
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_localhost_is_loopback():
    with contextlib.closing(listen("localhost", 0)) as listening:
        assert is_local(listening.getsockname()[0])


def test_a_socket_on_all_addresses_is_not_loopback_and_its_url_works():
    with contextlib.closing(listen("0.0.0.0", 0)) as listening:
        assert not is_local(listening.getsockname()[0])
        url = url_of(listening)
        assert re.fullmatch(r"http://[^/]+:\d+/", url)
        assert "0.0.0.0" not in url


def test_ipv6():
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            with pytest.raises(InputError):  # no IPv6 on this machine: an error, not a crash
                listen("::1", 0)
            return
    with contextlib.closing(listen("::1", 0)) as listening:
        assert is_local(listening.getsockname()[0])
        assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}/"


def test_a_port_in_use():
    with contextlib.closing(listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"--serve: port {port} is in use by another program"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("win32", "port 8080 is reserved: give another, such as --serve 8081"),
        ("linux", "port 8080 requires special privileges: give one from 1024 on"),
    ],
)
def test_a_port_that_may_not_be_used(monkeypatch, platform, message):
    """Windows reserves ranges of ports, such as for Hyper-V; there, no port needs privileges."""

    class Refused(socket.socket):
        def bind(self, address):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refused)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(InputError, match=message):
        listen("127.0.0.1", 8080)


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid", "x" * 300])
def test_an_address_of_another_machine(host):
    with pytest.raises(InputError, match="is not an address of this machine"):
        listen(host, 0)
