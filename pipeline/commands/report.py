"""The command `report`: a page about what runs have detected, and exports of it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrcnn.weights.whole_file import whole_file, write_whole
from pipeline.commands.program import VERBOSE_FLAG, Parser, set_up_logging
from pipeline.console.progress import CountProgress
from pipeline.errors import RunError
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.report.coco_export import CocoExport
from pipeline.report.collect import collect
from pipeline.report.export import Export
from pipeline.report.page import page
from pipeline.report.parquet_export import ParquetExport
from pipeline.report.plots import check_library
from pipeline.report.report_input import Sources, find_sources
from pipeline.report.youtube_vis_export import YoutubeVisExport
from pipeline.sinks.paths import Inputs, Outputs

EXPORTS: dict[str, type[Export]] = {
    "--table": ParquetExport,
    "--coco": CocoExport,
    "--youtube-vis": YoutubeVisExport,
}
FLAGS: dict[str, dict[str, Any]] = {
    "paths": {
        "nargs": "+",
        "metavar": "PATH",
        "help": "what --detections wrote (.jsonl), or the folder that `batch` wrote",
    },
    "--output": {
        "metavar": "FILE",
        "help": "the page (default: clip_report.html beside clip.jsonl, report.html in a folder; none with an export)",
    },
    "--video": {"metavar": "FILE", "help": "take the pictures from this video (default: the recording beside PATH)"},
    "--table": {"metavar": "FILE", "help": "a Parquet table, .parquet: one row per object and frame"},
    "--coco": {"metavar": "FILE", "help": "COCO's JSON: one image per frame"},
    "--youtube-vis": {"metavar": "FILE", "help": "YouTube-VIS' JSON: one annotation per track"},
    "--overwrite": {"action": "store_true", "help": "replace existing files (default: a new name beside them)"},
    "--verbose": VERBOSE_FLAG,
}


class _ReadProgress(CountProgress):
    """Shows how much of the detections is read, in megabytes."""

    def __init__(self, sources: Sources) -> None:
        self._bytes = 0
        size = sum(file.path.stat().st_size for file in sources.files if file.path.is_file())
        super().__init__("MB", max(1, size // 1_000_000))

    def advance(self, size: int) -> None:
        """Show that so many more bytes are read."""
        before = self._bytes // 1_000_000
        self._bytes += size
        if self._bytes // 1_000_000 > before:
            self.set(self._bytes // 1_000_000)


def run(argv: Sequence[str]) -> int:
    """Write the page and the exports; return the exit code."""
    parser = Parser(
        prog=f"{program_name()} report",
        description="A page about detections, for one run or a batch: who was where, when and for how long; and "
        "exports to Parquet, COCO and YouTube-VIS.",
        allow_abbrev=False,
    )
    parser.add_flags("detections and outputs", FLAGS)
    arguments = parser.parse_args(argv)
    set_up_logging(arguments.verbose)
    paths = [user_path(path, "PATH") for path in arguments.paths]
    sources = find_sources(paths)
    video = None if arguments.video is None else user_path(arguments.video, "--video")
    outputs = Outputs(Inputs.of([*(file.path for file in sources.files), video]), arguments.overwrite)
    wanted = {flag: user_path(given, flag) for flag in EXPORTS if (given := _given(arguments, flag)) is not None}
    html = _page_path(arguments, paths[0], bool(wanted))
    if html is not None:
        check_library()
        wanted["--output"] = html
    for flag, path in wanted.items():
        outputs.claim_file(path, flag)
    for name in _write(outputs, wanted, sources, paths, video):
        print(f"written: {name}")
    return 0


def _given(arguments: argparse.Namespace, flag: str) -> str | None:
    text: str | None = vars(arguments)[flag.removeprefix("--").replace("-", "_")]
    return text


def _page_path(arguments: argparse.Namespace, first: Path, has_exports: bool) -> Path | None:
    """Where the page goes; None if only exports are wanted."""
    if arguments.output is not None:
        return user_path(arguments.output, "--output")
    if has_exports:
        return None
    return first / "report.html" if first.is_dir() else first.with_name(f"{first.stem}_report.html")


def _write(
    outputs: Outputs, wanted: dict[str, Path], sources: Sources, paths: Sequence[Path], video: Path | None
) -> list[Path]:
    """Write all files, each of which appears once it is complete; return their names.

    Raises:
        InputError: the detections are damaged, or an export cannot hold them.
        RunError: a file cannot be written (disk full …).
    """
    title = ", ".join(path.absolute().name for path in paths)
    try:
        with contextlib.ExitStack() as stack:
            names = {flag: stack.enter_context(outputs.reserved(path)) for flag, path in wanted.items()}
            files = {flag: stack.enter_context(whole_file(names[flag])) for flag in EXPORTS if flag in names}
            exports = [stack.enter_context(contextlib.closing(EXPORTS[flag](file))) for flag, file in files.items()]
            with _ReadProgress(sources) as progress:
                report = collect(title, sources, exports, video, progress.advance)
            if "--output" in names:
                write_whole(names["--output"], page(report))
    except OSError as error:
        raise RunError(f"writing {error.filename or title} failed: {error.strerror or error}") from error
    return list(names.values())
