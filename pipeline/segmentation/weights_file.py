"""Finds the weight file of a run."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from mrcnn.weights.published import MODELS, PublishedModel
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.installation import is_clone, program_name, shipped_file

SHIPPED_NAME = MODELS["person"].file_name
COCO_NAME = MODELS["coco"].file_name
DIR_VARIABLE = "STREAM_SEGMENT_WEIGHTS_DIR"


@dataclass(frozen=True, slots=True)
class WeightsChoice:
    """A weight file, and why it was chosen, in words for the user."""

    path: Path
    reason: str


def weights_dir() -> Path:
    """The folder that downloads go to: STREAM_SEGMENT_WEIGHTS_DIR, else weights/ of a clone, else the user's cache."""
    named = os.environ.get(DIR_VARIABLE)
    if named:
        return user_path(named, DIR_VARIABLE)
    if is_clone():
        return shipped_file("weights")
    from mrcnn.weights.user_cache import user_cache

    return Path(user_cache(), "weights")


def find_weights(explicit: str | None) -> WeightsChoice:
    """The model or file the user named; else the shipped one; else COCO's; else the only other in the weights folder.

    Args:
        explicit: the name of a published model, or else a path.

    Raises:
        InputError: the named file is missing, or there is none; the text says how to get one.
    """
    if explicit is not None:
        return _named_model(MODELS[explicit]) if explicit in MODELS else _named_file(explicit)
    folder = weights_dir()
    for name, reason in (("person", "shipped with the program"), ("coco", "COCO weights")):
        path = model_path(MODELS[name])
        if path is not None:
            return WeightsChoice(path, reason)
    others = sorted(folder.glob("*.h5")) if os.path.isdir(folder) else []
    if len(others) == 1:
        return WeightsChoice(others[0], "the only one in the weights folder")
    found = f"{len(others)} files lie there, name one with --weights" if others else "there is none"
    raise InputError(f"no weights: looked in {folder} and {found}. {coco_hint()}, or put {COCO_NAME} there by hand")


def model_path(model: PublishedModel) -> Path | None:
    """A model's file, converted or as it was published; None if neither is there.

    The shipped model is also found where it is shipped, after the weights folder.
    """
    folders = [weights_dir()] if model.url else [weights_dir(), shipped_file("weights")]
    paths = [folder / name for folder in folders for name in (model.local_name, model.file_name)]
    return next((path for path in paths if os.path.isfile(path)), None)


def coco_hint() -> str:
    """How to get weights that fit, for messages about a file that does not."""
    return f"Get the COCO weights with `{program_name()} weights get coco`"


def _named_model(model: PublishedModel) -> WeightsChoice:
    path = model_path(model)
    if path is not None:
        return WeightsChoice(path, f"the model {model.name}")
    if model.url is None:
        missing = shipped_file("weights") / model.file_name
        raise InputError(f"the model {model.name} comes with the program, but {missing} is missing: install it again")
    how = f"get it with `{program_name()} weights get {model.name}`"
    raise InputError(f"the model {model.name} is not in {weights_dir()}: {how}")


def _named_file(explicit: str) -> WeightsChoice:
    path = user_path(explicit, "--weights")
    if path.is_file():
        return WeightsChoice(path, "named by the user")
    if path.suffix or len(path.parts) > 1 or path.is_dir():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"--weights {explicit}: the file {what}; expected .h5, .pth, .pkl or .safetensors")
    near = difflib.get_close_matches(explicit, MODELS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the models are {', '.join(MODELS)}"
    raise InputError(f"there is neither a model nor a file {explicit}; {hint}")
