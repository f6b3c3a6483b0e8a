import contextlib
import re
import socket

import pytest

from pipeline.errors import InputError
from pipeline.settings.output_settings import split_address
from pipeline.web.address import is_loopback, listen, url_of


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
        assert is_loopback(listening)
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://127.0.0.1:{port}/"
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_localhost_is_loopback():
    with contextlib.closing(listen("localhost", 0)) as listening:
        assert is_loopback(listening)


def test_a_socket_on_all_addresses_is_not_loopback_and_its_url_works():
    with contextlib.closing(listen("0.0.0.0", 0)) as listening:
        assert not is_loopback(listening)
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
        assert is_loopback(listening)
        assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}/"


def test_a_port_in_use():
    with contextlib.closing(listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"--serve: port {port} is in use by another program"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid", "x" * 300])
def test_an_address_of_another_machine(host):
    with pytest.raises(InputError, match="is not an address of this machine"):
        listen(host, 0)
