"""The command line of a batch: what it asks for, what it prints, how it ends."""

import argparse
import contextlib
import json
import os
import re
import signal
import sys

import pytest

from pipeline.batch.batch_run import Shard
from pipeline.batch.patience import Patience
from pipeline.batch.stretches import AUTO_SPLIT, Splitting
from pipeline.commands import batch
from pipeline.commands.main import main
from pipeline.errors import InputError
from pipeline.web.server import listen
from tests.pipeline.batch.fakes import Here, make_by_sum, outputs_in, summary_in, write_recordings
from tests.pipeline.web.served import request as request_page


@pytest.fixture
def recordings(tmp_path):
    return write_recordings(tmp_path / "in", "a.mp4", "d/b.mp4")


@pytest.fixture
def here(monkeypatch):
    """Batches run in this process, with a fake network."""
    place = Here()
    monkeypatch.setattr(batch, "place_from", lambda arguments, settings: place)
    monkeypatch.setattr(batch.Batch.__init__, "__defaults__", (make_by_sum,))
    return place


def request(*arguments):
    return batch.request_from(batch.build_parser().parse_args(arguments))


def test_what_a_command_line_asks_for(tmp_path):
    wanted = request(
        "in", "@list.txt", "--output", str(tmp_path / "out"), "--no-video", "--shard", "3/40", "--limit", "7",
        "--retry-failed", "--stall-timeout", "30", "--timeout", "60.5", "--attempts", "2", "--min-score", "0.6",
        "--max-frames", "9", "--no-audio", "--classes", "person,dog", "--set", "output.min_free_bytes=5",
    )  # fmt: skip
    assert (wanted.inputs, wanted.results, wanted.outputs) == (("in", "@list.txt"), tmp_path / "out", ("detections",))
    assert (wanted.shard, wanted.limit, wanted.retry_failed) == (Shard(3, 40), 7, True)
    assert wanted.patience == Patience(2, stall_s=30.0, limit_s=60.5, least_free_bytes=5)
    settings = wanted.settings
    assert (settings.model.min_score, settings.source.max_frames, settings.model.classes) == (0.6, 9, ("person", "dog"))
    assert settings.output.audio.value == "off"
    default = request("in", "--output", "out")
    assert (default.outputs, default.split) == (("video", "detections"), AUTO_SPLIT)


def test_the_sub_stream_of_a_camera_in_the_settings_file_is_left_out(tmp_path):
    file = tmp_path / "camera.yaml"
    file.write_text("source: {uri: rtsp://cam/main, detect_uri: rtsp://cam/sub}")
    assert request("in", "--output", "out", "--config", str(file)).settings.source.detect_uri is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "give recordings and a folder for the results: .* batch recordings/ --output results/"),
        (("in",), "give recordings and a folder for the results"),
        (("in", "--output", "out", "--no-video", "--no-detections"), "leave nothing to write"),
        (("in", "--output", "out", "--shard", "0/4"), "expected a job and the number of jobs, such as 3/40, got '0/4'"),
        (("in", "--output", "out", "--shard", "5/4"), "got '5/4'"),
        (
            ("in", "--output", "out", "--split", "never"),
            "--split: expected auto, off, or a length .* got 'never'",
        ),
        (("in", "--output", "out", "--split", "0.5"), "such as 90, 10m or 1h, got '0.5'"),
        (("in", "--output", "out", "--timeout", "0"), "expected seconds, more than 0, got '0'"),
        (("in", "--output", "out", "--timeout", "inf"), "got 'inf'"),
        (("in", "--output", "out", "--realtime"), "unrecognized arguments: --realtime"),
        (("in", "--output", "out", "--serve", "host:"), "--serve: serve.address: expected .HOST:.PORT"),
        (("in", "--output", "out", "--min-score", "3"), "--min-score: model.min_score: expected at most 1, got '3'"),
    ],
)
def test_mistakes_are_one_line(arguments, text):
    with pytest.raises(InputError, match=text):
        request(*arguments)


def test_the_output_is_a_folder(tmp_path):
    (tmp_path / "out.mp4").touch()
    with pytest.raises(InputError, match=r"out\.mp4 is a file, expected a folder"):
        request("in", "--output", str(tmp_path / "out.mp4"))


def test_types():
    assert batch.shard("1/1") == Shard(1, 1)
    assert batch.seconds("1.5") == 1.5
    lengths = {"90": 90.0, "90s": 90.0, "10m": 600.0, "1.5h": 5400.0}
    assert {text: batch.splitting(text) for text in lengths} == {text: Splitting(s) for text, s in lengths.items()}
    assert (batch.splitting("auto"), batch.splitting("off")) == (AUTO_SPLIT, None)
    with pytest.raises(argparse.ArgumentTypeError):
        batch.seconds("soon")


def test_a_batch_from_the_command_line(tmp_path, recordings, here, capsys):
    out, events = tmp_path / "out", tmp_path / "events.jsonl"
    code = main(["batch", str(recordings), "--output", str(out), "--set", "output.min_free_bytes=0"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "2 recordings: 2 to do" in printed.err
    assert "batch: 2 recordings: 2 done, 0 skipped, 0 failed" in printed.out
    assert sorted(outputs_in(out)) == ["a.mp4", "a.mp4.jsonl", "d/b.mp4", "d/b.mp4.jsonl"]
    (recordings / "c.mp4").write_bytes(b"broken")
    again = ["batch", str(recordings), "--output", str(out), "--set", "output.min_free_bytes=0"]
    assert main([*again, "--events", str(events)]) == 3
    assert "failed     c.mp4: not a readable video" in capsys.readouterr().out
    assert here.made[-1].given == ["c.mp4"]
    kinds = [json.loads(line)["event"] for line in events.read_text(encoding="utf-8").splitlines()]
    assert [kind for kind in kinds if kind != "progress"] == ["ready", "started", "failed", "end"]
    assert main(again) == 3
    assert here.made[-1].given == []
    capsys.readouterr()
    assert main([*again, "--retry-failed", "--events", "-"]) == 3
    printed = capsys.readouterr()
    assert [json.loads(line)["event"] for line in printed.out.splitlines()][-1] == "end"
    assert "3 recordings: 2 done, 0 skipped, 1 failed" in printed.err
    assert [summary_in(out)[key] for key in ("inputs", "done", "skipped", "failed")] == [3, 2, 0, 1]


def test_a_dry_run_prints_what_is_to_do(tmp_path, recordings, here, capsys):
    assert main(["batch", str(recordings), "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(recordings / "a.mp4"), str(recordings / "d/b.mp4")]
    assert not (tmp_path / "out").exists()


def test_changed_settings_are_refused(tmp_path, recordings, here, capsys):
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--set", "output.min_free_bytes=0"]
    assert main(given) == 0
    assert main([*given, "--min-score", "0.9"]) == 2
    assert "model.min_score was not set and is 0.9" in capsys.readouterr().err


def test_events_that_cannot_be_written(tmp_path, recordings, here, capsys):
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--events", str(tmp_path / "no" / "e")]
    assert main(given) == 2
    assert "--events" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_events_that_no_longer_fit_on_the_disk_end_the_batch_in_one_line(tmp_path, recordings, here, capsys):
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--set", "output.min_free_bytes=0"]
    assert main([*given, "--events", "/dev/full"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "stream_segment: error: writing the events failed: No space left on device"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no EPIPE")
def test_events_that_nobody_reads_end_the_batch_without_a_word(tmp_path, recordings, here, capsys, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--set", "output.min_free_bytes=0"]
    stdout = open(writing, "w")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main([*given, "--events", "-"]) == 141
    assert "error" not in capsys.readouterr().err
    with contextlib.suppress(BrokenPipeError):
        stdout.close()


def test_a_page_shows_the_batch_while_it_runs(tmp_path, recordings, here, monkeypatch, capsys):
    seen, real = [], batch.BatchProgress.update

    def update(self, state):
        real(self, state)
        page = re.search(r"page: (http://\S+?)\?token=(\S+)", "".join(printed := [*capsys.readouterr()]))
        texts.extend(printed)
        if page is not None:
            address.append(page.groups())
        url, token = address[0]
        body = request_page(f"{url}api/status", None, {"Authorization": f"Bearer {token}"})[2]
        seen.append(json.loads(body))

    texts, address = [], []
    monkeypatch.delenv("STREAM_SEGMENT_TOKEN", raising=False)
    monkeypatch.setattr(batch.BatchProgress, "update", update)
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--set", "output.min_free_bytes=0"]
    assert main([*given, "--serve", "0.0.0.0:0"]) == 0
    assert [(one["results"], one["inputs"]) for one in seen] == [("out", 2)] * len(seen)
    assert {one["done"] for one in seen} == {0, 1, 2}
    assert here.made[0].plan.settings.serve.address is None
    with pytest.raises(OSError, match="refused"):
        request_page(address[0][0])


def test_a_port_in_use_ends_the_batch_before_it_begins(tmp_path, recordings, here, capsys):
    with contextlib.closing(listen("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["batch", str(recordings), "--output", str(tmp_path / "out"), "--serve", port]) == 2
    assert f"port {port} is in use" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_batch_and_says_so(tmp_path, recordings, here, monkeypatch, capsys):
    real = batch.BatchProgress.update

    def update(self, state):
        real(self, state)
        if state.done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(batch.BatchProgress, "update", update)
    given = ["batch", str(recordings), "--output", str(tmp_path / "out"), "--set", "output.min_free_bytes=0"]
    assert main(given) == 128 + signal.SIGINT
    assert "2 recordings: 1 done, 1 skipped, 0 failed" in capsys.readouterr().out
