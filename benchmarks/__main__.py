"""Measures speed and accuracy against targets.

    python -m benchmarks                              # the CPU table, under ten minutes
    python -m benchmarks --quick                      # tests that everything runs; the numbers scatter more
    python -m benchmarks --only small,drawing         # some rows
    python -m benchmarks --json FILE --markdown       # also written; printed as Markdown
    python -m benchmarks --show FILE --markdown       # a table that was measured before
    python -m benchmarks --gpu                        # the GPU part alone; fails without a GPU

Each row runs in a process of its own. Sides of a comparison are timed alternately in one run; numbers are medians with
minimum and maximum. Exit code 0: all rows were measured, whether their targets were reached or missed; 1: a
row failed; 2: usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import gpu_probe, machine
from benchmarks.measuring import RowReport
from benchmarks.options import Options
from benchmarks.report import as_markdown, last_line, measured, read_json, show, target_text, write_json
from benchmarks.row_process import run_row
from benchmarks.rows import CPU_ROWS, GPU_ROWS, PEER_ROWS
from pipeline.commands.main import print_any_text
from pipeline.commands.program import Parser
from pipeline.errors import InputError, StreamSegmentError
from pipeline.settings.loading import parse_assignment
from pipeline.settings.model_settings import ModelSettings


def main(argv: Sequence[str] | None = None, runner: Callable[..., RowReport] = run_row) -> int:
    """The command; returns the exit code.

    Args:
        argv: arguments.
        runner: measures a row.
    """
    try:
        return _main(sys.argv[1:] if argv is None else argv, runner)
    except StreamSegmentError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return error.exit_code


def _main(argv: Sequence[str], runner: Callable[..., RowReport]) -> int:
    arguments = parser().parse_args(argv)
    if arguments.show is not None:
        return _show(arguments.show, arguments.markdown)
    options = options_from(arguments)
    record: dict[str, Any] = {"machine": machine.describe(), "options": vars(options), "rows": []}
    if arguments.gpu:  # once for each Keras backend that sees it
        seen = gpu_probe.backends_with_gpu()
        if not seen:
            raise InputError("--gpu: neither TensorFlow nor JAX nor PyTorch sees a GPU here")
        record["machine"]["gpu"] = ", ".join(sorted(set(seen.values())))
        rows = [(name, {"KERAS_BACKEND": backend}) for backend in seen for name in GPU_ROWS]
    else:
        rows = [(name, {}) for name in rows_from(arguments.only, options)]
    reports = []
    for name, environment in rows:
        print(f"{name} …", file=sys.stderr, flush=True)
        reports.append(runner(name, options, environment=environment))
        _tell(reports[-1])
        record["rows"].append(reports[-1].as_json())
        record["seconds"] = round(sum(report.seconds for report in reports), 1)
        record["machine"]["load_at_end"] = machine.load()
        if arguments.json is not None:  # after each row: an interrupted run keeps what it measured
            write_json(arguments.json, record)
    if arguments.markdown:
        print(as_markdown(record), end="")
    else:
        show(reports)
    return _verdict(reports)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    it = Parser(prog="python -m benchmarks", description="Measures speed and accuracy against targets.")
    it.add_argument("--only", metavar="ROW,…", help=f"some of {', '.join((*CPU_ROWS, *PEER_ROWS))}")
    it.add_argument("--quick", action="store_true", help="fewer rounds, to test that everything runs")
    it.add_argument("--json", type=Path, metavar="FILE", help="write everything, with machine, versions and settings")
    it.add_argument("--markdown", action="store_true", help="print Markdown")
    it.add_argument("--show", type=Path, metavar="FILE", help="print what --json wrote before, and measure nothing")
    it.add_argument("--gpu", action="store_true", help="the GPU part alone; fails without a GPU")
    it.add_argument("--weights", metavar="FILE", help="ResNet-101 weights with 81 classes")
    it.add_argument("--original", metavar="PYTHON", help="an interpreter that has Matterport's package: time it too")
    it.add_argument("--torchvision", metavar="PYTHON", help="an interpreter that has torchvision: compare with it")
    it.add_argument("--ultralytics", metavar="PYTHON", help="an interpreter that has ultralytics: compare with it")
    it.add_argument("--coco-images", metavar="DIR", help="photographs, for the AP of the small model")
    it.add_argument("--coco-annotations", metavar="FILE", help="their COCO annotations")
    it.add_argument(
        "--set", action="append", default=[], metavar="model.KEY=VALUE", help="overrides the automatic choice"
    )
    return it


def options_from(arguments: argparse.Namespace) -> Options:
    """The options of the rows. Raises InputError: a file is missing, or a setting is not one of the model."""
    if (arguments.coco_images is None) != (arguments.coco_annotations is None):
        raise InputError("--coco-images and --coco-annotations are given together")
    flags = ("weights", "original", "torchvision", "ultralytics", "coco_images", "coco_annotations")
    for flag, path in {f"--{name.replace('_', '-')}": vars(arguments)[name] for name in flags}.items():
        if path is not None and not Path(path).exists():
            raise InputError(f"{flag} {path}: there is no such file")
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        raise InputError(f"--json {arguments.json}: there is no folder {arguments.json.parent}")
    model = {}
    for text in arguments.set:
        key_path, value = parse_assignment(text)
        if len(key_path) != 2 or key_path[0] != "model" or key_path[1] not in ModelSettings.model_fields:
            raise InputError(f"--set {text}: expected model.KEY=VALUE with a setting of the model in config.yaml")
        model[key_path[1]] = value

    def absolute(path: str | None) -> str | None:
        # not resolved: the interpreter of a virtual environment is a link that must stay one
        return None if path is None else str(Path(path).absolute())

    return Options(
        quick=arguments.quick,
        weights=absolute(arguments.weights),
        original=absolute(arguments.original),
        torchvision=absolute(arguments.torchvision),
        ultralytics=absolute(arguments.ultralytics),
        coco_images=absolute(arguments.coco_images),
        coco_annotations=absolute(arguments.coco_annotations),
        model=model,
    )


def rows_from(only: str | None, options: Options) -> Sequence[str]:
    """Names of rows, in the order of the table. Raises InputError for an unknown one.

    Args:
        only: what --only says.
        options: which packages there is an interpreter for.
    """
    every = (*CPU_ROWS, *PEER_ROWS)
    if only is None:
        return (*CPU_ROWS, *(name for name, package in PEER_ROWS.items() if vars(options)[package] is not None))
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise InputError(f"--only {only}: expected some of {', '.join(every)}")
    return [name for name in every if name in names]


def _tell(report: RowReport) -> None:
    """Print a finished row on standard error."""
    for value in report.values:
        goal = f" ({target_text(value.target)}: {'reached' if value.reached else 'missed'})" if value.target else ""
        print(f"    {value.name}: {measured(value)}{goal}", file=sys.stderr, flush=True)
    if report.error:
        print(f"{report.error}\n    FAILED: {last_line(report.error)}", file=sys.stderr, flush=True)
    print(f"    {report.seconds:.0f} s", file=sys.stderr, flush=True)


def _verdict(reports: Sequence[RowReport]) -> int:
    goals = [value for report in reports for value in report.values if value.target is not None]
    failed = [report.name for report in reports if report.error]
    missed = sum(not value.reached for value in goals)
    ending = f"; failed: {', '.join(failed)}" if failed else ""
    took_s = sum(report.seconds for report in reports)
    print(f"{len(goals) - missed} targets reached, {missed} missed{ending}; {took_s:.0f} s", file=sys.stderr)
    return 1 if failed else 0


def _show(path: Path, markdown: bool) -> int:
    if not path.is_file():
        raise InputError(f"--show {path}: there is no such file")
    record = read_json(path)
    if markdown:
        print(as_markdown(record), end="")
    else:
        show([RowReport.from_json(row) for row in record["rows"]])
    return 0


if __name__ == "__main__":
    print_any_text()
    sys.exit(main())
