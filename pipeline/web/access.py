"""Who may see the page and use its controls: tokens, names it may be called by, requests made by other sites."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from pipeline.errors import InputError
from pipeline.settings.output_settings import ServeSettings

TOKEN_VARIABLE = "STREAM_SEGMENT_TOKEN"
CONTROL_HEADER = "X-Stream-Segment"
"""A page of another site cannot add it to a request without being asked first, and we never allow that."""
SHORTEST_TOKEN, LONGEST_TOKEN = 12, 256
OPEN_PATHS = frozenset({"/healthz", "/style.css"})
"""What is answered without a token: whether frames flow, for supervisors, and how the page that asks for one looks."""


class Refusal(Enum):
    """Why a request is not answered: status and text."""

    HOST = (
        403,
        "This address is not one of this server's: call it by its IP address, or add the name to serve.allowed_hosts.",
    )
    OTHER_SITE = (403, "Requests from other sites are refused.")
    NO_HEADER = (403, f"Controls need the header {CONTROL_HEADER}: 1.")
    TOKEN = (
        401,
        "A token is needed: open the address with ?token=… that the program printed, or send it as a bearer token.",
    )

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def text(self) -> str:
        """One line for the user."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Request:
    """What access is decided by.

    Attributes:
        method, path: such as "GET", "/metrics".
        headers: by name; looked up as written here, so case-insensitive mappings are best.
        cookies: by name.
        query_token: the address's `token`; None if there is none.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    query_token: str | None = None


class Access:
    """Decides over requests.

    Args:
        token: what has to be known; None: nothing.
        hosts: names that the server may be called by, lower case, besides any IP address and localhost.
        port: of the server; cookies are named after it, since all servers of a machine share them.
    """

    def __init__(self, token: str | None, hosts: frozenset[str] = frozenset(), port: int = 0) -> None:
        self.token = token
        self._hosts = hosts | {"localhost"}
        self.cookie_name = f"stream_segment_{port}"

    @property
    def cookie(self) -> str:
        """What a browser that has shown the token keeps in its place; the token cannot be told from it."""
        return hmac.new((self.token or "").encode(), b"stream_segment page", hashlib.sha256).hexdigest()

    def refusal(self, request: Request) -> Refusal | None:
        """Why this request must not be answered; None if it may be."""
        if not self._host_known(request.headers.get("Host", "")):
            return Refusal.HOST
        if _from_other_site(request):
            return Refusal.OTHER_SITE
        if request.method == "POST" and request.headers.get(CONTROL_HEADER) != "1":
            return Refusal.NO_HEADER
        if self.token is not None and request.path not in OPEN_PATHS and not self._knows_token(request):
            return Refusal.TOKEN
        return None

    def matches(self, token: str | None) -> bool:
        """Whether this is the token; takes equally long however much of it is right."""
        return self.token is not None and token is not None and _equal(token, self.token)

    def _knows_token(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(bearer.strip()):
            return True
        if self.matches(request.query_token):
            return True
        cookie = request.cookies.get(self.cookie_name)
        return cookie is not None and _equal(cookie, self.cookie)

    def _host_known(self, host: str) -> bool:
        """Against DNS rebinding: a name of somebody else's that resolves to this machine. IP addresses cannot."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (_is_ip(name) or name.lower().rstrip(".") in self._hosts)


def _from_other_site(request: Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return True
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    # A link to the page itself is no harm.
    opened = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return not (opened and request.method == "GET" and request.path == "/")


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(right.encode()).digest())


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def own_names(settings: ServeSettings, host: str) -> frozenset[str]:
    """Names that this machine's page may be called by."""
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    names = {machine, short, f"{short}.local", host, *settings.allowed_hosts}
    return frozenset(name.lower().rstrip(".") for name in names if name)


def choose_token(
    settings: ServeSettings, needed: bool, environment: Mapping[str, str] | None = None
) -> tuple[str | None, bool]:
    """The token of a run, and whether it was made up here.

    It is the setting's, else the environment's, else a new one where one is needed.

    Raises:
        InputError: the environment's is too short or too long.
    """
    if settings.token is not None:
        return settings.token.get_secret_value(), False
    given = (os.environ if environment is None else environment).get(TOKEN_VARIABLE)
    if given:
        if not SHORTEST_TOKEN <= len(given) <= LONGEST_TOKEN:
            raise InputError(
                f"the environment's {TOKEN_VARIABLE} must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters, "
                f"it has {len(given)}"
            )
        return given, False
    return (secrets.token_urlsafe(24), True) if needed else (None, False)
