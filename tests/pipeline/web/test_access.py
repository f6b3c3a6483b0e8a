from types import SimpleNamespace

import pytest

from pipeline.errors import InputError
from pipeline.settings.output_settings import ServeSettings
from pipeline.web.access import Access, Refusal, allowed_hosts, choose_token

TOKEN = "correct-horse-battery"


def ask(access, method="GET", path="/api/status", token=None, cookies=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = SimpleNamespace(
        method=method,
        path=path,
        headers={"Host": "127.0.0.1:8080", **named},
        cookies=cookies or {},
        query={} if token is None else {"token": token},
    )
    return access.refusal(request)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "localhost.", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5", "kiosk.local:8080"],
)
def test_allowed_host_names(host):
    assert ask(Access(None, frozenset({"kiosk.local"})), Host=host) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "[::1", "@"]
)
def test_refused_host_names(host):
    assert ask(Access(None), Host=host) is Refusal.HOST


def test_allowed_hosts(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Box.lan.example")
    names = allowed_hosts(ServeSettings(allowed_hosts=("Cam.Example.Org",)), "0.0.0.0")
    assert names == {"box.lan.example", "box", "box.local", "0.0.0.0", "cam.example.org"}


def test_without_a_token_everybody_on_this_machine_has_access():
    assert ask(Access(None)) is None


def test_the_three_ways_to_present_the_token():
    access = Access(TOKEN, port=8080)
    assert ask(access) is Refusal.TOKEN
    assert ask(access, Authorization=f"Bearer {TOKEN}") is None
    assert ask(access, Authorization=f"bearer  {TOKEN}") is None
    assert ask(access, token=TOKEN) is None
    assert ask(access, cookies={"stream_segment_8080": access.cookie}) is None


@pytest.mark.parametrize("wrong", ["", "correct-horse-batter", "correct-horse-batteryy", "Correct-horse-battery", "ü"])
def test_wrong_tokens(wrong):
    access = Access(TOKEN, port=8080)
    assert ask(access, Authorization=f"Bearer {wrong}") is Refusal.TOKEN
    assert ask(access, Authorization=wrong) is Refusal.TOKEN
    assert ask(access, token=wrong) is Refusal.TOKEN
    assert ask(access, cookies={"stream_segment_8080": wrong}) is Refusal.TOKEN
    assert not access.matches(wrong)
    assert not access.matches(None)


def test_the_cookie_depends_on_the_token_without_revealing_it():
    access = Access(TOKEN, port=8080)
    assert TOKEN not in access.cookie
    assert len(access.cookie) == 64
    other = Access("another-token-altogether", port=8080)
    assert ask(other, cookies={"stream_segment_8080": access.cookie}) is Refusal.TOKEN
    assert ask(access, cookies={"stream_segment_8081": access.cookie}) is Refusal.TOKEN
    assert ask(access, cookies={"stream_segment_8080": TOKEN}) is Refusal.TOKEN


def test_health_needs_no_token():
    assert ask(Access(TOKEN), path="/healthz") is None
    assert ask(Access(TOKEN), path="/metrics") is Refusal.TOKEN
    assert ask(Access(TOKEN), path="/") is Refusal.TOKEN


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1:8080"}, False),
        ({"Origin": "https://127.0.0.1:8080"}, False),  # behind a proxy that speaks TLS
        ({"Origin": "http://127.0.0.1:8081"}, True),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec_Fetch_Site": "same-origin"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, True),
        ({"Sec_Fetch_Site": "same-site"}, True),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites(headers, refused, method):
    got = ask(Access(None), method=method, path="/snapshot.jpg", X_Stream_Segment="1", **headers)
    assert got is (Refusal.OTHER_SITE if refused else None)


@pytest.mark.parametrize("header", ["Forwarded", "X_Forwarded_For", "X_Forwarded_Host", "X_Real_IP", "Via"])
def test_a_proxy_needs_a_token(header):
    assert ask(Access(None), path="/", **{header: "203.0.113.7"}) is Refusal.PROXY
    assert ask(Access(None), path="/healthz", **{header: "203.0.113.7"}) is None
    assert ask(Access(TOKEN), path="/", Authorization=f"Bearer {TOKEN}", **{header: "203.0.113.7"}) is None


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[x]/", "\udcff", "http://\udc80"])
def test_malformed_origins_are_other_sites(origin):
    assert ask(Access(None), path="/", Origin=origin) is Refusal.OTHER_SITE


@pytest.mark.parametrize("bearer", ["ümlaut-token-of-twelve", "\udcff\udcfe", "\ud800", "\x00"])
def test_malformed_tokens_are_wrong_ones(bearer):
    access = Access(TOKEN)
    assert ask(access, path="/", Authorization=f"Bearer {bearer}") is Refusal.TOKEN
    assert ask(access, path="/", token=bearer) is Refusal.TOKEN


def test_a_link_from_another_site_may_open_the_page_but_not_frame_it():
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(Access(None), path="/", Sec_Fetch_Dest="document", **headers) is None
    assert ask(Access(None), path="/", Sec_Fetch_Dest="iframe", **headers) is Refusal.OTHER_SITE
    posted = ask(Access(None), method="POST", path="/", Sec_Fetch_Dest="document", **headers)
    assert posted is Refusal.OTHER_SITE


def test_controls_need_a_header_that_forms_cannot_send():
    assert ask(Access(None), method="POST") is Refusal.NO_HEADER
    assert ask(Access(None), method="POST", X_Stream_Segment="1") is None
    # Also with the token: a cookie comes along by itself.
    access = Access(TOKEN, port=8080)
    assert ask(access, method="POST", cookies={"stream_segment_8080": access.cookie}) is Refusal.NO_HEADER


def test_precedence_of_tokens():
    environment = {"STREAM_SEGMENT_TOKEN": "from-the-environment"}
    given = ServeSettings(token="from-the-settings")
    assert choose_token(given, True, environment) == ("from-the-settings", False)
    assert choose_token(ServeSettings(), False, environment) == ("from-the-environment", False)
    assert choose_token(ServeSettings(), False, {}) == (None, False)
    behind_proxy = ServeSettings(allowed_hosts=("cam.example",))
    assert choose_token(behind_proxy, False, environment) == ("from-the-environment", False)
    token, is_generated = choose_token(behind_proxy, False, {})
    assert is_generated
    assert token is not None
    assert len(token) >= 32
    (first, is_generated), (second, _) = (
        choose_token(ServeSettings(), True, {"STREAM_SEGMENT_TOKEN": ""}) for _ in "12"
    )
    assert is_generated
    assert first != second
    assert len(first) >= 32


def test_a_short_token_in_the_environment_is_an_error_that_does_not_reveal_it():
    with pytest.raises(InputError, match="STREAM_SEGMENT_TOKEN must have 12 to 256 characters, got 5") as caught:
        choose_token(ServeSettings(), False, {"STREAM_SEGMENT_TOKEN": "short"})
    assert "short" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_token_is_not_printed_with_the_settings():
    assert TOKEN not in str(ServeSettings(token=TOKEN))
    assert TOKEN not in ServeSettings(token=TOKEN).model_dump_json()
