"""Requests over real sockets to a run with several cameras."""

import contextlib
import http.client
import json

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import InputError
from tests.pipeline.web.served import CONTROL
from tests.pipeline.web.served_cameras import DEADLINE_S, served_cameras

TOKEN = "correct-horse-battery"


@pytest.fixture
def run():
    with served_cameras("hall", "Straße", "cellar", disabled=("cellar",)) as one:
        one.until_state("hall", "")
        one.until_state("Straße", "")
        yield one


def test_the_grid_lists_all_cameras(run):
    status = run.json("/api/status")
    assert [(one["name"], one["enabled"], one["state"]) for one in status["cameras"]] == [
        ("hall", True, ""),
        ("Straße", True, ""),
        ("cellar", False, "disabled"),
    ]
    run.until(lambda: run.json("/api/status")["cameras"][0]["seen"] == "1 other, 1 thing")
    assert status["cameras"][2]["fps"] == {"capture": None, "inference": None, "display": None}


@pytest.mark.parametrize("path", ["/", "/cameras/hall/", "/cameras/Stra%C3%9Fe/", "/cameras/cellar/", "/cameras.js"])
def test_pages(run, path):
    status, headers, body = run.get(path)
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert b" style=" not in body
    assert (b"cameras.js" in body) == (path == "/")


def test_the_slash_at_the_end_may_be_left_out(run):
    status, headers, _ = run.get("/cameras/Stra%C3%9Fe")
    assert (status, headers["Location"]) == (303, "/cameras/Stra%C3%9Fe/")
    assert run.get("/cameras/absent")[0] == 404


def test_what_a_run_with_one_source_has_each_camera_has(run):
    assert run.json("/cameras/hall/api/status")["source"]["name"] == "camera <1>"
    assert run.json("/cameras/Stra%C3%9Fe/api/status")["waiting_for"] == ""
    status, headers, body = run.get("/cameras/hall/snapshot.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (180, 322, 3)
    assert run.json("/cameras/hall/api/recordings") == {"recordings": []}
    families = text_string_to_metric_families(run.get("/cameras/hall/metrics")[2].decode())
    assert {s.labels["camera"] for f in families for s in f.samples if f.name.startswith("stream_")} == {"hall"}


def test_a_camera_without_a_run_has_a_page_all_the_same(run):
    status = run.json("/cameras/cellar/api/status")
    assert (status["source"], status["waiting_for"], status["frames"]["captured"]) == ({}, "disabled", 0)
    assert run.get("/cameras/cellar/healthz")[0] == 503
    for path, change in (("overlay", {"masks": False}), ("recording", {"on": True})):
        status, answer = run.post(f"/cameras/cellar/api/{path}", change)
        assert (status, answer) == (409, {"error": "the camera is disabled: enable it first"})


def test_controls_are_those_of_one_camera(run):
    assert run.post("/cameras/hall/api/overlay", {"masks": False})[1]["display"]["masks"] is False
    assert run.json("/cameras/Stra%C3%9Fe/api/status")["display"]["masks"] is True
    assert run.post("/cameras/absent/api/overlay", {"masks": False})[0] == 404


@pytest.mark.parametrize("path", ["/cameras/absent/", "/cameras/absent/api/status", "/cameras/..%2f/", "/cameras/%00/"])
def test_unknown_cameras(run, path):
    assert run.get(path)[0] == 404


def test_enabling_and_disabling(run):
    shown = run.cameras.entries["hall"].ledger
    status, answer = run.post("/api/cameras", {"camera": "cellar", "enabled": True})
    assert status == 200
    assert answer["cameras"][2]["enabled"] is True
    run.until_state("cellar", "")
    assert run.post("/api/cameras", {"camera": "Straße", "enabled": False})[0] == 200
    run.until_state("Straße", "disabled")
    before = shown.overall().presented
    run.until(lambda: shown.overall().presented > before + 5)  # the others go on
    assert run.cameras.entries["hall"].ledger is shown
    run.post("/api/cameras", {"camera": "Straße", "enabled": True})
    run.until_state("Straße", "")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"camera": "absent", "enabled": True}, 404),
        ({"camera": "hall"}, 400),
        ({"camera": "hall", "enabled": "yes"}, 400),
        ({"camera": "hall", "enabled": True, "uri": "/etc/passwd"}, 400),
    ],
)
def test_changes_that_are_refused(run, change, status):
    assert run.post("/api/cameras", change)[0] == status


def test_changes_are_refused_to_other_sites(run):
    change = {"camera": "hall", "enabled": False}
    assert run.post("/api/cameras", change, {"Content-Type": "application/json"})[0] == 403
    assert run.post("/api/cameras", change, CONTROL | {"Origin": "http://evil.example"})[0] == 403
    assert run.post("/cameras/hall/api/overlay", {}, {"Content-Type": "application/json"})[0] == 403
    assert run.cameras.entries["hall"].enabled


def test_a_camera_that_cannot_be_enabled(run, monkeypatch):
    def refuse(camera):
        raise InputError(f"camera {camera}: there is no device")

    monkeypatch.setattr(run.cameras, "enable", refuse)
    answer = run.post("/api/cameras", {"camera": "cellar", "enabled": True})
    assert answer == (409, {"error": "camera cellar: there is no device"})


def test_health_of_all_and_of_each():
    with served_cameras("hall", "gate", "cellar", disabled=("cellar",), serve={"stalled_after_s": 0.5}) as run:
        run.until(lambda: run.get("/healthz")[0] == 200)
        assert run.json("/healthz") == {"ok": True, "reason": ""}  # who is disabled is not missed
        run.sources["gate"].flowing.clear()
        run.until(lambda: run.get("/cameras/gate/healthz")[0] == 503)
        assert run.get("/healthz")[0] == 503
        assert run.json("/healthz") == {"ok": False, "reason": "1 of 2 cameras show no frames"}  # names none
        assert run.get("/cameras/hall/healthz")[0] == 200
        run.sources["gate"].flowing.set()
        run.until(lambda: run.get("/healthz")[0] == 200)


def test_metrics_by_camera(run):
    families = list(text_string_to_metric_families(run.get("/metrics")[2].decode()))
    healthy = {s.labels["camera"]: s.value for f in families for s in f.samples if s.name == "stream_segment_healthy"}
    assert healthy == {"hall": 1, "Straße": 1, "cellar": 0}


def test_events(run):
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    connection.request("GET", "/api/events")
    with contextlib.closing(connection), connection.getresponse() as answer:
        line = answer.readline()
        assert [one["name"] for one in json.loads(line.removeprefix(b"data: "))["cameras"]] == [
            "hall",
            "Straße",
            "cellar",
        ]


def test_without_the_token_only_the_health_of_all_is_public():
    with served_cameras("hall", serve={"token": TOKEN}) as run:
        paths = ["/", "/live", "/api/status", "/api/events", "/metrics", "/cameras/hall/", "/cameras/hall/healthz"]
        assert [run.get(path)[0] for path in [*paths, "/cameras/absent/"]] == [401] * 8
        assert run.get("/healthz")[0] in (200, 503)
        status, headers, _ = run.get(f"/cameras/hall/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/cameras/hall/")


def test_cameras_that_come_and_go(run):
    run.cameras.add({"name": "new", "uri": "test:"})
    run.until_state("new", "")
    assert run.get("/cameras/new/")[0] == 200
    run.cameras.remove("new")
    run.until(lambda: run.get("/cameras/new/")[0] == 404)
    assert [one["name"] for one in run.json("/api/status")["cameras"]] == ["hall", "Straße", "cellar"]
