"""The listening socket of the page, and the URL to open in a browser."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from pipeline.errors import InputError

_BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 chooses a free port. Raises InputError if that fails."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"--serve: {host} is not an address of this machine ({reason}): give an IP address") from None
    family, kind, protocol, _, address = min(addresses, key=lambda candidate: candidate[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows, it would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise InputError(f"--serve: {_bind_error(error, host, port)}") from None
    return listening


def _bind_error(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        alternative = port + 1 if port < 65535 else 8080
        return f"port {port} is in use by another program: give another, such as --serve {alternative}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; 0.0.0.0 stands for all of its addresses"
    if error.errno == errno.EACCES:
        return f"port {port} requires special privileges: give one from 1024 on"
    return f"listening on {host}:{port} failed: {error.strerror or error}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether the socket is reachable from this machine only."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def url_of(listening: socket.socket) -> str:
    """The URL to open, such as "http://192.168.1.5:8080/"; for a socket on all addresses, the most likely one."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = _outbound_address()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _outbound_address() -> str:
    """The address from which this machine reaches others, found without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
