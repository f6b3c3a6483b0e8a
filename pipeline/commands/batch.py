"""The command `batch`: segments many recordings, resumes where it was interrupted, and sets aside what fails."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

from pipeline.batch.batch_monitor import BatchMonitor
from pipeline.batch.batch_run import Batch, BatchRequest, Shard
from pipeline.batch.executor import Place
from pipeline.batch.patience import Patience
from pipeline.batch.processes import ThisMachine, default_processes
from pipeline.batch.ray_cluster import RayCluster
from pipeline.batch.stretches import AUTO_SPLIT, Splitting
from pipeline.batch.worker_plan import DETECTIONS, VIDEO
from pipeline.commands.program import (
    SET_FLAG,
    VERBOSE_FLAG,
    Parser,
    names,
    overrides_from,
    set_up_logging,
    whole_number,
)
from pipeline.commands.run import NETWORK_FLAGS, OUTPUT_FLAGS, SOURCE_FLAGS, SWITCHES
from pipeline.commands.signals import StopRequest, handled
from pipeline.console.batch_report import BatchProgress, end_text, plan_text
from pipeline.errors import InputError
from pipeline.file_names import user_path, utf8_name
from pipeline.installation import program_name, shipped_file
from pipeline.settings.loading import load_settings
from pipeline.settings.output_settings import ServeSettings
from pipeline.settings.schema import Settings

SOME_FAILED = 3
"""The exit code when recordings were set aside."""

LEAST_STRETCH_S = 1.0
_SPLIT_WORDS = {"auto": AUTO_SPLIT, "off": None}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

_OF_A_FILE = {"--start", "--duration", "--max-frames"}
_OF_ITS_OUTPUTS = {"--present", "--infer-every", "--infer-fps", "--privacy", "--background", "--look"}
_OF_THE_WHOLE = {"--serve", "--serve-token", "--progress"}
_DRAWN = {"--no-masks", "--boxes", "--no-boxes", "--no-labels", "--no-scores", "--status", "--no-audio"}


def shard(text: str) -> Shard:
    """The type of --shard: "3/40"."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected a job and the number of jobs, such as 3/40, got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def seconds(text: str) -> float:
    """The type of a duration above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, got {text!r}")
    return value


def splitting(text: str) -> Splitting | None:
    """The type of --split: "10m", "off" or "auto"."""
    if text in _SPLIT_WORDS:
        return _SPLIT_WORDS[text]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    stretch_s = float(match[1]) * _SECONDS[match[2]] if match is not None else 0.0
    if stretch_s < LEAST_STRETCH_S:
        raise argparse.ArgumentTypeError(
            f"expected auto, off, or a length of {LEAST_STRETCH_S:g} s or more, such as 90, 10m or 1h, got {text!r}"
        )
    return Splitting(stretch_s)


FLAGS: dict[str, dict[str, dict[str, Any]]] = {
    "recordings and results": {
        "inputs": {
            "nargs": "*",
            "metavar": "INPUT",
            "help": "folder (with its subfolders), file, glob, or @LIST, a file with one of these on each line",
        },
        "--output": {"metavar": "FOLDER", "help": "folder of the results; the same again resumes"},
        "--video": {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "write annotated videos (default: yes)",
        },
        "--detections": {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "write detections, JSON lines (default: yes)",
        },
    },
    "work": {
        "--workers": {
            "metavar": "N",
            "type": partial(whole_number, least=1, most=4096),
            "help": "processes, each with a network of its own (default: by what was measured on this machine)",
        },
        "--ray": {
            "metavar": "ADDRESS",
            "help": "workers on a Ray cluster: auto (the one that runs here), HOST:PORT, or local (start one)",
        },
        "--split": {
            "metavar": "LENGTH",
            "type": splitting,
            "default": AUTO_SPLIT,
            "help": "infer long recordings in stretches of about this length (90, 10m, 1h) on several workers; off; or "
            "auto (default): when fewer recordings are left than workers",
        },
        "--shard": {"metavar": "K/N", "type": shard, "help": "only the Kth of N parts, for the jobs of an array"},
        "--limit": {"metavar": "N", "type": partial(whole_number, least=1), "help": "only the first N that are to do"},
        "--dry-run": {"action": "store_true", "help": "print what is to do, and end"},
        "--retry-failed": {"action": "store_true", "help": "try again what was set aside"},
        "--attempts": {
            "metavar": "N",
            "type": partial(whole_number, least=1, most=100),
            "default": 3,
            "help": "set a recording aside after so many failures that might pass (default: 3)",
        },
        "--stall-timeout": {
            "metavar": "S",
            "type": seconds,
            "default": 600.0,
            "help": "give up a recording without a new frame for so many seconds (default: 600)",
        },
        "--timeout": {"metavar": "S", "type": seconds, "help": "give up a recording after so many seconds"},
        "--events": {"metavar": "FILE", "help": "write what happens to this file, JSON lines; - for standard output"},
    },
}
_SETTINGS_FLAGS: dict[str, dict[str, Any]] = {
    "--classes": {
        "dest": "--classes model.classes",
        "type": names,
        "metavar": "A,B",
        "help": "keep only these classes, by name or id",
    },
    "--config": {"metavar": "FILE", "help": "settings file (default: the program's own config.yaml)"},
    "--set": SET_FLAG | {"help": "any setting, such as overlay.mask_alpha=0.3; may be given more than once"},
    "--verbose": VERBOSE_FLAG,
}


def build_parser() -> Parser:
    """The arguments of a batch; those of a run that concern files, and its own."""
    parser = Parser(
        prog=f"{program_name()} batch",
        description="Segment many recordings. Start the same command again to resume.",
        allow_abbrev=False,
    )
    for title, flags in FLAGS.items():
        parser.add_flags(title, flags)
    parser.add_settings("each recording", [flag for flag in SOURCE_FLAGS if flag[0] in _OF_A_FILE])
    parser.add_settings("network", NETWORK_FLAGS)
    parser.add_settings("each output", [flag for flag in OUTPUT_FLAGS if flag[0] in _OF_ITS_OUTPUTS])
    parser.add_switches(switch for switch in SWITCHES if switch[0] in _DRAWN)
    parser.add_settings("progress", [flag for flag in OUTPUT_FLAGS if flag[0] in _OF_THE_WHOLE])
    parser.add_flags("settings", _SETTINGS_FLAGS)
    return parser


def run(argv: Sequence[str]) -> int:
    """Segment recordings until all are done or set aside; return the exit code."""
    arguments = build_parser().parse_args(argv)
    set_up_logging(arguments.verbose)
    request = request_from(arguments)
    batch = Batch(request, time.monotonic)
    to_do = batch.plan.to_do
    size = sum(recording.size for recording in to_do)
    print(plan_text(batch.found, batch.state, len(to_do), size), file=sys.stderr, flush=True)
    if arguments.dry_run:
        for recording in sorted(to_do):
            print(utf8_name(recording.path))
        return 0
    settings, report = request.settings, request.results / "report.html"
    with _opened(arguments.events) as file:
        progress = BatchProgress(settings.progress, file)
        with _served(settings.serve, progress.monitor, report):
            output = sys.stderr if file is sys.stdout else sys.stdout
            return _run(batch, place_from(arguments, settings), progress, output)


def _run(batch: Batch, place: Place, progress: BatchProgress, output: IO[str]) -> int:
    def stop() -> bool:
        batch.stop()
        return True

    stop_request = StopRequest(stop)
    began_s = time.monotonic()
    with progress:
        progress.update(batch.state)
        with handled(stop_request.handle, signal.SIGINT, signal.SIGTERM):
            summary = batch.run(place, progress.event, progress.update)
        progress.event("end", **{key: getattr(batch.state, key) for key in ("inputs", "done", "skipped", "failed")})
    wall_s = time.monotonic() - began_s
    print(end_text(batch.state, wall_s, batch.failures, str(summary)), file=output, flush=True)
    if batch.stopped:
        return 128 + (stop_request.signal or signal.SIGINT)
    return SOME_FAILED if batch.state.failed else 0


def _served(settings: ServeSettings, monitor: BatchMonitor, report: Path) -> AbstractContextManager[object]:
    """The page of the batch while it runs, if the settings want one. Raises InputError."""
    if settings.address is None:
        return contextlib.nullcontext()
    from pipeline.web.batch_routes import served_batch

    return served_batch(settings, monitor.snapshot, report)


@contextlib.contextmanager
def _opened(events: str | None) -> Iterator[IO[str] | None]:
    if events is None or events == "-":
        yield None if events is None else sys.stdout
        return
    path = user_path(events, "--events")
    try:
        file = open(path, "a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--events {path} cannot be written: {error.strerror or error}") from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # each event was flushed, or its failure has ended the batch
            file.close()


def request_from(arguments: argparse.Namespace) -> BatchRequest:
    """What the command line asks for. Raises InputError."""
    if not arguments.inputs or arguments.output is None:
        raise InputError(
            f"give recordings and a folder for the results: {program_name()} batch recordings/ --output results/"
        )
    outputs = tuple(kind for kind, wanted in ((VIDEO, arguments.video), (DETECTIONS, arguments.detections)) if wanted)
    if not outputs:
        raise InputError("--no-video and --no-detections leave nothing to write: give one of them")
    results = user_path(arguments.output, "--output")
    if results.exists() and not results.is_dir():
        raise InputError(f"--output {results} is a file, expected a folder")
    settings = settings_from(arguments)
    patience = Patience(
        arguments.attempts,
        stall_s=arguments.stall_timeout,
        limit_s=arguments.timeout,
        least_free_bytes=settings.output.min_free_bytes,
    )
    return BatchRequest(
        settings,
        tuple(arguments.inputs),
        results,
        outputs,
        arguments.shard,
        arguments.limit,
        arguments.retry_failed,
        patience,
        arguments.split,
    )


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Defaults, config.yaml, the user's settings file, the command line. Raises InputError."""
    given = user_path(arguments.config, "--config") if arguments.config is not None else None
    shipped = shipped_file("config.yaml")
    # the sub-stream in a file is that of the camera in it
    overrides = {("source", "detect_uri"): ("INPUT", None), **overrides_from(arguments)}
    return load_settings(given or (shipped if shipped.is_file() else None), overrides)


def place_from(arguments: argparse.Namespace, settings: Settings) -> Place:
    """Where the workers run. Raises InputError if that is a cluster that is not there."""
    if arguments.ray is not None:
        return RayCluster(arguments.ray, arguments.workers, settings)
    return ThisMachine(arguments.workers, default_processes(settings))
