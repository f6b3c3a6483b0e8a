"""The command `evaluate`: measures box and mask AP of weights on annotated images."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import itertools
import json
import logging
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mrcnn.coco.average_precision import paired_difference
from mrcnn.weights.digest import sha256_of
from mrcnn.weights.published import MODELS
from mrcnn.weights.whole_file import write_whole
from pipeline.commands.program import (
    MODEL_FLAGS,
    SET_FLAG,
    VERBOSE_FLAG,
    Parser,
    names,
    overrides_from,
    set_up_logging,
    whole_number,
)
from pipeline.console.progress import CountProgress
from pipeline.errors import InputError, RunError
from pipeline.evaluation.scoring import Evaluation, GroundTruth, evaluate, image_paths, match_classes, read_ground_truth
from pipeline.evaluation.shown import shown_objects
from pipeline.evaluation.tables import PLOT_FORMATS, Measured, comparison_plot, comparison_table, tables
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.report.plots import check_library
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.weights_file import find_weights
from pipeline.settings.loading import load_settings
from pipeline.settings.messages import KeyPath
from pipeline.settings.schema import Settings
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.version import __version__

logger = logging.getLogger("pipeline.commands.evaluate")

Overrides = dict[KeyPath, tuple[str, Any]]
"""Values of settings, each with the flag that said so."""

MIN_SCORE = 0.03
"""Default of the least score: AP needs detections of low scores too."""

PACKAGES = (
    "numpy",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "openvino",
    "onnxruntime",
    "pycocotools",
    "opencv-contrib-python",
)
"""Packages whose versions the JSON file lists, where they are installed."""


def share(text: str) -> float:
    """The type of a flag with a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


FLAGS: dict[str, dict[str, Any]] = {
    "--images": {"metavar": "DIR", "type": Path, "required": True, "help": "folder of the images"},
    "--annotations": {"metavar": "FILE", "type": Path, "required": True, "help": "COCO instances, .json"},
    "--classes": {
        "metavar": "A,B",
        "type": names,
        "default": (),
        "help": "evaluate only these classes, by name or id",
    },
    "--limit": {
        "metavar": "N",
        "type": partial(whole_number, least=1),
        "help": "only the first N images of the file",
    },
    "--models": {"metavar": "A,B", "type": names, "default": (), "help": "compare several models or weight files"},
    "--engines": {"metavar": "E,F", "type": names, "default": (), "help": "compare engines, such as openvino,keras"},
    "--precisions": {
        "metavar": "P,Q",
        "type": names,
        "default": (),
        "help": "compare precisions, such as float32,int8",
    },
    "--plot": {"metavar": "FILE", "help": "with a comparison: draw mask AP against time, .png, .svg or .pdf"},
    "--shown-score": {
        "metavar": "0..1",
        "type": share,
        "help": "also count what a run with this score threshold shows, and its false alarms",
    },
    "--json": {"metavar": "FILE", "help": "also write the numbers to this file"},
    "--overwrite": {"action": "store_true", "help": "replace existing files"},
    "--set": SET_FLAG
    | {"help": "any setting of the model, such as model.nms_threshold=0.5, or overlay.mask_threshold"},
    "--verbose": VERBOSE_FLAG,
}
SETTING_FLAGS = (
    *MODEL_FLAGS,
    ("--min-score", "model.min_score", "0..1", f"least score of a detection that counts (default {MIN_SCORE})"),
)


def run(argv: Sequence[str]) -> int:
    """Evaluate, print the tables, write the numbers; return the exit code."""
    parser = Parser(
        prog=f"{program_name()} evaluate",
        description="COCO box and mask average precision on annotated images, through the code that segments video.",
        allow_abbrev=False,
    )
    parser.add_flags("data and result", FLAGS)
    parser.add_settings("network", SETTING_FLAGS)
    arguments = parser.parse_args(argv)
    set_up_logging(arguments.verbose)
    settings = settings_from(arguments)
    combined = _combinations(settings, arguments)
    weights = [find_weights(one.model.weights).path for one in combined]
    truth = read_ground_truth(arguments.annotations, arguments.limit)
    images = image_paths(truth, arguments.images).values()
    read = [arguments.annotations, *weights, settings.model.labels, *images]
    outputs = Outputs(Inputs.of(read), arguments.overwrite)
    json_path, plot_path = (_claimed(outputs, given, flag) for flag, given in _files(arguments).items())
    ignored = f"{truth.without_area} annotations left out: no area inside the image" if truth.without_area else None
    for text in filter(None, (ignored, *truth.file.warnings.lines())):
        logger.info("%s", text)
    if len(combined) == 1:
        measured = _measure(settings, truth, arguments)
        assert measured.evaluation is not None
        _print(measured.evaluation, measured.description, settings.model.min_score)
        content = report(truth, settings) | record_of(measured, weights[0])
        content |= _print_shown([measured], truth, arguments.shown_score)[0]
    else:
        lines = [_measure_or_say_why(one, truth, arguments) for one in combined]
        if not any(line.evaluation for line in lines):
            raise InputError(lines[0].reason)
        Console(file=sys.stdout, highlight=False).print(comparison_table(lines))
        records = [record_of(line, path) for line, path in zip(lines, weights, strict=True)]
        more = zip(_print_shown(lines, truth, arguments.shown_score), _print_differences(lines, truth), strict=True)
        results = [record | one | other for record, (one, other) in zip(records, more, strict=True)]
        content = report(truth, settings) | {"results": results}
    if json_path is not None:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        print(f"written: {written(outputs, json_path, text)}")
    if plot_path is not None:
        print(f"written: {written(outputs, plot_path, comparison_plot(lines, plot_path.suffix[1:]))}")
    return 0


def _combinations(settings: Settings, arguments: argparse.Namespace) -> list[Settings]:
    """The settings of every model on every engine in every precision that is to be compared."""
    plurals = {"weights": "models", "engine": "engines", "precision": "precisions"}
    axes = {key: vars(arguments)[plural] for key, plural in plurals.items()}
    given = {dest.partition(" ")[2].removeprefix("model.") for dest, value in vars(arguments).items() if value}
    for key, plural in plurals.items():
        if axes[key] and key in given:
            raise InputError(f"--{plural} names what is compared: leave the option for a single one out")
    found = []
    for values in itertools.product(*(axis or [None] for axis in axes.values())):
        named = zip(axes, values, strict=True)
        combination: Overrides = {("model", key): (f"--{plurals[key]}", value) for key, value in named if value}
        found.append(settings_from(arguments, combination))
    if arguments.plot is not None:
        if len(found) == 1:
            raise InputError("--plot draws a comparison: give --models A,B, --engines or --precisions")
        if Path(arguments.plot).suffix not in PLOT_FORMATS:
            raise InputError(f"--plot {arguments.plot}: expected a name that ends in {', '.join(PLOT_FORMATS)}")
        check_library("--plot")
    return found


def _files(arguments: argparse.Namespace) -> dict[str, str | None]:
    return {"--json": arguments.json, "--plot": arguments.plot}


def _claimed(outputs: Outputs, given: str | None, flag: str) -> Path | None:
    path = None if given is None else user_path(given, flag)
    if path is not None:
        outputs.claim_file(path, flag)
    return path


def _measure(settings: Settings, truth: GroundTruth, arguments: argparse.Namespace) -> Measured:
    segmenter = MaskRCNNSegmenter.of(settings.model)
    unmatched = match_classes(segmenter.labels, truth, arguments.classes).unmatched_text()
    if unmatched:
        logger.info("%s", unmatched)
    segmenter.open()
    with contextlib.closing(segmenter), CountProgress("images", len(truth.images)) as progress:
        evaluation = evaluate(
            segmenter,
            truth,
            arguments.images,
            classes=arguments.classes,
            mask_threshold=settings.overlay.mask_threshold,
            on_image=lambda done, _: progress.set(done),
        )
        choice, description = segmenter.choice, segmenter.description
    name = _name_of(settings, arguments.models)
    return Measured(name, choice.engine.value, choice.precision.value, description, evaluation)


def _measure_or_say_why(settings: Settings, truth: GroundTruth, arguments: argparse.Namespace) -> Measured:
    """A combination that does not exist, such as Keras in int8, does not end the comparison."""
    try:
        return _measure(settings, truth, arguments)
    except InputError as error:
        model, name = settings.model, _name_of(settings, arguments.models)
        return Measured(name, model.engine.value, model.precision.value, reason=str(error))


def _print_shown(lines: Sequence[Measured], truth: GroundTruth, score: float | None) -> list[dict[str, Any]]:
    """Print what a run with the threshold shows; return it for JSON, line by line."""
    records: list[dict[str, Any]] = []
    for line in lines:
        records.append({})
        if score is None or line.evaluation is None:
            continue
        names = line.evaluation.classes.names
        annotations = [record for record in truth.annotations if record["category_id"] in names]
        shown = shown_objects(truth.images, annotations, line.evaluation.found, score)
        print(f"{line.name}: {shown.text}" if len(lines) > 1 else shown.text)
        records[-1] = {"shown": shown.record()}
    return records


def _print_differences(lines: Sequence[Measured], truth: GroundTruth) -> list[dict[str, Any]]:
    """Print how much mask AP each line gains over the first one that was measured, in the classes that both have."""
    first = next(line for line in lines if line.evaluation is not None)
    records: list[dict[str, Any]] = []
    for line in lines:
        records.append({})
        if line is first or line.evaluation is None or first.evaluation is None:
            continue
        both = [one for one in first.evaluation.classes.names if one in line.evaluation.classes.names]
        if not any(record["category_id"] in both and not record["iscrowd"] for record in truth.annotations):
            print(f"{line.name}: there is no object of a class that {first.name} has as well")
            continue
        apart = paired_difference(truth.annotations, first.evaluation.found, line.evaluation.found, both)
        print(
            f"{line.name}: mask AP {apart.mean:+.4f} against {first.name}, 95 % interval {apart.low:+.4f} to "
            f"{apart.high:+.4f}"
        )
        records[-1] = {"against_first": asdict(apart)}
    return records


def _name_of(settings: Settings, models: Sequence[str]) -> str:
    """A model's name, or that of its file; the whole path where several of the compared files have that name."""
    weights = settings.model.weights
    if weights is None or weights in MODELS:
        return weights or find_weights(weights).path.name
    name = Path(weights).name
    return name if len({one for one in models if Path(one).name == name}) < 2 else weights


def settings_from(arguments: argparse.Namespace, combination: Overrides | None = None) -> Settings:
    """The defaults, the command line, then a combination, each overriding the last; config.yaml is not read."""
    default: Overrides = {("model", "min_score"): ("--min-score", MIN_SCORE)}
    overrides = default | overrides_from(arguments) | (combination or {})
    for key_path in overrides:
        if key_path == ("model", "classes") or (key_path[0] != "model" and key_path != ("overlay", "mask_threshold")):
            key = ".".join(key_path)
            raise InputError(f"--set {key}: only the model's settings and overlay.mask_threshold change a measurement")
    return load_settings(None, overrides)


def report(truth: GroundTruth, settings: Settings) -> dict[str, Any]:
    """What `--json` writes beside the numbers: everything that is needed to reproduce them."""
    return {
        "annotations": {
            "file": truth.file.path.name,
            "sha256": sha256_of(truth.file.path),
            "images": len(truth.images),
            "objects_without_area": truth.without_area,
        },
        "settings": {
            "model": settings.model.model_dump(mode="json"),
            "overlay": {"mask_threshold": settings.overlay.mask_threshold},
        },
        "versions": {"stream_segment": __version__, "python": platform.python_version(), **_installed()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def record_of(measured: Measured, weights: Path) -> dict[str, Any]:
    """The numbers of one model, with its weight file."""
    return {"weights": {"file": weights.name, "sha256": sha256_of(weights)}, **measured.record()}


def written(outputs: Outputs, path: Path, content: str | bytes) -> Path:
    """Write a claimed file atomically; return the name that it got.

    Raises:
        RunError: it cannot be written (disk full …).
    """
    try:
        name = outputs.name_of(path)
        write_whole(name, content)
    except OSError as error:
        outputs.release(path)
        raise RunError(f"writing {path} failed: {error.strerror or error}") from error
    return name


def _print(evaluation: Evaluation, description: str, min_score: float | None) -> None:
    console = Console(file=sys.stdout, highlight=False)
    console.print(description, markup=False, soft_wrap=True)
    crowds = f" and {evaluation.crowds} crowd regions" if evaluation.crowds else ""
    console.print(
        f"{evaluation.images} images with {evaluation.objects} objects{crowds}; {evaluation.detections} detections "
        f"of at least {min_score:g}; {evaluation.image_ms:.0f} ms an image (median)",
        soft_wrap=True,
    )
    for table in tables(evaluation):
        console.print(table)


def _installed() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
