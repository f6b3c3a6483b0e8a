"""The tag says in each container whether its frames are redacted."""

from __future__ import annotations

from dataclasses import replace

import av
import pytest

from pipeline.settings.output_settings import RecorderSettings
from pipeline.settings.presentation_settings import PrivacyMode
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.recording_tag import recording_tag, tagged_privacy
from tests.pipeline.sinks.presentations import context, presentation


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".mp4", PrivacyMode.OFF),
        (".mp4", PrivacyMode.BLUR),
        (".mov", PrivacyMode.SILHOUETTE),
        (".mkv", PrivacyMode.PIXELATE),
        (".webm", PrivacyMode.BLUR),
    ],
)
def test_a_recording_has_the_tag_of_its_run(tmp_path, suffix, mode):
    path = tmp_path / f"out{suffix}"
    recorder = Recorder(RecorderSettings(path=str(path), min_free_bytes=0))
    recorder.open(replace(context(), privacy=mode))
    recorder.write(presentation(0))
    recorder.close()
    with av.open(str(path)) as container:
        assert tagged_privacy(container.metadata) is mode


def test_other_videos_have_none():
    assert tagged_privacy({}) is None
    assert tagged_privacy({"comment": "recorded by stream_segment"}) is None
    assert tagged_privacy({"comment": recording_tag(PrivacyMode.BLUR)["comment"] + "red"}) is None
    assert tagged_privacy({"COMMENT": recording_tag(PrivacyMode.BLUR)["comment"]}) is PrivacyMode.BLUR
