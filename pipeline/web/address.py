"""Where the page is served: the listening socket, and the address to open in a browser."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from pipeline.errors import InputError

_BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises InputError if there cannot be one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"--serve: {host} is no address of this machine ({reason}). Give an IP address.") from None
    family, kind, protocol, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(place)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise InputError(f"--serve: {_why_not(error, host, port)}") from None
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        another = port + 1 if port < 65535 else 8080
        return f"port {port} is taken by another program. Give another, such as --serve {another}."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine. 0.0.0.0 means all of its addresses."
    if error.errno == errno.EACCES:
        return f"port {port} needs special rights. Give one of 1024 or more."
    return f"{host}:{port} cannot be served: {error.strerror or error}."


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches the socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def url_of(listening: socket.socket) -> str:
    """The address to open, such as "http://192.168.1.5:8080/"; for a socket on all addresses, the likeliest of them."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = _outward_address()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _outward_address() -> str:
    """The address that this machine would use to reach others; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that belongs to nobody (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
