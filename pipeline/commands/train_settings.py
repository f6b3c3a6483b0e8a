"""What a training run was asked to do: the options, what they come to, and whether a run goes on as it began."""

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
from pipeline.segmentation.weights_file import find_weights, weights_dir

RUN_FILE = "run.json"
WRITTEN = ("best.h5", "last.h5", "checkpoint.npz", "log.jsonl")
IMAGENET_FILES = {
    "efficientnet_lite0": "efficientnet_lite0_imagenet.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
SIZE_MULTIPLE = 64
WINDOW_SHARE = 0.625
"""A training window's side as a share of the size: the shipped model's 320 of 512."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options of a run, as given or by default; None where the data or the weights decide.

    Attributes:
        images, annotations: what to train on.
        val_images, val_annotations: what to validate on; None sets a part of the first aside.
        weights: the file to start from.
        backbone: what the file must have; None takes any.
        classes: None takes all.
        epochs, steps: how long; at most one is given.
        batch: windows per step.
        size: longer side that the network will see, pixels.
        window: side of a training window, pixels.
        learning_rate: peak.
        layers: what is trained.
        augmentation: "full", "mild" or "off".
        precision: "auto", "float32" or "mixed".
        validate_every: steps.
        seed: of everything that is left to chance.
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


OPTIONS = tuple(one.name for one in fields(RunSettings))
_FILES = ("images", "annotations", "val_images", "val_annotations", "weights")


def settings_from(given: Namespace, output: Path) -> RunSettings:
    """The settings of the run in `output`, or of a new one.

    Args:
        given: what the command line says; None for every option that was not given.
        output: the run's folder.

    Raises:
        InputError: an option is missing or out of range, or differs from those of the run that lies there.
    """
    stored = read_run(output)
    foreign = [name for name in WRITTEN if stored is None and (output / name).exists()]
    if foreign:
        raise InputError(f"--output {output} has a {foreign[0]} that is not of a run there: give another folder")
    options = {name: getattr(given, name) for name in OPTIONS}
    if given.resume:
        if stored is None:
            raise InputError(f"--resume: there is no run in {output} ({RUN_FILE} is missing)")
        # everything that is not said again is as it was
        options = {name: stored["settings"].get(name) if value is None else value for name, value in options.items()}
    for name in ("images", "annotations"):
        if options[name] is None:
            raise InputError(f"--{name} is needed (see stream_segment.py train --help)")
    if (options["val_images"] is None) != (options["val_annotations"] is None):
        raise InputError("--val-images and --val-annotations go together")
    options["weights"] = str(_weights(options["weights"], options["backbone"]))
    for name in _FILES:
        if options[name] is not None:
            options[name] = str(user_path(options[name], f"--{name.replace('_', '-')}").absolute())
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    settings = RunSettings(**chosen)
    _check(settings)
    if stored is not None and (output / "checkpoint.npz").exists():
        _check_same(settings, stored, output)
    return settings


def read_run(output: Path) -> dict[str, Any] | None:
    """What `write_run` wrote; None if there is nothing, or nothing that can be read."""
    try:
        stored = json.loads((output / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and isinstance(stored.get("settings"), dict) else None


def write_run(output: Path, settings: RunSettings, facts: dict[str, Any]) -> None:
    """Note what the run is, for those who look at its folder and for going on.

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
            f"make it with `python tools/convert_efficientnet_lite0.py --output {path}`"
            if backbone in (None, "efficientnet_lite0")
            else "it is https://github.com/fchollet/deep-learning-models/releases/download/v0.2/" + name
        )
        raise InputError(f"--weights imagenet: {path} is not there; {how}")
    return path


def _check(settings: RunSettings) -> None:
    if settings.epochs is not None and settings.steps is not None:
        raise InputError("--epochs and --steps are two ways to say the same: give one")
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
    # where the files lie may change, what is in the annotations may not
    differing = [
        f"--{name.replace('_', '-')} was {_said(before.get(name))}, is {_said(value)}"
        for name, value in now.items()
        if name not in ("images", "annotations", "val_images", "val_annotations") and before.get(name) != value
    ]
    if stored.get("annotations_sha256") != fingerprint(settings):
        differing.append("the annotations are not those it began with")
    if differing:
        raise InputError(
            f"{output} holds a run with other settings: {'; '.join(differing)}. Give another --output for a new run, "
            f"or go on with this one: python stream_segment.py train --resume --output {output}"
        )


def _said(value: Any) -> str:
    return "not given" if value is None else ",".join(value) if isinstance(value, list) else str(value)
