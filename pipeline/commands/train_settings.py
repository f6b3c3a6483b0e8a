"""The options of a training run: defaults, checks, and whether a resumed run has the same ones."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mrcnn.weights.digest import sha256_of
from mrcnn.weights.whole_file import write_whole
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.segmentation.weights_file import find_weights, weights_dir

RUN_FILE = "run.json"
IMAGENET_FILES = {
    "efficientnet_lite0": "efficientnet_lite0_imagenet.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
SIZE_MULTIPLE = 64
WINDOW_SHARE = 0.625
"""A training window's side as a share of the size: 320 of 512 for the shipped model."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options of a run, given or default; None where the data or the weights decide.

    Attributes:
        images, annotations: the training data.
        val_images, val_annotations: the validation data; None holds out a part of the training data.
        weights: the file with the initial weights.
        backbone: the expected backbone of the file; None accepts any.
        classes: None takes all.
        epochs, steps: length of the run; at most one is given.
        batch: windows per step.
        size: longer side of the network's input, pixels.
        window: side of a training window, pixels.
        learning_rate: peak.
        layers: which layers are trained.
        augmentation: "full", "mild" or "off".
        precision: "auto", "float32" or "mixed".
        validate_every: steps.
        seed: of all random choices.
    """

    images: str
    annotations: str
    weights: str
    val_images: str | None = None
    val_annotations: str | None = None
    backbone: str | None = None
    classes: list[str] | None = None
    epochs: float | None = None
    steps: int | None = None
    batch: int = 4
    size: int | None = None
    window: int | None = None
    learning_rate: float | None = None
    layers: str = "4+"
    augmentation: str = "full"
    precision: str = "auto"
    validate_every: int | None = None
    seed: int = 1

    def files_read(self) -> list[str | None]:
        """The files and folders that the run reads."""
        return [self.images, self.annotations, self.val_images, self.val_annotations, self.weights]


OPTIONS = tuple(one.name for one in fields(RunSettings))
_FILES = ("images", "annotations", "val_images", "val_annotations", "weights")


def settings_from(given: Namespace, output: Path) -> RunSettings:
    """The settings of the run in `output`, or of a new one.

    Args:
        given: the command line; None for every option that was not given.
        output: the run's folder.

    Raises:
        InputError: an option is missing or out of range, or differs from the run in `output`.
    """
    stored = read_run(output)
    options = {name: getattr(given, name) for name in OPTIONS}
    if given.resume:
        if stored is None:
            raise InputError(f"--resume: there is no run in {output} ({RUN_FILE} is missing)")
        # options that are not given again keep their values
        options = {name: stored["settings"].get(name) if value is None else value for name, value in options.items()}
    for name in ("images", "annotations"):
        if options[name] is None:
            raise InputError(f"--{name} is needed (see {program_name()} train --help)")
    if (options["val_images"] is None) != (options["val_annotations"] is None):
        raise InputError("--val-images and --val-annotations go together")
    options["weights"] = str(_weights(options["weights"], options["backbone"]))
    for name in _FILES:
        if options[name] is not None:
            options[name] = str(user_path(options[name], f"--{name.replace('_', '-')}").absolute())
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    settings = RunSettings(**chosen)
    _check(settings)
    if can_resume(output):
        _check_same(settings, stored or {}, output)
    return settings


def can_resume(output: Path) -> bool:
    """Whether the folder holds a run that was interrupted or has ended."""
    return (output / "checkpoint.npz").exists() and read_run(output) is not None


def read_run(output: Path) -> dict[str, Any] | None:
    """What `write_run` wrote; None if there is no file or it is unreadable."""
    try:
        stored = json.loads((output / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and isinstance(stored.get("settings"), dict) else None


def write_run(output: Path, settings: RunSettings, facts: dict[str, Any]) -> None:
    """Write the run's options, for readers of its folder and for a resumed run.

    Raises:
        OSError: it cannot be written.
    """
    content = {"settings": asdict(settings), "annotations_sha256": fingerprint(settings), **facts}
    write_whole(output / RUN_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def fingerprint(settings: RunSettings) -> list[str | None]:
    """SHA-256 of the annotation files, to see that a run goes on with what it began with; None for one not there."""
    names = (settings.annotations, settings.val_annotations)
    return [sha256_of(Path(name)) if name and Path(name).is_file() else None for name in names]


def _weights(given: str | None, backbone: str | None) -> Path:
    if given != "imagenet":
        return find_weights(given).path
    name = IMAGENET_FILES.get(backbone or "efficientnet_lite0")
    if name is None:
        raise InputError(f"--weights imagenet: there are none for {backbone}; use {', '.join(IMAGENET_FILES)}")
    path = weights_dir() / name
    if not path.is_file():
        how = (
            f"make it in a clone: `python tools/convert_efficientnet_lite0.py --output {path}`"
            if backbone in (None, "efficientnet_lite0")
            else "it is https://github.com/fchollet/deep-learning-models/releases/download/v0.2/" + name
        )
        raise InputError(f"--weights imagenet: {path} is not there; {how}")
    return path


def _check(settings: RunSettings) -> None:
    if settings.epochs is not None and settings.steps is not None:
        raise InputError("--epochs and --steps exclude each other: give one")
    for name in ("batch", "steps", "validate_every"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be 1 or more, got {value}")
    for name in ("epochs", "learning_rate"):
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value}")
    for name in ("size", "window"):
        value = getattr(settings, name)
        if value is not None and (value < SIZE_MULTIPLE or value % SIZE_MULTIPLE):
            raise InputError(f"--{name} must be a multiple of {SIZE_MULTIPLE} (320, 512, 640 …), got {value}")
    if settings.seed < 0:
        raise InputError(f"--seed must be 0 or more, got {settings.seed}")


def _check_same(settings: RunSettings, stored: dict[str, Any], output: Path) -> None:
    before = stored["settings"]
    now = json.loads(json.dumps(asdict(settings)))
    # the files may move, the content of the annotations must not change
    differing = [
        f"--{name.replace('_', '-')} was {_text(before.get(name))}, is {_text(value)}"
        for name, value in now.items()
        if name not in ("images", "annotations", "val_images", "val_annotations") and before.get(name) != value
    ]
    if stored.get("annotations_sha256") != fingerprint(settings):
        differing.append("the annotations have changed")
    if differing:
        raise InputError(
            f"{output} holds a run with other settings: {'; '.join(differing)}. Give another --output for a new run, "
            f"or resume this one: {program_name()} train --resume --output {output}"
        )


def _text(value: Any) -> str:
    return "not given" if value is None else ",".join(value) if isinstance(value, list) else str(value)
