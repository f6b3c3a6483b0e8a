"""Weights and segmenters of the rows. Rows know engines only by the settings of the pipeline."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from benchmarks.options import Options
from mrcnn.weights.user_cache import user_cache
from pipeline.errors import InputError
from pipeline.segmentation.mask_rcnn import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.weights_file import COCO_NAME, SHIPPED_NAME, weights_dir
from pipeline.settings.model_settings import ModelSettings

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "tests" / "data" / "oracle" / "make_weights.py"
ORIGINAL_S = 4.9
"""Seconds a frame of Matterport's package (Keras 2.2.5, TensorFlow 1.15.5) at 1024 px on two cores; a stored number."""


@dataclass(frozen=True)
class Weights:
    """A weight file and what it is, for the reader."""

    path: Path
    what: str
    seeded: bool = False


def resnet101(options: Options) -> Weights:
    """The weights with 81 classes: those that were given, COCO's, or seeded ones, which find nothing meaningful but
    cost the same."""
    if options.weights is not None:
        return Weights(Path(options.weights), f"{Path(options.weights).name}, as given")
    real = weights_dir() / COCO_NAME
    if real.is_file():
        return Weights(real, "COCO weights")
    return Weights(seeded_file(), "seeded stand-in for the COCO weights, which finds nothing meaningful", seeded=True)


def small() -> Weights:
    """The weights that are shipped."""
    return Weights(ROOT / "weights" / SHIPPED_NAME, "the small model that is shipped")


def seeded_file() -> Path:
    """The seeded file, made once in the user's cache."""
    path = user_cache() / "benchmarks" / "seeded_r101_coco.h5"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = importlib.util.spec_from_file_location("make_weights", RECIPE)
        if spec is None or spec.loader is None or not RECIPE.is_file():
            raise InputError(f"{RECIPE} is missing: the seeded weights cannot be made; give --weights FILE")
        recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(recipe)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, contextlib.redirect_stdout(io.StringIO()):
            made = Path(folder) / path.name
            recipe.main(made)
            os.replace(made, path)
    return path


def known(name: str, value: Any) -> dict[str, Any]:
    """A setting of the model, left out where this version of the program does not have it."""
    return {name: value} if name in ModelSettings.model_fields else {}


def choices(name: str) -> list[str]:
    """The values that a setting of the model can have besides "auto"; none where there is no such setting."""
    default = ModelSettings.model_fields[name].default if name in ModelSettings.model_fields else None
    return (
        [str(member.value) for member in type(default) if member.value != "auto"] if isinstance(default, Enum) else []
    )


def settings_for(weights: Weights, max_dim: int | None, **more: Any) -> dict[str, Any]:
    """Settings of a model on the processor."""
    size = {} if max_dim is None else {"max_dim": max_dim}
    return {"weights": str(weights.path), "device": "cpu", **size, **more}


def keras_square(weights: Weights, max_dim: int | None) -> dict[str, Any]:
    """The reference: Keras, float32, the original's square canvas, all its proposals."""
    engine = {**known("engine", "keras"), **known("precision", "float32")}
    return settings_for(weights, max_dim, canvas="square", **engine)


def best(weights: Weights, max_dim: int | None, options: Options) -> dict[str, Any]:
    """What the program chooses by itself, with what the command line of the benchmark lays over it."""
    return {**settings_for(weights, max_dim), **options.model}


@contextlib.contextmanager
def opened(settings: Mapping[str, Any], report_from: float | None = None) -> Iterator[MaskRCNNSegmenter]:
    """A segmenter with these settings, ready."""
    model = read_model(ModelSettings.model_validate(dict(settings)))
    segmenter = MaskRCNNSegmenter(model, model.detection_filter(redaction_score=report_from))
    segmenter.open()
    say(f"ready: {segmenter.description}")
    try:
        yield segmenter
    finally:
        segmenter.close()


def say(text: str) -> None:
    """A line of progress."""
    print(f"    {text}", file=sys.stderr, flush=True)
