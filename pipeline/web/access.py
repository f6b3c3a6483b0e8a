"""Access control of the page: tokens, allowed host names, protection against cross-site requests."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from enum import Enum
from urllib.parse import urlsplit

from aiohttp import web

from pipeline.errors import InputError
from pipeline.settings.output_settings import MAX_TOKEN_LENGTH, MIN_TOKEN_LENGTH, ServeSettings

TOKEN_VARIABLE = "STREAM_SEGMENT_TOKEN"
CONTROL_HEADER = "X-Stream-Segment"
"""A page of another site can add this header only after a CORS preflight, which the server never allows."""
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


class Refusal(Enum):
    """Why a request is refused: HTTP status and text."""

    HOST = (
        403,
        "Unknown host name: use the server's IP address, or add the name to serve.allowed_hosts.",
    )
    PROXY = (403, "Requests through a proxy need a token: set STREAM_SEGMENT_TOKEN.")
    OTHER_SITE = (403, "Requests from other sites are refused.")
    NO_HEADER = (403, f"Controls require the header {CONTROL_HEADER}: 1.")
    TOKEN = (
        401,
        "A token is required: open the address with ?token=… that the program printed, or send a bearer token.",
    )


class Access:
    """Accepts or refuses requests.

    Args:
        token: the secret that a request must contain; None accepts requests without one.
        hosts: allowed host names in lower case, besides any IP address and localhost.
        port: of the server; part of the cookie's name, since all servers of a machine share cookies.
    """

    def __init__(self, token: str | None, hosts: frozenset[str] = frozenset(), port: int = 0) -> None:
        self.token = token
        self._hosts = hosts | {"localhost"}
        self.cookie_name = f"stream_segment_{port}"

    @property
    def cookie(self) -> str:
        """The cookie of a browser that presented the token; it does not reveal the token."""
        return hmac.new((self.token or "").encode(), b"stream_segment page", hashlib.sha256).hexdigest()

    def refusal(self, request: web.BaseRequest) -> Refusal | None:
        """Why this request must be refused; None if it is accepted."""
        if not self._is_allowed_host(request.headers.get("Host", "")):
            return Refusal.HOST
        if _is_cross_site(request):
            return Refusal.OTHER_SITE
        if request.method == "POST" and request.headers.get(CONTROL_HEADER) != "1":
            return Refusal.NO_HEADER
        # the health check, and the style of the page that reports a missing token, are public
        if request.path in ("/healthz", "/style.css"):
            return None
        if self.token is None:
            return Refusal.PROXY if any(name in request.headers for name in _PROXY_HEADERS) else None
        return None if self._has_token(request) else Refusal.TOKEN

    def matches(self, token: str | None) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and token is not None and _equal(token, self.token)

    def _has_token(self, request: web.BaseRequest) -> bool:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(bearer.strip()):
            return True
        cookie = request.cookies.get(self.cookie_name)
        return self.matches(request.query.get("token")) or (cookie is not None and _equal(cookie, self.cookie))

    def _is_allowed_host(self, host: str) -> bool:
        """Prevents DNS rebinding, by which a foreign name resolves to this machine; IP addresses are safe."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (_is_ip(name) or name.lower().rstrip(".") in self._hosts)


def _is_cross_site(request: web.BaseRequest) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
        return True
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    # A link to the page itself is harmless.
    purpose = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return (*purpose, request.method, request.path) != ("navigate", "document", "GET", "/")


def _equal(given: str, expected: str) -> bool:
    # Bytes of a header that are not UTF-8 arrive as lone surrogates.
    digests = (hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def allowed_hosts(settings: ServeSettings, host: str) -> frozenset[str]:
    """The host names under which the page may be requested."""
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    names = {machine, short, f"{short}.local", host, *settings.allowed_hosts}
    return frozenset(name.lower().rstrip(".") for name in names if name)


def choose_token(
    settings: ServeSettings, required: bool, environment: Mapping[str, str] | None = None
) -> tuple[str | None, bool]:
    """Returns the token of a run, and whether it was generated.

    The setting takes precedence over the environment variable; a token is generated if neither exists but one is
    required, as it is behind a proxy on this machine, which passes on requests from anywhere: `allowed_hosts` names it.

    Raises:
        InputError: the token in the environment is too short or too long.
    """
    if settings.token is not None:
        return settings.token.get_secret_value(), False
    given = (os.environ if environment is None else environment).get(TOKEN_VARIABLE)
    if given:
        if not MIN_TOKEN_LENGTH <= len(given) <= MAX_TOKEN_LENGTH:
            raise InputError(
                f"the environment variable {TOKEN_VARIABLE} must have {MIN_TOKEN_LENGTH} to {MAX_TOKEN_LENGTH} "
                f"characters, got {len(given)}"
            )
        return given, False
    return (secrets.token_urlsafe(24), True) if required or settings.allowed_hosts else (None, False)
