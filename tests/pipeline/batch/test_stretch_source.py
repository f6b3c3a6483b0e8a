"""Stretches of a recording give its frames, each once, same pixels and time stamps; or say that they cannot."""

import contextlib
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.batch import stretch_source
from pipeline.batch.inputs import recording_at
from pipeline.batch.stretch_source import StretchSource, seams_of
from pipeline.batch.stretches import SeamError, Splitting, stretches_between
from pipeline.sources.video import VideoFile
from tests.pipeline.batch.fakes import settings_of
from tests.pipeline.sources.clips import numbered, write_clip

B_FRAMES = {"g": "12", "bf": "3", "x264-params": "b-adapt=0:scenecut=0:open-gop=0"}
OPEN_GOP = {"g": "12", "bf": "3", "x264-params": "b-adapt=0:scenecut=0:open-gop=1:bframes=3"}
FRAMES = 60


def moving(count=FRAMES):
    """Numbered frames with noise that moves, so that each depends on the ones before."""
    noise = np.random.default_rng(5).integers(0, 255, (64, 400, 3), np.uint8)
    frames = []
    for number in range(count):
        frame = numbered(number).copy()
        frame[40:] = noise[40:, 3 * number : 3 * number + 96]
        frames.append(frame)
    return frames


def vfr_pts(count=FRAMES):
    """Steps of 20, 70 and 30 ms, in milliseconds."""
    return [number // 3 * 120 + (0, 20, 90)[number % 3] for number in range(count)]


KINDS = {
    "b_frames": ("a.mp4", {"options": B_FRAMES}),
    "open_gop": ("a.mp4", {"options": OPEN_GOP}),
    "one_gop": ("a.mp4", {"options": {"g": "250", "bf": "2"}}),
    "vfr": ("a.mkv", {"options": B_FRAMES, "pts": vfr_pts(), "time_base": Fraction(1, 1000)}),
    "sound": ("a.mov", {"options": B_FRAMES, "sound_s": 2.4}),
    "transport_stream": ("a.ts", {"options": B_FRAMES}),
    "transport_stream_open": ("a.ts", {"options": OPEN_GOP}),
    "webm": ("a.webm", {"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8"}}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return lambda name, **how: write_clip(folder / name, moving(), **how)


def frames_of(source):
    with source:
        return [
            (frame.index, frame.pts, frame.time_base, frame.image_bgr.tobytes()) for frame in iter(source.read, None)
        ]


def stretches_of(path, seams_ms):
    return stretches_between(recording_at(path.name, str(path)), seams_ms)


@pytest.mark.parametrize("kind", KINDS)
def test_stretches_together_are_the_whole(clip, kind):
    name, how = KINDS[kind]
    path = clip(f"{kind}{name[1:]}", **how)
    whole = frames_of(VideoFile(path))
    assert len(whole) == FRAMES
    found = []
    for stretch in stretches_of(path, (700, 1480, 1490, 2000)):
        part = frames_of(StretchSource(stretch))
        assert [frame[0] for frame in part] == list(range(len(part)))
        found += [frame[1:] for frame in part]
    assert found == [frame[1:] for frame in whole]


def test_decoding_begins_a_point_earlier_and_the_first_frames_are_compared(clip, monkeypatch):
    """Keyframes are at 0, 0.48, 0.96, 1.44 … s."""
    path = clip("points.mp4", options=B_FRAMES)
    begun, real = [], VideoFile.open

    def opened(self):
        info = real(self)
        begun.append(self.decoded_from_s)
        return info

    monkeypatch.setattr(VideoFile, "open", opened)
    frames_of(StretchSource(stretches_of(path, (1600,))[1]))
    assert begun == [1.44, 0.96]


def marked_as_keyframes(path):
    """A copy of a video in which every packet claims that decoding can begin with it."""
    copy = path.with_name(f"marked{path.suffix}")
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.is_keyframe, packet.stream = True, stream
                target.mux(packet)
    return copy


def test_a_recording_whose_frames_depend_on_where_decoding_begins(clip):
    path = marked_as_keyframes(clip("b.mkv", codec="mpeg4", options={"g": "250", "bf": "0"}))
    assert len(frames_of(VideoFile(path))) == FRAMES
    with pytest.raises(SeamError, match=r"its frames at 1\.2 s depend on where decoding begins"):
        frames_of(StretchSource(stretches_of(path, (1200,))[1]))


def test_a_recording_without_points_to_begin_at(clip, monkeypatch):
    """Keyframes are at 0 and 1.6 s: too far before 1.4 s, and the first one too far before the second."""
    monkeypatch.setattr(stretch_source, "FARTHEST_POINT_S", 1.0)
    path = clip("c.mp4", options={"g": "40", "x264-params": "scenecut=0"})
    for start_ms, named in ((1400, "1.4"), (1800, "1.6")):
        with pytest.raises(SeamError, match=f"decoding can begin nowhere in the 1 s before {named} s"):
            frames_of(StretchSource(stretches_of(path, (start_ms,))[1]))


def test_a_recording_whose_time_stamps_repeat(tmp_path):
    """The muxer keeps what it gets for 2 of 60 frames."""
    pts = [number * 40 - (40 if number == 50 else 0) for number in range(FRAMES)]
    path = tmp_path / "d.ts"
    write_clip(path, moving(), options={"bf": "0", "g": "12"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "e.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.dts is not None):
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = pts[number]
            target.mux(packet)
    first, second = stretches_of(tmp_path / "e.mkv", (1200,))
    assert len(frames_of(StretchSource(first))) == 30
    with pytest.raises(SeamError, match="its time stamps jump or repeat"):
        frames_of(StretchSource(second))


def test_a_stretch_behind_the_end(clip):
    path = clip("f.mp4", options=B_FRAMES)
    with pytest.raises(SeamError, match="no frame is at or after the start"):
        frames_of(StretchSource(stretches_of(path, (1000, 9000))[2]))


def test_a_stretch_without_frames(tmp_path):
    """Nothing happens between 0.4 s and 3.4 s."""
    pts = [number * 40 + (3000 if number > 10 else 0) for number in range(20)]
    path = write_clip(tmp_path / "gap.mkv", 20, options={"bf": "0"}, pts=pts, time_base=Fraction(1, 1000))
    counts = [len(frames_of(StretchSource(stretch))) for stretch in stretches_of(path, (1000, 2000))]
    assert counts == [11, 0, 9]


def test_what_a_stretch_says_of_itself(clip):
    path = clip("g.mp4", options=B_FRAMES)
    for stretch, frames in zip(stretches_of(path, (800, 1600)), (20, 20, 20), strict=True):
        with contextlib.closing(StretchSource(stretch)) as source:
            info = source.open()
        assert (info.frame_count, info.duration_s) == (frames, pytest.approx(0.8))


@pytest.mark.parametrize(
    ("name", "values", "seams"),
    [
        ("a.mp4", {}, [800, 1600]),
        ("a.avi", {}, []),  # stores no time stamps
        ("a.mp4", {"source": {"start_s": 0.5}}, []),
        ("a.mp4", {"source": {"duration_s": 2.0}}, []),
        ("a.mp4", {"source": {"max_frames": 50}}, []),
        ("a.mp4", {"motion": {"infer_every": 2}}, []),
        ("a.mp4", {"motion": {"infer_fps": 5}}, []),
        ("a.mp4", {"model": {"batch_size": 2}}, []),
    ],
)
def test_what_is_split(tmp_path, name, values, seams):
    path = write_clip(tmp_path / name, FRAMES)
    found, frames = seams_of(str(path), settings_of(**values), Splitting(0.8))
    assert (found, frames) == (seams, FRAMES if seams else None)


def test_what_cannot_be_opened_is_not_split(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert seams_of(str(tmp_path / "a.mp4"), settings_of(), Splitting(1.0)) == ([], None)
