"""Whether anybody can be recognized in what leaves a run with privacy on, at every exit, by day and by night."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from pipeline.records import SourceKind
from tests.pipeline.privacy.engines import Failing, Hanging, Held, Late, Prompt, Repeating, Scripted
from tests.pipeline.privacy.exits import (
    EXACT,
    EXITS,
    KEYFRAMES,
    LIVE_PHOTOGRAPHS,
    PHOTOGRAPHS,
    RECORDED,
    SMOOTH,
    VIDEO_EXITS,
    run,
)
from tests.pipeline.privacy.film import DAY, FRAMES, MOST_UNCOVERED, NIGHT, PERSON_HW, WIDTH, Film
from tests.pipeline.privacy.several_cameras import run_cameras

LIGHTS = pytest.mark.parametrize("light", [DAY, pytest.param(NIGHT, marks=pytest.mark.slow)], ids=["day", "night"])


def assert_nobody_recognized(seen, footage):
    assert set(seen.exits) == (EXITS if footage.kind is SourceKind.STILLS else VIDEO_EXITS)
    assert {name: share for name, share in seen.worst().items() if share > footage.most_uncovered} == {}


@pytest.mark.parametrize("footage", [EXACT, SMOOTH], ids=["exact", "smooth"])
@LIGHTS
@pytest.mark.parametrize("engine", [Prompt, Late, Repeating, Hanging, Failing])
def test_nobody_can_be_recognized_at_any_exit(tmp_path, engine, light, footage):
    seen = run(tmp_path, engine, Film(light), footage)
    assert_nobody_recognized(seen, footage)
    assert seen.background_share() > 0.1, "a picture that is all covered proves nothing"


@LIGHTS
@pytest.mark.parametrize("engine", [Prompt, Held, Failing])
def test_nobody_can_be_recognized_between_keyframes_of_a_file(tmp_path, engine, light):
    seen = run(tmp_path, engine, Film(light), KEYFRAMES)
    assert_nobody_recognized(seen, KEYFRAMES)
    assert seen.background_share() > 0.1
    shown = [index for index, _ in seen.exits["script"]]
    assert shown == list(range(28 if engine is Failing else FRAMES))


@LIGHTS
def test_nobody_can_be_recognized_in_photographs(tmp_path, light):
    seen = run(tmp_path, Prompt, Film(light), PHOTOGRAPHS)
    assert_nobody_recognized(seen, PHOTOGRAPHS)
    assert seen.background_share() == 1.0


@pytest.mark.parametrize("engine", [Late, Repeating, Hanging, Failing])
def test_nobody_can_be_recognized_in_photographs_that_do_not_wait_for_their_result(tmp_path, engine):
    seen = run(tmp_path, engine, Film(), LIVE_PHOTOGRAPHS)
    assert_nobody_recognized(seen, LIVE_PHOTOGRAPHS)


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_nobody_can_be_recognized_in_a_blur_or_in_cells(tmp_path, mode):
    """Silhouettes above are flat; a gradient correlates with the texture of a block now and then, by chance."""
    seen = run(tmp_path, Late, Film(), SMOOTH, mode)
    assert max(seen.worst().values()) <= MOST_UNCOVERED
    assert seen.background_share() > 0.1


@pytest.mark.parametrize("footage", [EXACT, SMOOTH, KEYFRAMES, PHOTOGRAPHS], ids=["exact", "smooth", "keys", "photos"])
@LIGHTS
def test_without_privacy_every_exit_that_has_pixels_fails_the_proof(tmp_path, light, footage):
    worst = run(tmp_path, Prompt, Film(light), footage, mode="off").worst()
    assert set(worst) == (EXITS if footage.kind is SourceKind.STILLS else VIDEO_EXITS)
    assert {name for name, share in worst.items() if share < 0.6} == {"JSON masks"}


RUNS = int(os.environ.get("STREAM_SEGMENT_PRIVACY_RUNS", "8"))
"""How many runs hypothesis makes up; each takes a few seconds."""
MADE_UP = settings(
    max_examples=RUNS,
    deadline=None,
    database=None,
    derandomize=RUNS < 20,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SAFE_FRAMES = 26
"""So long no frame of a file fails, since that ends the run."""


@st.composite
def films(draw, is_live):
    """Somebody who walks or stands, with or without cuts, pans, dusk, and a change of the size."""
    some_frame = st.none() | st.integers(5, FRAMES - 5)
    return Film(
        light=draw(st.sampled_from([DAY, NIGHT])),
        start=draw(st.integers(-PERSON_HW[1], WIDTH)),
        step=draw(st.integers(-8, 8)),
        pan=draw(st.sampled_from([0, 0, 1, 3])),
        cuts=tuple(draw(st.lists(st.integers(5, FRAMES - 5), max_size=2, unique=True))),
        dusk=draw(some_frame),
        enlarged=draw(some_frame) if is_live else None,
    )


@st.composite
def scripts(draw, footage):
    """What the engine does with each frame: mostly the same for a while."""
    actions = ["prompt", "prompt", "repeat", *(["raise"] if footage is not PHOTOGRAPHS else [])]
    if footage in (EXACT, SMOOTH, RECORDED):
        actions += [1, 3, 9]
    if footage in (EXACT, SMOOTH):
        actions += ["hang"]
    script = []
    while len(script) < FRAMES:
        action = draw(st.sampled_from(actions))
        rare = action in ("hang", "raise")
        if rare and not footage.is_live and len(script) < SAFE_FRAMES:
            action = "prompt"
        script += [action] * (1 if rare else draw(st.integers(2, 15)))
    return tuple(script[:FRAMES])


@st.composite
def conditions(draw):
    """A film, what it comes from, the engine, the mode, and when the window is paused."""
    footage = draw(st.sampled_from([EXACT, SMOOTH, RECORDED, KEYFRAMES, PHOTOGRAPHS]))
    engine = type("Engine", (Scripted,), {"script": draw(scripts(footage))})
    if footage is RECORDED:
        batch, engine.workers = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        engine.ahead = batch * (engine.workers + 2)
        footage = replace(footage, settings={**footage.settings, "model": {"batch_size": batch}})
    press = draw(st.lists(st.integers(5, FRAMES - 5), max_size=2)) if footage.is_live else ()
    return (
        draw(films(footage.is_live)),
        footage,
        engine,
        draw(st.sampled_from(["silhouette", "blur", "pixelate"])),
        press,
    )


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * RUNS)
@MADE_UP
@given(conditions())
def test_nobody_can_be_recognized_whatever_happens(condition):
    film, footage, engine, mode, press = condition
    note(f"{film}, {footage}, workers {engine.workers}, {mode}, pauses {press}, {engine.script}")
    with tempfile.TemporaryDirectory() as folder:
        worst = run(Path(folder), engine, film, footage, mode, press).worst()
    most = footage.most_uncovered if mode == "silhouette" else MOST_UNCOVERED
    assert {name: share for name, share in worst.items() if share > most} == {}


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * RUNS)
@MADE_UP
@given(st.data())
def test_nobody_can_be_recognized_by_any_of_several_cameras(data):
    footage = data.draw(st.sampled_from([EXACT, SMOOTH]))
    made = [replace(data.draw(films(is_live=True)), camera=number) for number in range(data.draw(st.integers(2, 3)))]
    script, mode = data.draw(scripts(footage)), data.draw(st.sampled_from(["silhouette", "pixelate"]))
    with tempfile.TemporaryDirectory() as folder:
        seen = run_cameras(Path(folder), made, footage, script, mode)
    most = footage.most_uncovered if mode == "silhouette" else MOST_UNCOVERED
    for one in seen:
        assert set(one.exits) == {"script", "script, drawn", "file", "JSON masks"}
        assert {name: share for name, share in one.worst().items() if share > most} == {}


@pytest.mark.slow
def test_without_privacy_several_cameras_fail_the_proof(tmp_path):
    seen = run_cameras(tmp_path, [Film(camera=0), Film(start=200, step=-3, camera=1)], SMOOTH, ("prompt",), "off")
    for one in seen:
        assert {name for name, share in one.worst().items() if share < 0.6} == {"JSON masks"}
