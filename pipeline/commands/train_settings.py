"""The options of a training run: flags, defaults, checks, and whether a resumed run has the same ones."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mrcnn.weights.digest import sha256_of
from mrcnn.weights.whole_file import write_whole
from pipeline.commands.program import VERBOSE_FLAG, names
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.segmentation.weights_file import find_weights, weights_dir
from pipeline.settings.model_settings import Backend, Device

RUN_FILE = "run.json"
IMAGENET_FILES = {
    "efficientnet_lite0": "efficientnet_lite0_imagenet.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
WINDOW_SHARE = 0.625
"""A training window's side as a share of the size: 320 of 512 for the shipped model."""
FLAGS: dict[str, dict[str, dict[str, Any]]] = {
    "data": {
        "--images": {"metavar": "DIR", "help": "folder of the images"},
        "--annotations": {"metavar": "FILE", "help": "COCO instances file"},
        "--val-images": {"metavar": "DIR", "help": "images to validate on (default: a tenth of --images)"},
        "--val-annotations": {"metavar": "FILE", "help": "their annotations"},
        "--classes": {"type": names, "metavar": "A,B", "help": "categories to learn (default: all)"},
    },
    "network": {
        "--weights": {
            "metavar": "FILE",
            "help": "initial weights: a file or 'imagenet' (default: the shipped weights)",
        },
        "--model": {"dest": "weights", "metavar": "NAME", "help": "start from a published model: see `weights list`"},
        "--backbone": {"choices": ["resnet50", "resnet101", "efficientnet_lite0"], "help": "of the weights"},
        "--size": {
            "type": int,
            "metavar": "PIXELS",
            "help": "longer side of the network's input (default: the file's)",
        },
        "--layers": {"metavar": "WHICH", "help": "heads, 5+, 4+, 3+, all or a pattern of names (default 4+)"},
    },
    "schedule": {
        "--output": {"metavar": "DIR", "required": True, "help": "folder of the run"},
        "--epochs": {"type": float, "metavar": "N", "help": "passes over the images (default: 40)"},
        "--steps": {"type": int, "metavar": "N", "help": "the length in steps instead"},
        "--batch": {"type": int, "metavar": "N", "help": "windows per step (default 4)"},
        "--accumulate": {
            "type": int,
            "metavar": "N",
            "help": "average the gradients of N steps: a batch N times as large in the same memory (default 1)",
        },
        "--window": {"type": int, "metavar": "PIXELS", "help": "side of a training window (default: 5/8 of the size)"},
        "--learning-rate": {
            "type": float,
            "metavar": "RATE",
            "help": "its peak (default: by network and weights)",
        },
        "--schedule": {
            "choices": ["cosine", "step", "constant"],
            "help": "of the learning rate after its peak; step: a tenth after 2/3 and 8/9 (default: cosine)",
        },
        "--augmentation": {
            "choices": ["video", "full", "mild", "off"],
            "help": "video: full, with blur, noise and compression (default: full)",
        },
        "--dice": {
            "type": float,
            "metavar": "WEIGHT",
            "help": "of the Dice loss of the masks, 0.5 for example (default 0)",
        },
        "--semantic": {
            "type": float,
            "metavar": "WEIGHT",
            "help": "of an auxiliary loss that labels every pixel, 0.5 for example (default 0)",
        },
        "--validate-every": {"type": int, "metavar": "STEPS", "help": "default: 15 times in a run"},
        "--seed": {"type": int, "metavar": "N", "help": "of all random choices (default 1)"},
        "--resume": {"action": "store_true", "help": "resume the run in --output; needs no other option"},
    },
    "machine": {
        "--precision": {
            "choices": ["auto", "float32", "mixed"],
            "help": "mixed: 16 bits where they suffice (default: where faster)",
        },
        "--backend": {"choices": [one.value for one in Backend], "help": "Keras backend (default: auto)"},
        "--device": {"choices": [one.value for one in Device], "help": "default: auto"},
        "--float16": {"action": "store_true", "default": None, "help": "weight files of half the size"},
        "--verbose": VERBOSE_FLAG,
    },
}
"""The command line's flags by group. Those that name a field of `RunSettings` have no default but the field's."""
LIMITS: dict[str, tuple[float, int | None, str]] = {
    **dict.fromkeys(("batch", "accumulate", "steps", "validate_every"), (1, None, "1 or more")),
    **dict.fromkeys(("epochs", "learning_rate"), (math.ulp(0.0), None, "a positive number")),
    **dict.fromkeys(("size", "window"), (64, 64, "a multiple of 64 (320, 512, 640 …)")),
    **dict.fromkeys(("dice", "semantic", "seed"), (0, None, "0 or more")),
}
"""Of an option: the least value, what it is a multiple of, if of anything, and both in words."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options of a run, given or default; None where the data or the weights decide.

    Attributes:
        images, annotations: the training data.
        val_images, val_annotations: the validation data; None holds out a part of the training data.
        weights: the file with the initial weights, or the name of a model.
        backbone: the expected backbone of the file; None accepts any.
        classes: None takes all.
        epochs, steps: length of the run; at most one is given.
        batch: windows per step.
        accumulate: steps per update of the weights.
        size: longer side of the network's input, pixels.
        window: side of a training window, pixels.
        learning_rate: peak.
        schedule: of the learning rate: "cosine", "step" or "constant".
        layers: which layers are trained.
        augmentation: "video", "full", "mild" or "off".
        dice: weight of the Dice loss beside the cross-entropy of the masks.
        semantic: weight of the auxiliary loss of the pyramid's cells.
        precision: "auto", "float32" or "mixed".
        validate_every: steps.
        seed: of all random choices.
        backend, device: what Keras runs on.
        float16: halve the weight files at the end.
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
    accumulate: int = 1
    size: int | None = None
    window: int | None = None
    learning_rate: float | None = None
    schedule: str = "cosine"
    layers: str = "4+"
    augmentation: str = "full"
    dice: float = 0.0
    semantic: float = 0.0
    precision: str = "auto"
    validate_every: int | None = None
    seed: int = 1
    backend: str = "auto"
    device: str = "auto"
    float16: bool = False

    def files_read(self) -> list[str | None]:
        """The files and folders that the run reads."""
        return [self.images, self.annotations, self.val_images, self.val_annotations, self.weights]


OPTIONS = tuple(one.name for one in fields(RunSettings))
_FILES = ("images", "annotations", "val_images", "val_annotations", "weights")
_MAY_DIFFER = ("images", "annotations", "val_images", "val_annotations", "backend", "device", "float16")
"""Options that a resumed run may have otherwise: files may move, annotations and weights must hold the same."""


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
    content = {"settings": asdict(settings), **_content_of_files(settings), **facts}
    write_whole(output / RUN_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _content_of_files(settings: RunSettings) -> dict[str, Any]:
    """SHA-256 of annotations and weights, to detect that a resumed run got other ones; None for a missing file."""
    names = (settings.annotations, settings.val_annotations, settings.weights)
    *annotations, weights = [sha256_of(Path(name)) if name and Path(name).is_file() else None for name in names]
    return {"annotations_sha256": annotations, "weights_sha256": weights}


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
    for name, (least, multiple_of, expected) in LIMITS.items():
        value = getattr(settings, name)
        if value is not None and (not least <= value < math.inf or (multiple_of and value % multiple_of)):
            raise InputError(f"--{name.replace('_', '-')} must be {expected}, got {value}")


def _check_same(settings: RunSettings, stored: dict[str, Any], output: Path) -> None:
    before, contents = stored["settings"], _content_of_files(settings)
    may_differ = [*_MAY_DIFFER, *(["weights"] if stored.get("weights_sha256") == contents["weights_sha256"] else [])]
    now = json.loads(json.dumps(asdict(settings)))
    differing = [
        f"--{name.replace('_', '-')} was {_text(before.get(name))}, is {_text(value)}"
        for name, value in now.items()
        if name not in may_differ and before.get(name) != value
    ]
    if stored.get("annotations_sha256") != contents["annotations_sha256"]:
        differing.append("the annotations have changed")
    if differing:
        raise InputError(
            f"{output} holds a run with other settings: {'; '.join(differing)}. Give another --output for a new run, "
            f"or resume this one: {program_name()} train --resume --output {output}"
        )


def _text(value: Any) -> str:
    return "not given" if value is None else ",".join(value) if isinstance(value, list) else str(value)
