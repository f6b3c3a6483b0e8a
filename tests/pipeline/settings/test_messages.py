"""The words for wrong settings, as from Python."""

import pytest

from pipeline.errors import InputError
from pipeline.settings.schema import Settings

LINE = "lines.0.points: expected a line between different points"
ZONE = "zones.0.points: expected a polygon with an area"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": {"classes": "person"}}, "model.classes: expected a list such as [a, b], got 'person'"),
        ({"serve": {"address": "x"}}, "serve.address: expected [HOST:]PORT such as 8080 or 0.0.0.0:8080, got 'x'"),
        ({"window": {"cursor": "perhaps"}}, "window.cursor: expected true or false, got 'perhaps'"),
        ({"source": {"max_frames": 2.5}}, "source.max_frames: expected a whole number, got 2.5"),
        ({"source": {"width": None, "fps": "fast"}}, "source.fps: expected a number, got 'fast'"),
        ({"source": {"fps": float("nan")}}, "source.fps: expected a finite number, got nan"),
        ({"window": {"title": [1]}}, "window.title: expected text, got [1]"),
        ({"model": {"max_dim": 500}}, "model.max_dim: expected a multiple of 64, got 500"),
        ({"model": {"max_dim": 64}}, "model.max_dim: expected at least 128, got 64"),
        ({"model": {"nms_threshold": 0}}, "model.nms_threshold: expected more than 0, got 0"),
        ({"overlay": {"mask_threshold": 1}}, "overlay.mask_threshold: expected less than 1, got 1"),
        ({"output": {"crf": 52}}, "output.crf: expected at most 51, got 52"),
        ({"virtual_camera": {"device": ""}}, "virtual_camera.device: expected at least 1 character, got ''"),
        ({"privacy": {"classes": []}}, "privacy.classes: expected at least 1 value, got []"),
        ({"privacy": {"color": "red"}}, "privacy.color: expected #rrggbb such as #1f4e79, got 'red'"),
        ({"progress": "slow"}, "progress: expected 'auto', 'bar', 'lines' or 'off', got 'slow'"),
        ({"lines": [{"name": "door"}]}, "lines.0.points is missing"),
        (
            {"cameras": [{"name": "a", "uri": "test:"}, {"name": "a", "uri": "test:"}]},
            "cameras: two are named a: each needs a name of its own",
        ),
        ({"source": 3}, "source is a group of settings, got a value of type int"),
        ("config.yaml", "expected settings, or a dictionary of them, got a value of type str"),
        ({"lines": [{"name": "a", "points": [[1, 2], [1, 2]]}]}, f"{LINE}, got [[1, 2], [1, 2]]"),
        ({"zones": [{"name": "a", "points": [[0, 0], [1, 1], [3, 3]]}]}, f"{ZONE}, got [[0, 0], [1, 1], [3, 3]]"),
        ({"zones": [{"name": "a", "points": [[1, 1], [1, 1], [1, 1]]}]}, f"{ZONE}, got [[1, 1], [1, 1], [1, 1]]"),
        ({"overlay": {"label": True}}, "unknown setting overlay.label; did you mean overlay.labels?"),
        ({"serve": {"token": "secret"}}, "serve.token: expected at least 12 characters, got 6 characters"),
    ],
)
def test_each_mistake_is_one_line(values, message):
    with pytest.raises(InputError) as caught:
        Settings.model_validate(values)
    assert str(caught.value) == message


def test_all_mistakes_are_named_also_by_the_constructor():
    with pytest.raises(InputError) as caught:
        Settings(progress="slow", model={"max_dim": 64})
    assert str(caught.value).split("; ") == [
        "model.max_dim: expected at least 128, got 64",
        "progress: expected 'auto', 'bar', 'lines' or 'off', got 'slow'",
    ]
