"""The synthetic source: readable frame numbers, exact pace, checked syntax."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.sources.base import Pacer
from pipeline.sources.pattern import PatternSource, background, draw, read_frame_number
from tests.pipeline.sources.clips import write_clip
from tests.pipeline.sources.conftest import ManualClock


@pytest.mark.parametrize("size_wh", [(640, 360), (48, 48), (97, 333), (1920, 1080)])
@pytest.mark.parametrize("number", [0, 1, 2, 1_234_567, 2**24 - 1])
def test_frame_number_round_trip(size_wh: tuple[int, int], number: int) -> None:
    image = draw(background(*size_wh), number, Fraction(30))
    assert image.shape == (size_wh[1], size_wh[0], 3)
    assert read_frame_number(image) == number


def test_number_wraps_around() -> None:
    assert read_frame_number(draw(background(64, 48), 2**24 + 5, Fraction(30))) == 5


def test_number_survives_strong_compression(tmp_path: Path) -> None:
    images = [draw(background(320, 180), number, Fraction(30)) for number in range(1000, 1010)]
    capture = cv2.VideoCapture(str(write_clip(tmp_path / "a.mp4", images, options={"crf": "35"})))
    read = [capture.read()[1] for _ in images]
    capture.release()
    assert [read_frame_number(image) for image in read] == list(range(1000, 1010))


def test_equal_numbers_give_equal_pictures_and_others_differ() -> None:
    backdrop = background(320, 180)
    first, again, later = (draw(backdrop, number, Fraction(30)) for number in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first[:150] != later[:150]).any()


def test_live_pace_is_exact(clock: ManualClock) -> None:
    source = PatternSource("64x48@29.97", clock=clock, pacer=Pacer(clock, clock.wait))
    info = source.open()
    frames = [source.read() for _ in range(300)]
    assert info.kind is SourceKind.LIVE
    assert info.fps == pytest.approx(29.97)
    for number, frame in enumerate(frames):
        assert frame.index == number == read_frame_number(frame.image_bgr)
        assert frame.pts_s == pytest.approx(number / 29.97)
        assert frame.captured_at_s == pytest.approx(100 + number / 29.97, abs=1e-6)


def test_late_frames_are_not_delayed_further(clock: ManualClock) -> None:
    source = PatternSource("64x48@10", clock=clock, pacer=Pacer(clock, clock.wait))
    source.open()
    source.read()
    clock.advance(0.35)
    waited = len(clock.waits)
    assert [source.read().index for _ in range(3)] == [1, 2, 3]
    assert len(clock.waits) == waited
    source.read()
    assert clock.now_s == pytest.approx(100.4)


def test_recorded_is_not_paced(clock: ManualClock) -> None:
    source = PatternSource("64x48@5", kind=SourceKind.RECORDED, clock=clock, pacer=Pacer(clock, clock.wait))
    assert source.open().kind is SourceKind.RECORDED
    assert [source.read().pts_s for _ in range(3)] == pytest.approx([0, 0.2, 0.4])
    assert clock.waits == []


@pytest.mark.parametrize(
    ("spec", "size_wh", "fps"),
    [
        ("", (640, 360), 30),
        ("320x200", (320, 200), 30),
        ("@60", (640, 360), 60),
        ("64x48@30000/1001", (64, 48), 29.97003),
        ("64X48@0.5", (64, 48), 0.5),
    ],
)
def test_syntax(spec: str, size_wh: tuple[int, int], fps: float) -> None:
    info = PatternSource(spec).open()
    assert (info.width, info.height) == size_wh
    assert info.fps == pytest.approx(fps)


@pytest.mark.parametrize(
    "spec",
    [
        *("x", "640", "640x", "640x360@", "640x360@fast", "-640x360", "10x10", "640x99999", "@0", "@1001", "@1/0"),
        *("6 4", "9" * 5000 + "x360", "@" + "9" * 400, "@1/" + "9" * 5000, "@0." + "0" * 400 + "1"),
    ],
)
def test_bad_syntax_shows_the_right_syntax(spec: str) -> None:
    with pytest.raises(InputError, match=r"test:640x360@30"):
        PatternSource(spec)


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_interrupt_ends_it(kind: SourceKind) -> None:
    source = PatternSource("64x48@0.001", kind=kind)
    source.open()
    assert source.read() is not None
    source.interrupt()
    assert source.read() is None
