"""The entries of `cameras`: what they lie over, what they may not set, and what of them is printed."""

from pathlib import Path

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.safe_uri import SourceUri
from pipeline.settings.camera_settings import laid_over, unique_names
from pipeline.settings.loading import dump_settings, load_settings
from pipeline.settings.output_settings import Look, OverlaySettings
from pipeline.settings.schema import Settings


def with_cameras(*cameras, **values):
    return Settings.model_validate({**values, "cameras": list(cameras)})


def own(settings, index):
    return settings.of_camera(settings.cameras[index])


def test_a_cameras_sections_lie_over_the_runs_key_by_key():
    settings = with_cameras(
        {"name": "hall", "uri": "0"},
        {"name": "gate", "uri": "1", "weight": 2, "overlay": {"mask_alpha": 0.1}, "lines": [], "presentation": "exact"},
        overlay={"mask_alpha": 0.2, "boxes": True},
        lines=[{"name": "door", "points": [[0, 0], [1, 1]]}],
        source={"uri": "7", "fps": 5},
    )
    hall, gate = own(settings, 0), own(settings, 1)
    assert (hall.source.uri.reveal(), hall.source.fps, hall.overlay.mask_alpha) == ("0", 5, 0.2)
    assert (gate.source.uri.reveal(), gate.source.fps, gate.overlay.mask_alpha) == ("1", 5, 0.1)
    assert gate.overlay.boxes
    assert (len(hall.lines), len(gate.lines), gate.presentation.value) == (1, 0, "exact")
    assert [(camera.weight, camera.enabled) for camera in settings.cameras] == [(1.0, True), (2.0, True)]
    assert gate.cameras == ()


def test_a_look_and_privacy_of_a_camera_are_resolved_as_in_a_run_of_its_own():
    settings = with_cameras(
        {"name": "a", "uri": "0", "overlay": {"look": "clean"}},
        {"name": "b", "uri": "1", "privacy": {"mode": "blur"}},
        overlay={"masks": None},
    )
    assert own(settings, 0).overlay == OverlaySettings(look=Look.CLEAN)
    assert own(settings, 1).overlay == Settings.model_validate({"privacy": {"mode": "blur"}}).overlay


def test_the_name_stands_in_paths_of_outputs():
    paths = {"output": {"path": "out/{camera}.mp4"}, "detections": {"path": "{camera}.jsonl"}}
    settings = with_cameras({"name": "hall", "uri": "0"}, {"name": "gate", "uri": "1"}, **paths)
    assert own(settings, 0).output.path == "out/hall.mp4"
    assert own(settings, 1).detections.path == "gate.jsonl"
    assert settings.output.path == "out/{camera}.mp4"


def test_all_may_write_to_standard_output():
    with_cameras({"name": "hall", "uri": "0"}, {"name": "gate", "uri": "1"}, detections={"path": "-"})


HALL = {"name": "hall", "uri": "0"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cameras": [{"name": "hall"}]}, "cameras.0.uri is missing"),
        ({"cameras": [HALL, {"name": "HALL", "uri": "1"}]}, "two are named HALL"),
        ({"cameras": [{"name": "a/b", "uri": "0"}]}, "cameras.0.name: expected a name of letters"),
        ({"cameras": [{"name": "", "uri": "0"}]}, "cameras.0.name: expected a name of letters"),
        ({"cameras": [HALL | {"weight": 0}]}, "cameras.0.weight: expected at least 0.01, got 0"),
        ({"cameras": [HALL | {"overlai": {}}]}, "camera hall: unknown setting overlai; did you mean overlay?"),
        (
            {"cameras": [HALL | {"overlay": {"mask_alpha": 3}}]},
            "camera hall: overlay.mask_alpha: expected at most 1, got 3",
        ),
        ({"cameras": [HALL | {"overlay": 3}]}, "camera hall: overlay is a group of settings, got 3"),
        ({"cameras": [HALL | {"source": 3}]}, "camera hall: source is a group of settings, got a value of type int"),
        ({"cameras": [HALL | {"source": [{"fps": 5}]}]}, "camera hall: source is a group of settings, got a value of"),
        ({"cameras": [HALL | {"model": {"max_dim": 512, 3: 4}}]}, "camera hall: model.3 is a setting of the network"),
        ({"cameras": [HALL | {"model": {"max_dim": 512}}]}, "camera hall: model.max_dim is a setting of the network"),
        ({"cameras": [HALL | {"window": {}}]}, "camera hall: window is a setting of the whole run"),
        ({"cameras": [HALL | {"cameras": []}]}, "camera hall: cameras is a setting of the whole run"),
        ({"cameras": [HALL | {"source": {"uri": "1"}}]}, "camera hall: source.uri stands beside the name"),
        (
            {"cameras": [HALL | {"source": {"detect_uri": "1"}}]},
            "camera hall: source.detect_uri stands beside the name",
        ),
        ({"cameras": [HALL], "source": {"realtime": True}}, "source.realtime is a setting of one source"),
        (
            {"cameras": [HALL, {"name": "gate", "uri": "1"}], "output": {"path": "o.mp4"}},
            "output.path of the cameras hall and gate is the same, o.mp4: put {camera} into it",
        ),
        ({"cameras": [{"name": "hall", "uri_env": "NOT_SET_AT_ALL"}]}, "NOT_SET_AT_ALL is not set"),
    ],
)
def test_mistakes_are_one_line_that_names_the_camera(values, message):
    with pytest.raises(InputError) as caught:
        Settings.model_validate(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_file_has_its_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("cameras:\n- name: hall\n  uri: 0\n  motion:\n    carry: x\n")
    with pytest.raises(InputError, match=r"c\.yaml:5: camera hall: motion\.carry: expected 'flow' or 'hold', got 'x'"):
        load_settings(path)


SECRET = "rtsp://joe:hunter2@10.0.0.1/live"


def test_no_mistake_shows_a_secret():
    for cameras in (
        [HALL, {"name": "hall", "uri": SECRET}],
        [{"name": "x", "uri": [SECRET]}],
        [HALL | {"detect_uri": [SECRET]}],
        [HALL | {"source": SECRET}],
        {"uri": SECRET},
    ):
        with pytest.raises(InputError) as caught:
            Settings.model_validate({"cameras": cameras})
        assert "hunter2" not in str(caught.value)


def test_a_uri_may_stand_in_the_environment(monkeypatch):
    monkeypatch.setenv("GATE", SECRET)
    settings = with_cameras({"name": "gate", "uri_env": "GATE", "detect_uri_env": "GATE"})
    assert own(settings, 0).source.uri.reveal() == SECRET
    assert own(settings, 0).source.detect_uri.reveal() == SECRET
    assert "hunter2" not in repr(settings)


def test_a_sub_stream_is_a_cameras_own():
    settings = with_cameras(
        {"name": "hall", "uri": "0"}, {"name": "gate", "uri": "1", "detect_uri": "2"}, source={"detect_uri": "7"}
    )
    assert own(settings, 0).source.detect_uri is None
    assert own(settings, 1).source.detect_uri.reveal() == "2"


def test_addresses_are_as_the_entry_gives_them(monkeypatch):
    monkeypatch.setenv("GATE", SECRET)
    hall, gate = with_cameras(
        {"name": "hall", "uri": "0"}, {"name": "gate", "uri": "1", "detect_uri_env": "GATE"}
    ).cameras
    assert hall.addresses == {"uri": SourceUri("0")}
    assert gate.addresses == {"uri": SourceUri("1"), "detect_uri_env": "GATE"}


def test_what_is_printed_can_be_read_back(monkeypatch, tmp_path):
    settings = with_cameras(
        {"name": "hall", "uri": "0", "overlay": {"look": "clean"}, "weight": 2.0},
        {"name": "gate", "uri": SECRET, "privacy": {"mode": "blur"}, "source": {"fps": 5}, "enabled": False},
        {"name": "shed", "uri": "1", "detect_uri": f"{SECRET}2", "model": {"classes": ["dog"], "min_score": 0.2}},
        output={"path": "{camera}.mp4"},
        model={"max_dim": 512},
    )
    printed = dump_settings(settings)
    assert "hunter2" not in printed
    keys = [set(camera) - {"enabled", "name", "output", "weight"} for camera in yaml.safe_load(printed)["cameras"]]
    assert keys == [
        {"detect_uri", "detect_uri_env", "overlay", "uri", "uri_env"},
        {"detect_uri", "detect_uri_env", "overlay", "privacy", "source", "uri_env"},
        {"detect_uri_env", "model", "uri", "uri_env"},
    ]
    path = tmp_path / "printed.yaml"
    path.write_text(printed, encoding="utf-8")
    monkeypatch.setenv("STREAM_SEGMENT_SOURCE_2", SECRET)
    monkeypatch.setenv("STREAM_SEGMENT_DETECT_SOURCE_3", f"{SECRET}2")
    again = load_settings(path)
    assert [own(again, index) for index in range(3)] == [own(settings, index) for index in range(3)]
    assert [camera.enabled for camera in again.cameras] == [True, False, True]


def test_cameras_may_come_later():
    settings = with_cameras(HALL, overlay={"boxes": True})
    more = settings.with_cameras([*settings.cameras, {"name": "gate", "uri": "1", "overlay": {"labels": False}}])
    assert own(more, 1).overlay.boxes
    assert not own(more, 1).overlay.labels
    assert more.with_cameras([]).cameras == ()
    with pytest.raises(InputError, match="camera gate: unknown setting x"):
        settings.with_cameras([HALL, {"name": "gate", "uri": "1", "x": 1}])


def test_settings_with_cameras_keep_their_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("cameras: [{name: hall, uri: 0}]")
    settings = load_settings(path)
    assert own(settings, 0).loaded_from == settings.with_cameras(settings.cameras).loaded_from == Path(path)


def test_laid_over():
    below = {"a": {"x": 1, "y": 2}, "b": [1, 2], "c": OverlaySettings(boxes=True)}
    assert laid_over(below, {"a": {"y": 3}, "b": [3], "d": 4}) == {
        "a": {"x": 1, "y": 3},
        "b": [3],
        "c": below["c"],
        "d": 4,
    }
    assert laid_over(below, {"c": {"masks": False}})["c"]["boxes"]


def test_unique_names():
    assert unique_names(["a", "b", "A", "a-2", "a"]) == ["a", "b", "A-2", "a-2-2", "a-3"]
