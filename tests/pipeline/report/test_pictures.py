"""Whose pictures a report shows: with privacy only those of a redacted recording."""

from __future__ import annotations

import base64
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.report.pictures import find_pictures, jpeg_uri
from pipeline.settings.output_settings import RecorderSettings
from pipeline.settings.presentation_settings import PrivacyMode
from pipeline.sinks.recorder import Recorder
from tests.pipeline.report.recordings import recording
from tests.pipeline.report.stored import HEIGHT, RUN, WIDTH, line
from tests.pipeline.sinks.presentations import context, presentation

OFF, BLUR = PrivacyMode.OFF, PrivacyMode.BLUR


def video(path, privacy=OFF, size_wh=(WIDTH, HEIGHT)):
    """A recording whose frame i is gray of the level 20 i, at 10 frames a second; without a mode, it has no tag."""
    recorder = Recorder(RecorderSettings(path=str(path), min_free_bytes=0))
    with pytest.MonkeyPatch.context() as patch:
        if privacy is None:
            patch.setattr("pipeline.sinks.recorder.recording_tag", lambda privacy: {})
        recorder.open(replace(context(size_wh, fps=10), privacy=privacy or OFF))
    for i in range(10):
        recorder.write(presentation(i, 100 * i, np.full((size_wh[1], size_wh[0], 3), 20 * i, np.uint8)))
    recorder.close()
    return path


def clip(privacy="off", source="clip.mp4", first=0):
    run = {} if privacy is None else {"run": RUN | {"privacy": privacy}}
    return recording(line(first, source=source, **run), line(first + 1, source=source))


@pytest.mark.parametrize(
    ("asked", "is_in_video", "usable"),
    [
        ("off", OFF, True),
        ("off", BLUR, True),
        ("off", None, True),
        ("blur", BLUR, True),
        ("blur", PrivacyMode.SILHOUETTE, True),
        ("blur", OFF, False),
        ("blur", None, False),
        (None, BLUR, True),
        (None, OFF, True),
        (None, None, False),
    ],
)
def test_only_what_may_be_shown_is(tmp_path, asked, is_in_video, usable):
    path = video(tmp_path / "out.mp4", is_in_video)
    found = find_pictures(clip(asked), tmp_path / "out.jsonl")
    assert found.path == (path if usable else None)
    assert (found.picture(0.0) is not None) == usable
    if not usable:
        assert "redact" in found.text
        with pytest.raises(InputError, match=rf"--video {path}: .*redact"):
            find_pictures(clip(asked), tmp_path / "out.jsonl", path, required=True)


def test_the_recording_is_taken_before_the_source(tmp_path):
    video(tmp_path / "clip.mp4", None)
    assert find_pictures(clip(), tmp_path / "out.jsonl").path == tmp_path / "clip.mp4"
    video(tmp_path / "out.mkv")
    assert find_pictures(clip(), tmp_path / "out.jsonl").path == tmp_path / "out.mkv"
    assert find_pictures(clip(), tmp_path / "out.mkv.jsonl").path == tmp_path / "out.mkv"


def test_a_private_run_never_shows_its_source_of_the_same_name(tmp_path):
    video(tmp_path / "clip.mp4", None)
    found = find_pictures(clip("silhouette"), tmp_path / "clip.jsonl")
    assert found.path is None
    assert found.text == "clip.mp4: the run redacted people (--privacy silhouette), but this is not its recording"


def test_names_do_not_lead_elsewhere(tmp_path):
    (tmp_path / "here").mkdir()
    video(tmp_path / "secret.mp4", None)
    found = find_pictures(clip(source="../secret.mp4"), tmp_path / "here" / "out.jsonl")
    assert found.path is None
    assert found.text == "no video of this run is beside the detections; --video FILE names one"


def test_a_picture_is_the_frame_of_its_time(tmp_path):
    recorded = find_pictures(clip(first=30), tmp_path / "out.jsonl", video(tmp_path / "out.mp4"))
    source = find_pictures(clip(first=3), tmp_path / "out.jsonl", video(tmp_path / "clip.mp4", None))
    for at in (0.0, 0.1, 0.5):
        # A recording begins with the run; a source does not, here the run began at 0.3 s.
        assert recorded.picture(at).mean() == pytest.approx(200 * at, abs=4)
        assert source.picture(at).mean() == pytest.approx(60 + 200 * at, abs=4)
    assert source.picture(5.0) is None


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "cannot be read as a video"), (b"text" * 1000, "cannot be read as a video")]
)
def test_what_is_no_video(tmp_path, content, message):
    (tmp_path / "out.mp4").write_bytes(content)
    found = find_pictures(clip(), tmp_path / "out.jsonl")
    assert found.path is None
    assert message in found.text


def test_another_video(tmp_path):
    video(tmp_path / "out.mp4", size_wh=(96, 64))
    found = find_pictures(clip(), tmp_path / "out.jsonl")
    assert (found.path, found.text) == (None, "out.mp4: its picture is 96x64, that of the detections 64x40")


def test_a_picture_in_the_page_is_scaled_down():
    image = np.zeros((60, 200, 3), np.uint8)
    image[:, 100:] = (0, 0, 255)
    uri = jpeg_uri(image, 100)
    assert uri.startswith("data:image/jpeg;base64,")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (30, 100, 3)
    assert decoded[15, 80, 2] > 230
    assert decoded[15, 20].max() < 30
