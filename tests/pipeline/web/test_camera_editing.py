"""Adding, changing and removing cameras: what is allowed, what is not, and what is written back."""

import stat
import sys
import threading

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.safe_uri import SourceUri
from pipeline.settings.loading import load_settings
from pipeline.web.camera_editing import is_allowed
from tests.pipeline.web.served import CONTROL
from tests.pipeline.web.served_cameras import DEADLINE_S, served_cameras

ALLOWED = ("rtsp://192.168.1.20", "http://cam.lan:8080", "rtsps://[fe80::1]/", "0", "test:320x240")


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://192.168.1.20",
        "rtsp://192.168.1.20/live?channel=1",
        "RTSP://192.168.1.20:554/live",
        "rtsp://user:p%40ss@192.168.1.20/live@2",
        "http://CAM.lan:8080/video.mjpg",
        "rtsps://[FE80::1]:322/x",
        "0",
        "test:320x240",
    ],
)
def test_allowed(uri):
    assert is_allowed(uri, ALLOWED)


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://192.168.1.21/live",
        "rtsp://192.168.1.20:8554/live",
        "http://192.168.1.20/live",
        "http://cam.lan/video.mjpg",  # port 80
        "rtsp://192.168.1.20@evil.example/live",
        "rtsp://evil.example/@192.168.1.20",
        "rtsp://evil.example#@192.168.1.20/",
        "rtsp://evil.example?@192.168.1.20/",
        "rtsp://evil.example\\@192.168.1.20/",
        "rtsp://a@evil.example@192.168.1.20/",
        "rtsp://192.168.1.20\n/live",
        "rtsp://192.168.1.20 /live",
        "rtsp://192.168.1.20/li ve",
        "rtsp://192.168.1.20.evil.example/",
        "rtsp://192.168.1.20:554:80/",
        "rtsp://xn--cam.lan/",
        "rtsp://cam\N{CYRILLIC SMALL LETTER A}.lan/",
        "concat:rtsp://192.168.1.20/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "1",
        " 0",
        "",
        "test:",
        "rtsp://",
    ],
)
def test_not_allowed(uri):
    assert not is_allowed(uri, ALLOWED)


def test_nothing_is_allowed_by_default():
    assert not any(is_allowed(uri, ()) for uri in ("0", "rtsp://192.168.1.20/", ""))


def editable(tmp_path=None, **values):
    file = {} if tmp_path is None else {"cameras_file": str(tmp_path / "cameras.yaml")}
    serve = {"edit_cameras": True, "camera_sources": ["test:320x240", "rtsp://cam.lan"], **file, **values}
    return served_cameras("hall", "gate", serve=serve)


def names(run):
    return [one["name"] for one in run.json("/api/status")["cameras"]]


def test_add_change_and_remove():
    with editable() as run:
        run.until_state("hall", "")
        shown = run.cameras.entries["hall"].ledger
        status, answer = run.post("/api/cameras/add", {"name": "roof", "uri": "test:320x240", "weight": 2.0})
        assert status == 200
        assert [one["name"] for one in answer["cameras"]] == ["hall", "gate", "roof"]
        assert answer["editable"] is True
        run.until_state("roof", "")
        assert run.get("/cameras/roof/")[0] == 200
        assert run.post("/api/cameras/change", {"camera": "gate", "uri": "rtsp://cam.lan/live"})[0] == 200
        assert names(run) == ["hall", "gate", "roof"]  # each in its place
        gate = run.cameras.settings.cameras[1]
        assert gate.uri.reveal() == "rtsp://cam.lan/live"
        assert run.post("/api/cameras/remove", {"camera": "roof"})[0] == 200
        assert names(run) == ["hall", "gate"]
        assert run.cameras.entries["hall"].ledger is shown  # the others ran on


def test_a_camera_that_gets_another_source_keeps_its_own_settings():
    with editable() as run:
        run.cameras.add({"name": "vault", "uri": "test:", "weight": 2.0, "privacy": {"mode": "blur"}})
        assert run.post("/api/cameras/change", {"camera": "vault", "uri": "test:320x240"})[0] == 200
        entry = run.cameras.entries["vault"]
        assert entry.settings.source.uri.reveal() == "test:320x240"
        assert entry.settings.privacy.mode.value == "blur"
        assert run.cameras.settings.cameras[-1].weight == 2.0
        assert entry.enabled


def test_the_last_camera_that_runs_gets_another_source_and_the_run_goes_on(monkeypatch):
    with editable() as run:
        run.until_state("hall", "")
        run.sources["hall"].interrupt()
        run.until_state("hall", "ended")
        refresh, looked = run.cameras._refresh, threading.Event()
        monkeypatch.setattr(run.cameras, "_refresh", lambda wait_s: refresh(wait_s) or looked.set())
        add = run.cameras.add

        def add_late(*arguments):
            for _ in range(2):  # the run looks at its cameras while this one is away
                looked.clear()
                assert looked.wait(DEADLINE_S)
            add(*arguments)

        monkeypatch.setattr(run.cameras, "add", add_late)
        assert run.post("/api/cameras/change", {"camera": "gate", "uri": "test:320x240"})[0] == 200
        run.until_state("gate", "")
        assert names(run) == ["hall", "gate"]


def test_recordings_of_a_camera_stay_when_it_is_changed(tmp_path):
    with served_cameras("hall", "gate", serve={"edit_cameras": True}, output={"record_dir": str(tmp_path)}) as run:
        run.until_state("hall", "")
        for count in (1, 2):
            run.post("/cameras/hall/api/recording", {"on": True})
            run.until(lambda: run.json("/cameras/hall/api/status")["recording"]["file"] is not None)
            assert run.post("/api/cameras/change", {"camera": "hall", "weight": 2.0})[0] == 200
            listed = run.json("/cameras/hall/api/recordings")["recordings"]
            assert [one["writing"] for one in listed] == [False] * count
            run.until_state("hall", "")
        assert sorted(one["name"] for one in listed) == sorted(path.name for path in tmp_path.iterdir())


def camera_of(run, name):
    (one,) = [camera for camera in run.cameras.settings.cameras if camera.name == name]
    return one


def test_a_sub_stream_is_added_and_changed_and_ends_with_its_source():
    """That of another camera would put masks where nobody is, and leave people uncovered."""
    with editable() as run:
        roof = {"name": "roof", "uri": "rtsp://cam.lan/live", "detect_uri": "rtsp://cam.lan/sub"}
        assert run.post("/api/cameras/add", roof)[0] == 200
        assert run.cameras.entries["roof"].settings.source.detect_uri.reveal() == "rtsp://cam.lan/sub"
        assert run.post("/api/cameras/change", {"camera": "roof", "weight": 2.0})[0] == 200
        assert camera_of(run, "roof").detect_uri.reveal() == "rtsp://cam.lan/sub"
        assert run.post("/api/cameras/change", {"camera": "roof", "detect_uri": "rtsp://cam.lan/sub2"})[0] == 200
        assert camera_of(run, "roof").detect_uri.reveal() == "rtsp://cam.lan/sub2"
        assert camera_of(run, "roof").uri.reveal() == "rtsp://cam.lan/live"
        assert run.post("/api/cameras/change", {"camera": "roof", "uri": "rtsp://cam.lan/other"})[0] == 200
        assert camera_of(run, "roof").detect_uri is None
        assert camera_of(run, "roof").weight == 2.0


def test_what_may_be_shown_of_addresses_is_sent_to_those_who_may_change_them():
    def shown(run):
        return [(one.get("source"), one.get("sub_stream")) for one in run.json("/api/status")["cameras"]]

    with editable() as run:
        secret = "rtsp://joe:secret-word@cam.lan/live?key=secret-key"
        run.post("/api/cameras/add", {"name": "roof", "uri": secret, "detect_uri": "rtsp://cam.lan/sub/secretword"})
        assert shown(run) == [("test:", None)] * 2 + [("rtsp://***@cam.lan/live?***", "rtsp://cam.lan/sub/***")]
    with served_cameras("hall") as run:
        assert shown(run) == [(None, None)]


def test_the_last_camera_stays_where_changes_are_written_back(tmp_path):
    with editable(tmp_path) as run:
        assert run.post("/api/cameras/remove", {"camera": "hall"})[0] == 200
        status, answer = run.post("/api/cameras/remove", {"camera": "gate"})
        assert (status, names(run)) == (409, ["gate"])
        assert "the last camera cannot be removed" in answer["error"]


def test_variables_of_a_camera_stay_until_its_source_is_another(monkeypatch, tmp_path):
    monkeypatch.setenv("ROOF", "rtsp://user:secret-word@cam.lan/live")
    monkeypatch.setenv("ROOF_SUB", "rtsp://user:secret-word@cam.lan/sub")
    with editable(tmp_path) as run:
        run.cameras.add({"name": "roof", "uri_env": "ROOF", "detect_uri_env": "ROOF_SUB", "enabled": False})
        assert run.post("/api/cameras/change", {"camera": "roof", "weight": 2.0})[0] == 200
        written = yaml.safe_load((tmp_path / "cameras.yaml").read_text())["cameras"][-1]
        assert {key: written[key] for key in written if "uri" in key} == {
            "uri_env": "ROOF",
            "detect_uri_env": "ROOF_SUB",
        }
        run.post("/api/cameras/change", {"camera": "roof", "detect_uri": "rtsp://cam.lan/sub"})
        assert camera_of(run, "roof").addresses == {"uri_env": "ROOF", "detect_uri": SourceUri("rtsp://cam.lan/sub")}
        run.post("/api/cameras/change", {"camera": "roof", "uri": "rtsp://cam.lan/live"})
        assert camera_of(run, "roof").addresses == {"uri": SourceUri("rtsp://cam.lan/live")}


@pytest.mark.parametrize(
    ("path", "change", "status", "text"),
    [
        (
            "add",
            {"name": "x", "uri": "test:320x240", "detect_uri": "http://evil.example/"},
            403,
            "serve.camera_sources",
        ),
        ("add", {"name": "x", "uri": "test:320x240", "detect_uri": "/etc/passwd"}, 403, "serve.camera_sources"),
        ("add", {"name": "x", "uri": "test:320x240", "detect_uri": ""}, 403, "serve.camera_sources"),
        ("change", {"camera": "hall", "detect_uri": "rtsp://evil.example/"}, 403, "serve.camera_sources"),
        ("change", {"camera": "hall", "detect_uri_env": "HOME"}, 400, "detect_uri_env"),
        ("add", {"name": "x", "uri": "/etc/passwd"}, 403, "serve.camera_sources"),
        ("add", {"name": "x", "uri": "0"}, 403, "serve.camera_sources"),
        ("add", {"name": "Hall", "uri": "test:320x240"}, 409, "Name: there is a camera hall already"),
        ("add", {"name": "../x", "uri": "test:320x240"}, 400, "Name: expected a name of letters"),
        ("add", {"uri": "test:320x240"}, 400, "Name: field required"),
        ("add", {"name": "x", "uri": "rtsp://cam.lan/a?***"}, 400, "Address: expected a camera number"),
        ("add", {"name": "x", "uri": "test:320x240", "detect_uri": "rtsp://***@cam.lan"}, 400, "Sub-stream: expected"),
        ("add", {"name": "x", "uri": "test:320x240", "weight": 0.0}, 400, "weight: expected at least 0.01"),
        ("add", {"name": "x", "uri": "test:320x240", "output": {"path": "/tmp/x.mp4"}}, 400, "output"),
        ("add", {"name": "x"}, 400, "Address: field required"),
        ("change", {"camera": "absent", "uri": "test:320x240"}, 404, "no camera"),
        ("change", {"camera": "hall", "uri": "http://evil.example/"}, 403, "serve.camera_sources"),
        ("change", {"camera": "hall", "uri": "rtsp://***@cam.lan/a"}, 400, "Address: expected a camera number"),
        ("change", {"camera": "hall", "detect_uri": "rtsp://***@cam.lan"}, 400, "Sub-stream: expected a camera number"),
        ("change", {"camera": "hall", "weight": -1.0}, 400, "weight: expected at least 0.01"),
        ("remove", {"camera": "absent"}, 404, "no camera"),
    ],
)
def test_what_is_refused_changes_nothing(path, change, status, text):
    with editable() as run:
        before, entries = run.cameras.settings, run.cameras.entries
        got, answer = run.post(f"/api/cameras/{path}", change)
        assert (got, text in answer["error"]) == (status, True), answer
        assert run.cameras.settings is before
        assert run.cameras.entries is entries


def test_editing_is_off_by_default_and_refused_to_other_sites():
    changes = {"add": {"name": "x", "uri": "test:320x240"}, "change": {"camera": "hall"}, "remove": {"camera": "hall"}}
    with served_cameras("hall", serve={"camera_sources": ["test:320x240"]}) as run:
        for path, change in changes.items():
            status, answer = run.post(f"/api/cameras/{path}", change)
            assert (status, answer["error"].partition(":")[0]) == (403, "cameras cannot be edited here")
        assert run.json("/api/status")["editable"] is False
    with editable() as run:
        for path, change in changes.items():
            for headers in ({"Content-Type": "application/json"}, CONTROL | {"Origin": "http://evil.example"}):
                assert run.post(f"/api/cameras/{path}", change, headers)[0] == 403
        assert names(run) == ["hall", "gate"]


def test_changes_are_written_back(tmp_path):
    file = tmp_path / "cameras.yaml"
    with editable(tmp_path) as run:
        assert not file.exists()
        secret = "rtsp://user:secret-word@cam.lan/live"
        run.post("/api/cameras/add", {"name": "roof", "uri": secret, "detect_uri": f"{secret}2", "weight": 0.5})
        run.post("/api/cameras", {"camera": "gate", "enabled": False})
        run.post("/api/cameras/remove", {"camera": "hall"})
        assert b"secret-word" not in run.get("/api/status")[2] + run.get("/cameras/roof/api/status")[2]
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = load_settings(file)
    read = [(camera.name, camera.uri.reveal(), camera.enabled, camera.weight) for camera in settings.cameras]
    assert read == [("gate", "test:", False, 1.0), ("roof", secret, True, 0.5)]
    assert settings.cameras[1].detect_uri.reveal() == f"{secret}2"
    assert settings.serve.edit_cameras
    assert not settings.tracking.enabled  # everything else too
    with editable(tmp_path) as run:  # the next run may replace what the program has written
        run.post("/api/cameras/remove", {"camera": "gate"})
    assert [camera["name"] for camera in yaml.safe_load(file.read_text())["cameras"]] == ["hall"]


def test_a_file_of_the_user_is_not_replaced(tmp_path):
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: []  # mine\n")
    with pytest.raises(InputError, match="the program did not write it"), editable(tmp_path):
        pass
    assert file.read_text() == "cameras: []  # mine\n"


def test_a_file_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    with editable(tmp_path) as run:
        monkeypatch.setattr("pipeline.web.camera_editing.replace_file", refuse)
        status, answer = run.post("/api/cameras/remove", {"camera": "gate"})
        assert (status, answer["error"]) == (
            500,
            "done, but serve.cameras_file cannot be written: No space left on device",
        )
        assert names(run) == ["hall"]
