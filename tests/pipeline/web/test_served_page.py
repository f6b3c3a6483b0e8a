import contextlib
import logging

import pytest
from aiohttp import web

from pipeline.errors import InputError
from pipeline.settings.output_settings import ServeSettings
from pipeline.web.served_page import ServedPage
from pipeline.web.server import listen


def page_of(**values):
    return ServedPage(ServeSettings.model_validate({"address": "0", **values}))


def empty(access):
    return web.Application()


def test_a_port_in_use_is_an_input_error():
    with contextlib.closing(listen("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        one = page_of(address=str(port))
        with pytest.raises(InputError, match=f"port {port} is in use"):
            one.open(empty)
        one.close()


def test_the_address_is_logged_and_the_token_only_if_generated(caplog, monkeypatch):
    monkeypatch.delenv("STREAM_SEGMENT_TOKEN", raising=False)
    caplog.set_level(logging.INFO)
    cases = (
        ("127.0.0.1:0", None, "page: {url}"),
        ("0.0.0.0:0", None, "page: {url}?token={token}"),
        ("0.0.0.0:0", "correct-horse-battery", "page: {url} (requires the token)"),
        ("127.0.0.1:0", "correct-horse-battery", "page: {url} (requires the token)"),
    )
    for address, token, text in cases:
        caplog.clear()
        one = page_of(address=address, token=token)
        one.open(empty)
        one.close()
        assert caplog.messages == [text.format(url=one.url, token=one.token)]
        assert (one.token is None) == (text == "page: {url}")


def test_a_short_token_in_the_environment_leaves_no_socket_behind(monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_TOKEN", "short")
    with contextlib.closing(listen("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(InputError, match="STREAM_SEGMENT_TOKEN"):
        page_of(address=str(port)).open(empty)
    listen("127.0.0.1", port).close()
