"""Time from the start of the command line to the first annotated frame, with the small model and warm caches."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.footage import CLIP, ROOT
from benchmarks.measuring import RowReport, Spread, Value, at_most
from benchmarks.options import Options

TITLE = "start to first annotated frame, second start, small model"
DEADLINE_S = 120


def measure(options: Options) -> RowReport:
    """A first start fills caches; the ones after it count."""
    starts = [start(options.model) for _ in range(1 + options.rounds(3))]
    values = [
        Value("second and later starts", Spread.of(starts[1:]), "s", at_most(6)),
        Value("first start of this run", Spread.one(starts[0]), "s"),
    ]
    return RowReport("start", TITLE, values, {"command": " ".join(command("OUT.mp4", options.model)[1:])})


def command(output: str, model: dict) -> list[str]:
    """Python and its arguments: one frame of the clip, drawn and recorded, its objects on standard output."""
    flags = [f"--set=model.{key}={value}" for key, value in model.items()]
    source = str(CLIP.relative_to(ROOT))
    return [
        sys.executable, "stream_segment.py", "--source", source, "--device", "cpu", "--no-window", "--max-frames", "1",
        "--output", output, "--detections", "-", *flags,
    ]  # fmt: skip


def start(model: dict) -> float:
    """Seconds until the line of the first frame, which is written after the frame is drawn."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.mp4"
        began_s = time.perf_counter()
        process = subprocess.Popen(
            command(str(output), model),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        taken_s = time.perf_counter() - began_s
        _, errors = process.communicate(timeout=DEADLINE_S)
        if process.returncode != 0 or not line or not output.is_file():
            raise RuntimeError(f"the command line ended with {process.returncode}: {errors.strip()[-400:]}")
    return taken_s
