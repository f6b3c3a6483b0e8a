"""The command `weights`: lists the published models, downloads them, describes a weight file."""

from __future__ import annotations

import argparse
import difflib
import errno
import logging
import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mrcnn.weights.checkpoint import Checkpoint, WeightsError, read_arrays, read_checkpoint
from mrcnn.weights.digest import sha256_of
from mrcnn.weights.download import (
    DownloadError,
    DownloadSettings,
    WrongFileError,
    check_file,
    check_network,
    convert_published,
    fetch_weights,
    part_of,
)
from mrcnn.weights.metadata import network_settings
from mrcnn.weights.published import MODELS, PublishedModel
from mrcnn.weights.state_dict import is_foreign
from pipeline.commands.program import Parser, set_up_logging
from pipeline.console.progress import DownloadProgress
from pipeline.errors import InputError, RunError
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.safe_uri import safe_name
from pipeline.segmentation.engine_choice import EngineSelection
from pipeline.segmentation.engine_pool import default_workers
from pipeline.segmentation.engine_trials import EngineTrials
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.weights_file import find_weights, model_path, weights_dir
from pipeline.settings.model_settings import ModelSettings
from pipeline.sinks.paths import create_new, numbered

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "STREAM_SEGMENT_WEIGHTS_MIRROR"
TEXT_WIDTH = 100


def run(argv: Sequence[str]) -> int:
    """List, download or describe weights; return the exit code."""
    arguments = _parser().parse_args(argv)
    set_up_logging()
    if arguments.what == "list":
        print(list_text())
    elif arguments.what == "info":
        print(info_text(find_weights(arguments.weights).path))
    else:
        model = _model_named(arguments.name)
        folder = user_path(arguments.dir, "--dir") if arguments.dir else weights_dir()
        path = get_weights(model, folder, DownloadSettings(mirror=_mirror()))
        use = f"--model {model.name}" if path == model_path(model) else f"--weights {path}"
        print(f"{model.name}: {path} (license: {model.license}). Use it with {use}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=f"{program_name()} weights", description="Get and describe weights.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="what", metavar="COMMAND", required=True)
    commands.add_parser("list", help="the models that can be named: size, accuracy, license, whether they are here")
    get = commands.add_parser("get", help="download a model", allow_abbrev=False)
    get.add_argument("name", metavar="NAME", help=f"one of {', '.join(MODELS)}")
    get.add_argument(
        "--dir", metavar="DIR", help="where to put it (default: a clone's weights/, else the user's cache)"
    )
    info = commands.add_parser("info", help="what a weight file says of its network", allow_abbrev=False)
    info.add_argument("weights", metavar="FILE", help="a file (.h5, .pth, .pkl, .safetensors) or a model's name")
    return parser


def list_text() -> str:
    """The models as a table."""
    rows = [("name", "network", "classes", "mask AP", "MB", "here", "ms", "license")]
    for model in MODELS.values():
        path = model_path(model)
        rows.append(
            (
                model.name,
                f"{model.architecture} {model.backbone}",
                "person" if model.num_classes == 2 else "COCO's 80",
                "-" if model.mask_ap is None else f"{model.mask_ap}",
                f"{model.megabytes}",
                "no" if path is None else "yes",
                "-" if path is None else _frame_time(path),
                model.license,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    program = program_name()
    notes = f"""
Mask AP on COCO val2017, percent: published by the authors, not reproduced here. The weights of detectron2 have not
been compared with detectron2 itself. ms: of a frame on this machine, measured by the last run with default settings.
Files: {weights_dir()}
Download: {program} weights get NAME. Use: {program} --model NAME"""
    return "\n".join([*lines, notes])


def _frame_time(path: Path) -> str:
    """Milliseconds a frame, as a run with the default settings has measured them; "-" if none has."""
    try:
        model = read_model(ModelSettings(weights=str(path)))
        workers = default_workers(model.settings.batch_size, Machine().cores())
        selection = EngineSelection(model.reporting(model.detection_filter()), workers=workers)
    except InputError:
        return "-"
    frame_ms = EngineTrials(selection).frame_ms
    return "-" if frame_ms is None else f"{frame_ms:.0f}"


def info_text(path: Path) -> str:
    """What a weight file says of its network. Raises InputError if it is not a Mask R-CNN's."""
    try:
        checkpoint = read_checkpoint(path)
        settings = network_settings(checkpoint.config())
        parameters = sum(array.size for arrays in read_arrays(path).values() for array in arrays.values())
    except WeightsError as error:
        raise InputError(str(error)) from None
    names = "without names" if checkpoint.class_names is None else ", ".join(checkpoint.class_names[1:])
    facts: dict[str, Any] = {
        "file": str(path),
        "size": f"{path.stat().st_size:,} bytes",
        "SHA-256": sha256_of(path),
        "architecture": settings.pop("ARCHITECTURE", "matterport"),
        "backbone": settings.pop("BACKBONE"),
        "parameters": f"{parameters:,}, with those of normalization",
        "classes": f"{checkpoint.num_classes - 1} and the background: {names}",
        "settings": _origin_of_settings(checkpoint),
        **settings,
    }
    width = max(map(len, facts)) + 2
    facts["classes"] = f"\n{' ' * width}".join(textwrap.wrap(facts["classes"], TEXT_WIDTH - width))
    return "\n".join(f"{f'{name}:':{width}}{value}" for name, value in facts.items())


def _origin_of_settings(checkpoint: Checkpoint) -> str:
    if checkpoint.metadata is None:
        return "Matterport's defaults"
    return "those of the published weights" if is_foreign(checkpoint.path) else "from the file"


def get_weights(model: PublishedModel, folder: Path, settings: DownloadSettings, output: IO[str] | None = None) -> Path:
    """Download a model's weights into a folder, which is made if need be, and convert them into our layout.

    A valid file that is already there is kept, and any other of its name is renamed. The published file, put there by
    hand, is converted. An interrupted download is resumed by a later call.

    Args:
        model: the model.
        folder: the folder.
        settings: mirror, timeouts and retries.
        output: for the progress; standard error by default.

    Returns:
        Path of the file.

    Raises:
        InputError: the folder cannot be written, or has too little room; or the model cannot be downloaded.
        RunError: no network, a server without the file, a wrong file, a full disk.
    """
    if model.url is None:
        return find_weights(model.name).path
    target, published = folder / model.local_name, folder / model.file_name
    if os.path.exists(target):
        problem = _problem_of(model, target)
        if problem is None:
            logger.info("%s is already there and complete", target)
            return target
        logger.warning("%s is not %s (%s): kept as %s", target, model.name, problem, _set_aside(target))
    _prepare_folder(model, folder)
    try:
        if target != published and published.is_file() and _is_installed(model, folder):
            return target
        with DownloadProgress(model.file_name, model.size or model.megabytes * 1_000_000, output) as progress:
            fetch_weights(model, target, progress, settings)
    except OSError as error:
        # Processes that download the same file share its .part, which is gone once one of them has finished.
        if target.exists() and _problem_of(model, target) is None:
            logger.info("%s was downloaded by another process meanwhile", target)
            return target
        if not isinstance(error, DownloadError):
            raise RunError(f"cannot write {target}: {error.strerror or error}") from None
        mirror = settings.mirror or ""  # its path may hold a key
        raise RunError(str(error).replace(mirror, safe_name(mirror)) if mirror else str(error)) from None
    return target


def _problem_of(model: PublishedModel, target: Path) -> Exception | None:
    """Why a file is not a model's weights in our layout; None if it is."""
    try:
        if target.name == model.file_name:
            check_file(model, target)
        check_network(model, target)
    except (WrongFileError, WeightsError) as error:
        return error
    return None


def _is_installed(model: PublishedModel, folder: Path) -> bool:
    """Convert a published file that somebody has put into the folder; False if it is another one."""
    published = folder / model.file_name
    try:
        check_file(model, published)
        convert_published(model, published, folder / model.local_name)
    except (WrongFileError, WeightsError) as error:
        logger.warning("%s is not the published file (%s): downloading it", published, error)
        return False
    return True


def _model_named(name: str) -> PublishedModel:
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(MODELS)}"
        raise InputError(f"weights get {name}: there is no such model; {hint}")
    return MODELS[name]


def _mirror() -> str | None:
    """The user's mirror. Raises InputError if it is not the plain address of a folder, without repeating it."""
    mirror = os.environ.get(MIRROR_VARIABLE) or None
    if mirror is not None and not _is_plain(mirror):
        raise InputError(
            f"{MIRROR_VARIABLE} must be an address like https://host/folder, without user name, query or fragment"
        )
    return mirror


def _is_plain(address: str) -> bool:
    try:
        urlsplit(address).port  # noqa: B018 - raises where host or port is no such thing
    except ValueError:
        return False
    return address.isascii() and re.fullmatch(r"https?://[^\s@?#]+", address) is not None


def _set_aside(path: Path) -> Path:
    """Rename somebody's file, so that the download does not replace it; return its new name."""
    names = numbered(path)
    next(names)  # its own
    try:
        return path.replace(create_new(names))
    except OSError as error:
        raise InputError(f"{path} is another file and cannot be renamed: {error.strerror}") from None


def _prepare_folder(model: PublishedModel, folder: Path) -> None:
    part = part_of(model, folder / model.local_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):  # not tried with tempfile: see `whole_file`
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        have = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write the weights to {folder}: {error.strerror}; choose another with --dir") from None
    files = 1 if model.local_name == model.file_name else 2  # the conversion is about as large
    needed = files * (model.size or model.megabytes * 1_000_000) - have
    if free < needed:
        raise InputError(
            f"{folder} has {free:,} bytes free, the weights need {needed:,} more; choose another with --dir"
        )
