"""A run without a subcommand: its arguments, the settings they give, and the loop that presents the frames."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from pipeline.commands import COMMANDS
from pipeline.commands.program import Parser, set_up_logging
from pipeline.commands.signals import handled, unwind
from pipeline.console.run_report import ProgressReport, summary_text
from pipeline.errors import OutputClosedError
from pipeline.file_names import user_path
from pipeline.installation import program_name, shipped_file
from pipeline.records import SourceKind
from pipeline.runtime.stream import Stream
from pipeline.runtime.summary import EndReason
from pipeline.settings.loading import KeyPath, dump_settings, load_settings, parse_assignment, preset_overrides
from pipeline.settings.output_settings import ProgressMode
from pipeline.settings.schema import Settings
from pipeline.sinks.window import KEYS_HELP
from pipeline.version import __version__

logger = logging.getLogger(__name__)


class _Flag(NamedTuple):
    name: str
    key: str
    metavar: str
    help: str


_VALUE_FLAGS: dict[str, Sequence[_Flag]] = {
    "source": (
        _Flag(
            "--source",
            "source.uri",
            "URI",
            "camera index or device, video file, RTSP/HTTP URL, image, folder or glob of images, test:WxH@FPS "
            "(default: camera 0)",
        ),
        _Flag("--width", "source.width", "PX", "ask the camera for this width"),
        _Flag("--height", "source.height", "PX", "ask the camera for this height"),
        _Flag("--fps", "source.fps", "N", "ask the camera for this rate"),
        _Flag("--start", "source.start_s", "S", "begin at this second of a file"),
        _Flag("--duration", "source.duration_s", "S", "end after this many seconds of the source"),
        _Flag("--max-frames", "source.max_frames", "N", "end after this many frames"),
        _Flag("--policy", "source.policy", "P", "auto, live (newest frame wins) or recorded (every frame)"),
    ),
    "network": (
        _Flag("--weights", "model.weights", "FILE", "Mask R-CNN weights, .h5"),
        _Flag("--labels", "model.labels", "FILE", "class names, one a line, the first is the background"),
        _Flag("--max-dim", "model.max_dim", "PX", "longer side that the network sees: 512, 1024 …"),
        _Flag("--canvas", "model.canvas", "C", "tight (pad to 32), pad64 (to 64) or square (as the original)"),
        _Flag("--min-score", "model.min_score", "0..1", "keep objects of at least this score"),
        _Flag("--classes", "model.classes", "A,B", "keep only these classes, by name or id"),
        _Flag("--engine", "model.engine", "E", "auto, keras, openvino or onnx"),
        _Flag("--precision", "model.precision", "P", "auto, float32, bfloat16, float16 or int8"),
        _Flag("--batch-size", "model.batch_size", "N", "frames of a file that go through the network at once"),
        _Flag("--device", "model.device", "D", "auto, cpu or gpu"),
        _Flag("--backend", "model.backend", "B", "auto, tensorflow, jax or torch"),
    ),
    "output": (
        _Flag("--output", "output.path", "FILE", "annotated video (.mp4, .mkv, .mov); image or folder for images"),
        _Flag("--detections", "detections.path", "FILE", "JSON lines, one a frame; - for standard output"),
        _Flag("--present", "presentation", "M", "auto, exact (inferred frames) or smooth (every frame)"),
        _Flag("--infer-every", "motion.infer_every", "N", "infer every Nth frame and carry its masks to the rest"),
        _Flag("--infer-fps", "motion.infer_fps", "R", "infer at most R frames a second, carry masks to the rest"),
        _Flag("--privacy", "privacy.mode", "M", "cover people by their shape: blur, pixelate or silhouette"),
        _Flag("--background", "background.mode", "M", "what is not a person: blur, color or picture"),
        _Flag("--serve", "serve.address", "[HOST:]PORT", "a page to watch the run on; without HOST, on this machine"),
        _Flag("--serve-token", "serve.token", "TEXT", "what the page asks for (better: variable STREAM_SEGMENT_TOKEN)"),
        _Flag("--progress", "progress", "M", "auto, bar, lines or off"),
    ),
}
_SWITCHES: Sequence[tuple[str, str, Any, str]] = (
    ("--overwrite", "output.overwrite", True, "replace existing outputs (default: a new name beside them)"),
    ("--realtime", "source.realtime", True, "play a file as if it were a camera"),
    ("--no-window", "window.mode", "off", "open no window"),
    ("--window", "window.mode", "on", "open a window, or fail if there is no screen"),
    ("--fullscreen", "window.fullscreen", True, "fill the screen"),
    ("--no-masks", "overlay.masks", False, "draw no masks"),
    ("--no-boxes", "overlay.boxes", False, "draw no boxes"),
    ("--no-labels", "overlay.labels", False, "draw no labels"),
    ("--no-scores", "overlay.scores", False, "labels without scores"),
    ("--no-status", "overlay.status", False, "no status line"),
    ("--no-audio", "output.audio", "off", "leave the source's sound out"),
)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of a run. Values are checked by the settings, so that a flag and a file give the same errors."""
    parser = Parser(
        prog=program_name(),
        description="Real-time instance segmentation of cameras and video with Mask R-CNN.",
        epilog=f"Also: {program_name()} COMMAND --help, with COMMAND one of: {', '.join(COMMANDS)}. "
        f"Settings: config.yaml. Keys in the window: {KEYS_HELP}.",
        allow_abbrev=False,
    )
    for title, flags in _VALUE_FLAGS.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            group.add_argument(flag.name, dest=flag.key, metavar=flag.metavar, help=flag.help)
    group = parser.add_argument_group("switches")
    for name, key, value, text in _SWITCHES:
        group.add_argument(name, dest=f"{name} {key}", action="store_const", const=value, help=text)
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--virtual-camera",
        dest="virtual_camera.device",
        nargs="?",
        const="auto",
        metavar="DEVICE",
        help="offer the annotated frames as a camera to other programs (needs pyvirtualcam)",
    )
    group.add_argument(
        "--kiosk",
        action="store_true",
        help="settings for an unattended screen; --config and other flags lie over them (--print-config shows all)",
    )
    group.add_argument("--config", metavar="FILE", help="settings file (default: the program's own config.yaml)")
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any setting, such as overlay.mask_alpha=0.3; may be given more than once",
    )
    group.add_argument("--print-config", action="store_true", help="print the settings in force and end")
    group.add_argument("--verbose", action="store_true", help="say more")
    group.add_argument("--version", action="version", version=f"stream_segment {__version__}")
    return parser


def overrides_from(arguments: argparse.Namespace) -> dict[KeyPath, tuple[str, Any]]:
    """What the command line sets, by key path, with the flag that said so."""
    overrides: dict[KeyPath, tuple[str, Any]] = {}
    given = vars(arguments)
    for flags in _VALUE_FLAGS.values():
        for flag in flags:
            value: Any = given[flag.key]
            if value is not None:
                if flag.name == "--classes":
                    value = [part.strip() for part in value.split(",") if part.strip()]
                overrides[tuple(flag.key.split("."))] = (flag.name, value)
    if given["virtual_camera.device"] is not None:
        overrides["virtual_camera", "device"] = ("--virtual-camera", given["virtual_camera.device"])
    for name, key, constant, _ in _SWITCHES:
        if given[f"{name} {key}"] is not None:
            overrides[tuple(key.split("."))] = (name, constant)
    for text in arguments.set:
        key_path, value = parse_assignment(text)
        overrides[key_path] = (f"--set {'.'.join(key_path)}", value)
    return overrides


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Defaults, config.yaml, then a preset, the user's settings file, the command line. Raises InputError."""
    given = user_path(arguments.config, "--config") if arguments.config else None
    preset = preset_overrides("kiosk", given) if arguments.kiosk else {}
    shipped = shipped_file("config.yaml")
    return load_settings(given or (shipped if shipped.is_file() else None), {**preset, **overrides_from(arguments)})


def run(argv: Sequence[str]) -> int:
    """Segment a source as the arguments say, or print the settings; return the exit code."""
    parsed = build_parser().parse_args(argv)
    set_up_logging(parsed.verbose)
    settings = settings_from(parsed)
    if parsed.print_config:
        print(dump_settings(settings, sys.stdout.encoding or "utf-8"), end="")
        return 0
    return _run_stream(settings)


def _run_stream(settings: Settings) -> int:
    """Run until the source ends or somebody stops it; print the summary; return the exit code."""
    stream = Stream(settings)
    signals: list[int] = []
    interrupted_code = 0
    somebody_reads = True
    try:
        with _stop_on_signals(stream, signals), stream:
            _present_all(stream, settings)
    except OutputClosedError:
        somebody_reads = False
        raise
    finally:
        if stream.opened and somebody_reads:
            summary = stream.summary()
            results_on_stdout = settings.detections.path == "-"
            print(summary_text(summary), file=sys.stderr if results_on_stdout else sys.stdout, flush=True)
            if summary.end is EndReason.STOPPED and not summary.live:
                interrupted_code = 128 + (signals[0] if signals else signal.SIGINT)
    return interrupted_code


def _present_all(stream: Stream, settings: Settings) -> None:
    if not stream.sinks:
        logger.warning("nothing to show or write: no window, no --output, no --detections; only the summary will come")
    mode = settings.progress
    if mode is ProgressMode.AUTO and stream.info.kind is SourceKind.LIVE:
        mode = ProgressMode.OFF
    with ProgressReport(stream.info, stream.ledger, stream.clock, mode, settings.source.max_frames) as progress:
        for segmented in stream:
            progress.update(segmented)


@contextlib.contextmanager
def _stop_on_signals(stream: Stream, received: list[int]) -> Iterator[None]:
    def handle(number: int, _: FrameType | None) -> None:
        if received or not stream.opened:
            unwind(number, None)
        received.append(number)
        stream.stop()

    with handled(handle, signal.SIGINT, signal.SIGTERM):
        yield
