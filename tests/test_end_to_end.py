"""Whole runs as a user starts them: a process of its own, a real network, real files, read back with another reader."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.engines.create import exported_parts
from pipeline.commands.main import main
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import ModelSettings

PROGRAM = Path(__file__).parents[1] / "stream_segment.py"
DEADLINE_S = 120.0
NO_CHOICE = ("--precision", "float32", "--set", "model.workers=1")
"""Leaves nothing to measure, which takes longer than the run."""
PATTERN_AS_FILE = ("--source", "test:160x90@30", "--set", "source.policy=recorded", "--no-window", *NO_CHOICE)


def command(*arguments):
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def environment(**extra):
    return {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")} | extra


def start(*arguments):
    """The program in a process of its own, running."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def run(*arguments):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=DEADLINE_S, env=environment(), check=False
    )


def run_here(capsys, *arguments):
    """The same, where what a process of its own is like does not matter."""
    code = main(list(map(str, arguments)))
    return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """40 frames of a moving square at 30000/1001 fps with a tone, 160x90, and a gap of a second after frame 20."""
    path = tmp_path_factory.mktemp("clip") / "a clip.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(30000, 1001))
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 30000)
        audio = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(40):
            image = np.full((90, 160, 3), 60, np.uint8)
            image[20:60, 2 * index : 2 * index + 40] = (40, 200, 90)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = index * 1001 + (30000 if index > 20 else 0)
            frame.time_base = Fraction(1, 30000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for start in range(0, 2 * 48000, 1024):
            wave = (8000 * np.sin(np.arange(start, start + 1024) * 0.05)).astype(np.int16)[None]
            sound = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            sound.sample_rate, sound.pts = 48000, start
            container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return path


@pytest.fixture(scope="module")
def exported_weights(seeded_small_weights):
    """Exported here, where Keras is loaded already; `test_portability` has the program do that."""
    exported_parts(seeded_small_weights, read_model(ModelSettings(weights=str(seeded_small_weights))).config)
    return seeded_small_weights


def packets_s(path, kind):
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.pts is not None]


def test_recorded_file_with_video_sound_and_detections(clip, exported_weights, tmp_path):
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = run(
        *("--source", clip, "--output", out, "--detections", lines),
        *("--weights", exported_weights, "--no-window", *NO_CHOICE),
    )
    assert done.returncode == 0, done.stderr
    assert "preparing" not in done.stderr, "the exported network was not found"
    assert "captured 40, inferred 40, presented 40, dropped 0" in done.stdout
    assert str(out) in done.stdout
    assert "Traceback" not in done.stderr

    reader = cv2.VideoCapture(str(out))
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1])
    assert len(frames) == 40
    assert frames[0].shape == (90, 160, 3)
    original = cv2.VideoCapture(str(clip)).read()[1]
    assert np.abs(frames[0].astype(int) - original).mean() > 2, "nothing was drawn"

    np.testing.assert_allclose(sorted(packets_s(out, "video")), sorted(packets_s(clip, "video")), atol=1e-3)
    assert len(packets_s(out, "audio")) >= 0.9 * len(packets_s(clip, "audio"))

    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(40))
    assert records[21]["pts"] == pytest.approx((21 * 1001 + 30000) / 30000, abs=1e-3)
    first = records[0]
    assert list(first) == ["source", "frame", "pts", "width", "height", "objects", "run"]
    assert list(records[1]) == ["source", "frame", "pts", "width", "height", "objects"]
    assert (first["source"], first["width"], first["height"]) == ("a clip.mp4", 160, 90)
    assert first["objects"]
    for found in first["objects"]:
        assert list(found) == ["class_id", "label", "score", "box", "mask", "track_id"]
        assert (found["class_id"], found["label"]) == (1, "person")
        x1, y1, x2, y2 = found["box"]
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 90
        decoded = coco_mask.decode({"size": found["mask"]["size"], "counts": found["mask"]["counts"].encode()})
        assert decoded.shape == (90, 160)
        rows, columns = np.nonzero(decoded)
        assert columns.min() >= np.floor(x1)
        assert rows.max() < np.ceil(y2)


def test_detections_on_standard_output_are_alone_there(clip, exported_weights):
    three = ("--source", clip, "--max-frames", 3, "--no-window")
    done = run(*three, "--detections", "-", "--weights", exported_weights, "--batch-size", 2)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "captured 3, inferred 3, presented 3, dropped 0" in done.stderr
    assert re.search(r"; OpenVINO [\d.]+ on the CPU, (bfloat16|float32) \(measured here: .*\)", done.stderr)


def test_files_without_flags_are_written_beside_themselves(clip, exported_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mov"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    flags = ("--weights", exported_weights, "--max-frames", 2, "--no-window", *NO_CHOICE)
    done = run_here(capsys, "a.mp4", "b.mov", *flags)
    assert done.returncode == 0, done.stderr
    written = ["a_segmented.mp4", "b_segmented.mov"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", *written[:1], "b.mov", *written[1:]]
    assert [len(packets_s(tmp_path / name, "video")) for name in written] == [2, 2]


def test_without_a_screen_the_run_goes_on_and_says_so(clip, exported_weights):
    done = run("--source", clip, "--weights", exported_weights, "--max-frames", 2, *NO_CHOICE)
    assert done.returncode == 0, done.stderr
    if sys.platform.startswith("linux"):
        assert "without a window" in done.stderr
        assert "nothing to show or write" in done.stderr


def test_photographs_to_a_folder(exported_weights, tmp_path, capsys):
    photographs = tmp_path / "in"
    photographs.mkdir()
    for name, size in (("b.png", (70, 110)), ("a.jpg", (90, 60))):
        cv2.imwrite(str(photographs / name), np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8))
    out, lines = tmp_path / "out", tmp_path / "out.jsonl"
    files = ("--source", photographs, "--output", out, "--detections", lines)
    done = run_here(capsys, *files, "--weights", exported_weights, "--no-window", *NO_CHOICE)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg", "b.png"]
    assert cv2.imread(str(out / "b.png")).shape == (70, 110, 3)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(record["source"], record["frame"], record["height"]) for record in records] == [
        ("a.jpg", 0, 90),
        ("b.png", 1, 70),
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_file_is_finished_and_says_so_by_its_code(number, code, clip, exported_weights, tmp_path):
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    process = start(*PATTERN_AS_FILE, "--output", out, "--detections", lines, "--weights", exported_weights)
    wait_for_lines(process, lines, 5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, stderr
    assert "stopped after" in stdout
    assert "Traceback" not in stderr
    written = len(lines.read_text().splitlines())
    assert written >= 5
    assert len(packets_s(out, "video")) == written


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_stopped_live_source_is_a_success(exported_weights, tmp_path):
    lines = tmp_path / "out.jsonl"
    process = start(
        *("--source", "test:160x90@30", "--detections", lines),
        *("--weights", exported_weights, "--no-window", *NO_CHOICE),
    )
    wait_for_lines(process, lines, 5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    assert "stopped after" in stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_what_was_recorded_plays_after_kill_9(exported_weights, tmp_path):
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    process = start(*PATTERN_AS_FILE, "--output", out, "--detections", lines, "--weights", exported_weights)
    wait_for_lines(process, lines, 120)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    for line in lines.read_text().splitlines():
        json.loads(line)
    reader, count = cv2.VideoCapture(str(out)), 0
    while reader.read()[0]:
        count += 1
    assert count >= 60


def test_a_file_that_breaks_off_while_running_keeps_what_came(clip, exported_weights, tmp_path, capsys):
    broken, out = tmp_path / "broken.mkv", tmp_path / "out.mp4"
    with av.open(str(clip)) as source, av.open(str(broken), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = broken.read_bytes()
    broken.write_bytes(data[: int(len(data) * 0.7)])
    files = ("--source", broken, "--output", out)
    done = run_here(capsys, *files, "--weights", exported_weights, "--no-window", *NO_CHOICE)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    assert 3 <= len(packets_s(out, "video")) < 40


def wait_for_lines(process, path, count):
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() or len(path.read_bytes().splitlines()) < count:
        assert process.poll() is None, f"it ended early: {process.communicate()}"
        assert time.monotonic() < deadline, "no detections came"
        time.sleep(0.05)
