"""A run without a subcommand: its arguments, the settings they give, and the loop that presents the frames."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.commands import COMMANDS
from pipeline.commands.program import (
    MODEL_FLAGS,
    SET_FLAG,
    VERBOSE_FLAG,
    Parser,
    SettingFlag,
    Switch,
    names,
    overrides_from,
    set_up_logging,
    setting_options,
)
from pipeline.commands.signals import StopRequest, handled
from pipeline.console.cameras_report import cameras_text, run_with_progress
from pipeline.console.run_report import summary_text, with_progress
from pipeline.errors import InputError, OutputClosedError, RunError, StreamSegmentError
from pipeline.file_names import user_path
from pipeline.installation import program_name, shipped_file
from pipeline.ledger import EndReason
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CamerasSummary
from pipeline.runtime.stream import Stream
from pipeline.safe_uri import safe_name
from pipeline.settings.loading import dump_settings, load_settings, preset_overrides
from pipeline.settings.schema import Settings
from pipeline.sinks.factory import is_without_sinks, with_output_beside
from pipeline.sinks.keys import KEYS_HELP
from pipeline.sources.uri import Target, UriKind, camera_names, parse_uri
from pipeline.version import __version__

logger = logging.getLogger(__name__)


_SOURCES: dict[str, dict[str, Any]] = {
    "sources": {
        "nargs": "*",
        "metavar": "SOURCE",
        "help": "as --source; several files are taken one after another. Where nothing is shown or written, "
        "clip.mp4 gives clip_segmented.mp4",
    },
    "--source": {
        "dest": "--source source.uri",
        "action": "append",
        "metavar": "URI",
        "help": "camera index or device, video file, RTSP/HTTP URL, image, folder or glob of images, test:WxH@FPS "
        "(default: camera 0); given several times, all at once",
    },
}
SOURCE_FLAGS: tuple[SettingFlag, ...] = (
    ("--width", "source.width", "PX", "ask the camera for this width"),
    ("--height", "source.height", "PX", "ask the camera for this height"),
    ("--fps", "source.fps", "N", "ask the camera for this rate"),
    ("--start", "source.start_s", "S", "begin at this second of a file"),
    ("--duration", "source.duration_s", "S", "end after this many seconds of the source"),
    ("--max-frames", "source.max_frames", "N", "end after this many frames"),
    ("--policy", "source.policy", "P", "auto, live (newest frame wins) or recorded (every frame)"),
)
NETWORK_FLAGS: tuple[SettingFlag, ...] = (
    *MODEL_FLAGS,
    ("--min-score", "model.min_score", "0..1", "keep objects of at least this score"),
    ("--batch-size", "model.batch_size", "N", "frames of a file, or of several cameras, in one pass of the network"),
)
OUTPUT_FLAGS: tuple[SettingFlag, ...] = (
    ("--output", "output.path", "FILE", "annotated video (.mp4, .mkv, .mov, .webm, .gif); image or folder for images"),
    ("--detections", "detections.path", "FILE", "JSON lines, one a frame; - for standard output"),
    ("--present", "presentation", "M", "auto, exact (inferred frames) or smooth (every frame)"),
    ("--infer-every", "motion.infer_every", "N", "infer every Nth frame and carry its masks to the rest"),
    ("--infer-fps", "motion.infer_fps", "R", "infer at most R frames a second, carry masks to the rest"),
    ("--privacy", "privacy.mode", "M", "cover people by their shape: blur, pixelate or silhouette"),
    ("--background", "background.mode", "M", "what is not a person: blur, color or picture"),
    (
        "--look",
        "overlay.look",
        "L",
        "labels, clean (no text), debug (everything), call (background only) or tutorial",
    ),
    ("--serve", "serve.address", "[HOST:]PORT", "a page to watch the run on; without HOST, on this machine"),
    ("--serve-token", "serve.token", "TEXT", "what the page asks for (better: variable STREAM_SEGMENT_TOKEN)"),
    ("--progress", "progress", "M", "auto, bar, lines or off"),
)
SWITCHES: tuple[Switch, ...] = (
    ("--overwrite", "output.overwrite", True, "replace existing outputs (default: a new name beside them)"),
    ("--realtime", "source.realtime", True, "play a file as if it were a camera"),
    ("--loop", "source.loop", True, "begin a video file again at its end"),
    ("--no-window", "window.mode", "off", "open no window"),
    ("--window", "window.mode", "on", "open a window, or fail if there is no screen"),
    ("--fullscreen", "window.fullscreen", True, "fill the screen"),
    ("--full-speed", "window.speed", "full", "show a file as fast as it is segmented, not at its own speed"),
    ("--no-masks", "overlay.masks", False, "draw no masks"),
    ("--boxes", "overlay.boxes", True, "draw boxes as well"),
    ("--no-boxes", "overlay.boxes", False, "draw no boxes, which stand in for masks with --no-masks"),
    ("--no-labels", "overlay.labels overlay.scores", False, "draw no labels, and no scores"),
    ("--no-scores", "overlay.scores", False, "labels without scores"),
    ("--status", "overlay.status", True, "draw rates and counts into everything, files too"),
    ("--no-status", "window.status", False, "no rates and counts in the window"),
    ("--no-audio", "output.audio", "off", "leave the source's sound out"),
)
_OTHER_FLAGS: dict[str, dict[str, Any]] = {
    "--classes": {
        "dest": "--classes model.classes",
        "type": names,
        "metavar": "A,B",
        "help": "keep only these classes, by name or id",
    },
    "--virtual-camera": {
        "dest": "--virtual-camera virtual_camera.device",
        "nargs": "?",
        "const": "auto",
        "metavar": "DEVICE",
        "help": "offer the annotated frames as a camera to other programs (needs pyvirtualcam)",
    },
    "--kiosk": {
        "action": "store_true",
        "help": "settings for an unattended screen; --config and other flags lie over them (--print-config shows all)",
    },
    "--config": {"metavar": "FILE", "help": "settings file (default: the program's own config.yaml)"},
    "--set": SET_FLAG | {"help": "any setting, such as overlay.mask_alpha=0.3; may be given more than once"},
    "--print-config": {"action": "store_true", "help": "print the settings in force and end"},
    "--verbose": VERBOSE_FLAG,
    "--version": {"action": "version", "version": f"stream_segment {__version__}"},
}


def build_parser() -> argparse.ArgumentParser:
    """The arguments of a run. Values are checked by the settings, so that a flag and a file give the same errors."""
    parser = Parser(
        prog=program_name(),
        description="Real-time instance segmentation of cameras and video with Mask R-CNN.",
        epilog=f"Also: {program_name()} COMMAND --help, with COMMAND one of: {', '.join(COMMANDS)}. "
        f"Settings: config.yaml. Keys in the window: {KEYS_HELP}.",
        allow_abbrev=False,
    )
    parser.add_flags("source", _SOURCES | setting_options(SOURCE_FLAGS))
    parser.add_settings("network", NETWORK_FLAGS)
    parser.add_settings("output", OUTPUT_FLAGS)
    parser.add_switches(SWITCHES)
    parser.add_flags("settings", _OTHER_FLAGS)
    return parser


def settings_from(arguments: argparse.Namespace, source: str | None = None) -> Settings:
    """Defaults, config.yaml, then a preset, the user's settings file, the command line. Raises InputError.

    Args:
        arguments: the parsed command line.
        source: one of the sources that stand in it without a flag.
    """
    given = user_path(arguments.config, "--config") if arguments.config is not None else None
    preset = preset_overrides("kiosk", given) if arguments.kiosk else {}
    shipped = shipped_file("config.yaml")
    overrides, key = overrides_from(arguments), ("source", "uri")
    flag, given_uris = overrides.pop(key, ("SOURCE", []))
    uris = given_uris if isinstance(given_uris, list) else [given_uris]  # of --source, else of --set
    if source is not None:
        if uris:
            raise InputError(f"{safe_name(source)} and {flag} are both sources: leave out the flag")
        uris = [source]
    if len(uris) == 1:
        # the sub-stream in a file is that of the source in it
        overrides = {
            ("source", "detect_uri"): (flag, None),
            **overrides,
            key: (flag, uris[0]),
            ("cameras",): (flag, []),
        }
    elif uris:
        cameras = [{"name": name, "uri": uri} for name, uri in zip(camera_names(uris), uris, strict=True)]
        overrides[("cameras",)] = (flag, cameras)
    return load_settings(given or (shipped if shipped.is_file() else None), {**preset, **overrides})


def settings_of_runs(arguments: argparse.Namespace) -> list[Settings]:
    """The settings of one run after another: of one for each source that stands without a flag.

    Raises:
        InputError: a setting is wrong, a source does not exist, or several are given and not all end by themselves.
    """
    if not arguments.sources:
        return [settings_from(arguments)]
    runs = [settings_from(arguments, source) for source in arguments.sources]
    targets = [_target(source) for source in arguments.sources]
    if len(runs) > 1:
        for source, target in zip(arguments.sources, targets, strict=True):
            if target.kind not in (UriKind.VIDEO, UriKind.IMAGES):
                raise InputError(f"{target.name} may never end: give it by itself, as --source {safe_name(source)}")
        if runs[0].source.loop:
            raise InputError("--loop goes with one source: of several, the first would never end")
        if runs[0].output.overwrite:
            raise InputError("--overwrite goes with one source: of several, one could replace what another has written")
    if is_without_sinks(runs[0]):
        return [with_output_beside(run, target) for run, target in zip(runs, targets, strict=True)]
    return runs


def _target(source: str) -> Target:
    try:
        return parse_uri(source)
    except InputError as error:
        near = difflib.get_close_matches(source, COMMANDS, n=1, cutoff=0.75)
        if near and not os.path.exists(source):
            raise InputError(f"{source} is no source; did you mean the command {near[0]}?") from None
        raise error from None


def run(argv: Sequence[str]) -> int:
    """Segment one source after another, each until it ends or somebody stops it; or print the settings.

    Returns the exit code. The first run that fails or is stopped is the last one.
    """
    parsed = build_parser().parse_args(argv)
    set_up_logging(parsed.verbose)
    if parsed.print_config:
        settings = settings_from(parsed, next(iter(parsed.sources), None))
        print(dump_settings(settings, getattr(sys.stdout, "encoding", None) or "utf-8"), end="")
        return 0
    code = 0
    for settings in settings_of_runs(parsed):
        code = code or (_run_cameras(settings) if settings.cameras else _run(settings))
    return code


def _run(settings: Settings) -> int:
    """Segment a source, and print the summary. Returns the exit code."""
    stream = Stream(settings)

    def stop() -> bool:
        if stream.opened:
            stream.stop()
        return stream.opened

    request = StopRequest(stop)
    interrupted_code = 0
    somebody_reads = True
    try:
        with handled(request.handle, signal.SIGINT, signal.SIGTERM), stream:
            _present_all(stream)
    except OutputClosedError:
        somebody_reads = False
        raise
    finally:
        if stream.opened and somebody_reads:
            summary = stream.summary()
            results_on_stdout = settings.detections.path == "-"
            print(summary_text(summary), file=sys.stderr if results_on_stdout else sys.stdout, flush=True)
            if summary.end is EndReason.STOPPED and not summary.live and not settings.source.loop:
                interrupted_code = 128 + (request.signal or signal.SIGINT)
    return interrupted_code


def _run_cameras(settings: Settings) -> int:
    """Segment several cameras at once, and print their summaries. Returns the exit code: see `exit_code`."""
    cameras = Cameras(settings)

    def stop() -> bool:
        if cameras.opened:
            cameras.stop()
        return cameras.opened

    request = StopRequest(stop)
    try:
        with handled(request.handle, signal.SIGINT, signal.SIGTERM), cameras:
            run_with_progress(cameras)
    finally:
        if cameras.opened and not cameras.output_closed:
            results_on_stdout = any(entry.settings.detections.path == "-" for entry in cameras.entries.values())
            text = cameras_text(cameras.summary())
            print(text, file=sys.stderr if results_on_stdout else sys.stdout, flush=True)
    return exit_code(cameras.summary(), request.signal)


def exit_code(summary: CamerasSummary, stopped_by: int | None) -> int:
    """The exit code of a run with several cameras: of the worst of them.

    141 when nobody reads standard output any more, 1 when one failed while running, 2 when one could not be started,
    130 or 143 when a signal came before a file had ended, otherwise 0.

    Args:
        summary: of the run.
        stopped_by: the number of the signal that stopped it; None without one.
    """
    failed = {one.error.exit_code for one in summary.cameras if isinstance(one.error, StreamSegmentError)}
    worst = next((code for code in (OutputClosedError.exit_code, RunError.exit_code) if code in failed), 0)
    if worst or failed:
        return worst or InputError.exit_code
    runs = [run for one in summary.cameras for run in one.runs]
    is_cut_short = any(run.end is EndReason.STOPPED and not run.live for run in runs)
    return 128 + stopped_by if is_cut_short and stopped_by is not None else 0


def _present_all(stream: Stream) -> None:
    if not stream.sinks:
        logger.warning("nothing to show or write: no window, no --output, no --detections; only the summary will come")
    for _ in with_progress(stream):
        pass
