import pytest
from pydantic import ValidationError

from pipeline.settings.model_settings import Device
from pipeline.settings.presentation_settings import BackgroundMode
from pipeline.settings.schema import Settings


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().progress = "off"


def test_enums_are_read_from_their_words():
    assert Settings.model_validate({"model": {"device": "gpu"}}).model.device is Device.GPU


def paths_of_floats(section, path=()):
    """The paths of all settings that are numbers with a fraction."""
    for name, field in section.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from paths_of_floats(field.annotation, (*path, name))
        elif "float" in str(field.annotation) and "tuple" not in str(field.annotation):
            yield (*path, name)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_no_number_is_infinite_or_nan(number):
    paths = list(paths_of_floats(Settings))
    assert ("source", "duration_s") in paths
    assert len(paths) > 20
    for path in paths:
        values = number
        for key in reversed(path):
            values = {key: values}
        with pytest.raises(ValidationError):
            Settings.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"source": {"width": 8}},
        {"source": {"fps": 0}},
        {"source": {"start_s": -1}},
        {"source": {"start_s": float("nan")}},
        {"source": {"duration_s": 0}},
        {"source": {"max_frames": 0}},
        {"source": {"reconnect": {"read_timeout_s": 0.1}}},
        {"model": {"max_dim": 500}},
        {"model": {"nms_threshold": 0}},
        {"overlay": {"mask_threshold": 1.0}},
        {"output": {"crf": 52}},
        {"serve": {"address": "localhost"}},
        {"serve": {"token": "too short"}},
        {"serve": {"max_viewers": 0}},
        {"output": {"preset": "warp"}},
        {"tracking": {"max_lost_s": -0.1}},
        {"tracking": {"smoothing": 1.01}},
        {"lines": [{"name": "", "points": [[0, 0], [1, 1]]}]},
        {"lines": [{"name": "a", "points": [[0, 0]]}]},
        {"lines": [{"name": "a", "points": [[0, 0], [1, float("inf")]]}]},
        {"zones": [{"name": "a", "points": [[0, 0], [1, 1]]}]},
        {"nonsense": 1},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


def test_nothing_of_it_is_on_by_itself():
    settings = Settings()
    assert not settings.privacy.on
    assert settings.background.mode.value == "off"
    assert settings.attract.after_s is None
    assert not settings.supervision.restart
    assert settings.virtual_camera.device is None
    assert settings.output.segment_s is None


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("privacy", {"mode": "fog"}),
        ("privacy", {"classes": []}),
        ("privacy", {"color": "red"}),
        ("privacy", {"cells": 1}),
        ("privacy", {"late_after_s": 0}),
        ("background", {"edge": 0.3}),
        ("background", {"color": "#12345"}),
        ("attract", {"after_s": 0}),
        ("supervision", {"timeout_s": 0}),
        ("supervision", {"restarts": -1}),
        ("window", {"monitor": -1}),
        ("output", {"segment_s": 0.5}),
        ("output", {"keep_bytes": 10}),
        ("virtual_camera", {"device": ""}),
    ],
)
def test_what_cannot_be_meant_is_refused(section, values):
    with pytest.raises(ValidationError, match=f"{section}.{next(iter(values))}"):
        Settings.model_validate({section: values})


def switched_on(**values):
    """The switches of the overlay that are on."""
    overlay = Settings.model_validate(values).overlay
    names = ("masks", "boxes", "labels", "scores", "ids", "status", "places")
    return {name for name in names if getattr(overlay, name)}


def test_looks_are_sets_of_switches():
    assert switched_on() == {"masks", "labels", "scores", "places"}
    assert switched_on(overlay={"look": "clean"}) == {"masks", "places"}
    assert switched_on(overlay={"look": "call"}) == set()
    assert switched_on(overlay={"look": "tutorial"}) == {"masks", "boxes", "labels", "scores"}
    assert switched_on(overlay={"look": "debug"}) == {"masks", "boxes", "labels", "scores", "ids", "status", "places"}


def test_switches_lie_over_the_look():
    assert switched_on(overlay={"look": "debug", "status": False, "masks": None}) == {
        *("masks", "boxes", "labels", "scores", "ids", "places")
    }
    assert switched_on(overlay={"masks": False}) == {"boxes", "labels", "scores", "places"}
    with pytest.raises(ValidationError, match=r"overlay\.look"):
        Settings.model_validate({"overlay": {"look": "loud"}})


@pytest.mark.parametrize("effect", [{"background": {"mode": "blur"}}, {"privacy": {"mode": "pixelate"}}])
def test_nothing_lies_over_background_and_privacy_unless_it_is_named(effect):
    assert switched_on(**effect) == {"places"}
    assert switched_on(**effect, overlay={"look": None}) == {"places"}
    assert switched_on(**effect, overlay={"look": "clean", "masks": True}) == {"masks", "places"}
    assert switched_on(**effect, overlay={"look": "labels"}) == {"masks", "labels", "scores", "places"}
    assert switched_on(**effect, overlay={"labels": True}) == {"labels", "places"}


def test_a_call_has_a_background():
    assert Settings.model_validate({"overlay": {"look": "call"}}).background.mode is BackgroundMode.BLUR
    given = {"overlay": {"look": "call"}, "background": {"mode": "color", "color": "#112233"}}
    assert Settings.model_validate(given).background.mode is BackgroundMode.COLOR
    switched_off = {"overlay": {"look": "call"}, "background": {"mode": "off"}}
    assert Settings.model_validate(switched_off).background.mode is BackgroundMode.BLUR
