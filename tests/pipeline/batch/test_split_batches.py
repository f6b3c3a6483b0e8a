"""Batches whose recordings are split give what batches without splitting give: bytes, summaries, frames."""

import json
import time
from dataclasses import replace

import av
import numpy as np
import pytest

from pipeline.batch.batch_run import Batch
from pipeline.batch.executor import Died
from pipeline.batch.results_folder import ResultsFolder
from pipeline.batch.stored_answers import AnswerWriter
from pipeline.batch.stretches import Splitting, Stretch
from tests.pipeline.batch.fakes import (
    Here,
    make_by_sum,
    outputs_in,
    request_for,
    settings_of,
    summary_in,
    write_recordings,
)
from tests.pipeline.batch.test_stretch_source import FRAMES, KINDS, marked_as_keyframes, moving
from tests.pipeline.sources.clips import write_clip

SPLIT = Splitting(0.8)
"""Cuts 60 frames, 2.4 s, in three."""


def run(folder, results, split, script=lambda worker, claim: None, **more):
    """A batch that has run, and what happened."""
    happened, place = [], Here(workers=2, script=script)
    batch = Batch(request_for(folder, results, split=split, **more), time.monotonic, make_by_sum)
    batch.run(place, lambda what, **fields: happened.append((what, fields)), lambda state: None)
    assert batch.failures() == {}
    return batch, happened


def units(happened):
    return [fields.get("stretch", fields["name"]) for what, fields in happened if what == "started"]


def contents(results):
    """All outputs; of Matroska files, which are given a random number, the packets."""
    found = outputs_in(results)
    for name in found:
        if name.endswith((".mkv", ".webm")):
            with av.open(str(results / name)) as container:
                packets = [packet for packet in container.demux() if packet.size]
                found[name] = [(one.stream.index, one.pts, one.dts, bytes(one)) for one in packets]
                assert found[name]
    return found


def assert_same(results, other):
    assert contents(results) == contents(other)
    assert summary_in(results) == summary_in(other)
    folder = ResultsFolder(results)
    rest = [path for part in (folder.stretches, folder.work, folder.claims) for path in part.rglob("*")]
    assert [path for path in rest if path.is_file()] == []


@pytest.mark.parametrize("kind", ["sound", "open_gop", "vfr", "transport_stream"])
def test_results_are_those_of_one_piece(tmp_path, kind):
    """Tracking, counts at a line, events, annotated video with its sound, time stamps."""
    name, how = KINDS[kind]
    line = {"name": "door", "points": [[0.3, 0.0], [0.3, 1.0]]}
    settings = settings_of(lines=[line], tracking={"smoothing": 0.5}, privacy={"mode": "blur", "classes": ["thing"]})
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / name, moving(), **how)
    run(tmp_path / "in", tmp_path / "whole", None, settings=settings)
    _, happened = run(tmp_path / "in", tmp_path / "out", SPLIT, settings=settings)
    assert units(happened) == [name, "1/3", "2/3", "3/3", name]
    assert_same(tmp_path / "out", tmp_path / "whole")
    lines = (tmp_path / "out" / f"{name}.jsonl").read_text(encoding="ascii").splitlines()
    assert sum("objects" in json.loads(line) for line in lines) == FRAMES


def test_a_recording_that_cannot_be_split_is_done_as_one_piece(tmp_path):
    (tmp_path / "in").mkdir()
    clip = write_clip(tmp_path / "b.mkv", moving(), codec="mpeg4", options={"g": "250", "bf": "0"})
    marked_as_keyframes(clip).rename(tmp_path / "in/a.mkv")
    run(tmp_path / "in", tmp_path / "whole", None)
    batch, happened = run(tmp_path / "in", tmp_path / "out", SPLIT)
    reasons = [fields["reason"] for what, fields in happened if what == "unsplit"]
    assert reasons == ["its frames at 0.8 s depend on where decoding begins"]
    assert units(happened) == ["a.mkv", "1/3", "2/3", "3/3", "a.mkv"]
    assert (batch.state.frames, batch.state.frames_to_do) == (FRAMES, FRAMES)
    assert_same(tmp_path / "out", tmp_path / "whole")


def test_a_frame_that_differs_is_noticed_when_a_recording_is_put_together(tmp_path, monkeypatch):
    """One pixel of frame 45, far from all seams."""
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in/a.mp4", moving(), **KINDS["b_frames"][1])
    run(tmp_path / "in", tmp_path / "whole", None)
    real = AnswerWriter.add

    def add(self, frame, instances):
        if abs(frame.pts_s - 1.8) < 0.01:
            image = frame.image_bgr.copy()
            image[-1, -1, 0] ^= np.uint8(1)
            frame = replace(frame, image_bgr=image)
        real(self, frame, instances)

    monkeypatch.setattr(AnswerWriter, "add", add)
    _, happened = run(tmp_path / "in", tmp_path / "out", SPLIT)
    reasons = [fields["reason"] for what, fields in happened if what == "unsplit"]
    assert reasons == ["frame 45 differs when decoding begins in the middle"]
    assert units(happened) == ["a.mp4", "1/3", "2/3", "3/3", "a.mp4", "a.mp4"]
    assert_same(tmp_path / "out", tmp_path / "whole")


def test_workers_that_die_in_stretches_change_nothing(tmp_path):
    recordings = write_recordings(tmp_path / "in", "a.mp4", "d/b.mp4", frames=FRAMES)
    run(recordings, tmp_path / "whole", None)
    died = set()

    def script(worker, claim):
        unit = claim.unit
        what = (claim.recording.name, unit.number if isinstance(unit, Stretch) else len(claim.joins))
        if what in died:
            return None
        died.add(what)
        return [Died(worker, "SIGKILL")]

    _, happened = run(recordings, tmp_path / "out", SPLIT, script)
    assert len(died) == 2 * 4  # of each recording: whole and the first stretch are both 0
    assert sum(what == "worker_ended" for what, _ in happened) == 8
    assert_same(tmp_path / "out", tmp_path / "whole")


def test_a_corrupt_recording_gives_what_it_gives_as_one_piece(tmp_path):
    (tmp_path / "in").mkdir()
    path = write_clip(tmp_path / "in/a.mp4", moving(), **KINDS["b_frames"][1])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = b"\xff" * 300
    path.write_bytes(bytes(content))
    run(tmp_path / "in", tmp_path / "whole", None)
    run(tmp_path / "in", tmp_path / "out", SPLIT)
    assert_same(tmp_path / "out", tmp_path / "whole")
