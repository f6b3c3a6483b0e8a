"""Weights and segmenters of the rows, which select engines only by the pipeline's settings."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import footage
from benchmarks.options import Options
from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import write_calibration
from mrcnn.engines.quantize import quantize
from mrcnn.weights.user_cache import user_cache
from mrcnn.weights.whole_file import write_whole
from pipeline.errors import InputError
from pipeline.segmentation.canvas import fit_canvas
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.weights_file import COCO_NAME, SHIPPED_NAME, weights_dir
from pipeline.settings.model_settings import ModelSettings

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "tests" / "data"
"""Scripts that make weights."""
CALIBRATION_FRAMES, CALIBRATION_WH = 12, (1280, 720)
ORIGINAL_S = 4.9
"""Seconds per frame of Matterport's package (Keras 2.2.5, TensorFlow 1.15.5) at 1024 px on two cores, measured once."""


@dataclass(frozen=True)
class Weights:
    """A weight file and its description."""

    path: Path
    what: str
    seeded: bool = False


def resnet101(options: Options) -> Weights:
    """Weights with 81 classes: the user's, COCO's, or seeded ones, which find nothing meaningful at the same cost."""
    if options.weights is not None:
        return Weights(Path(options.weights), f"{Path(options.weights).name}, as given")
    real = weights_dir() / COCO_NAME
    if real.is_file():
        return Weights(real, "COCO weights")
    return Weights(seeded_file(), "seeded stand-in for the COCO weights, which finds nothing meaningful", seeded=True)


def small() -> Weights:
    """The shipped weights."""
    return Weights(ROOT / "weights" / SHIPPED_NAME, "the small model that is shipped")


def seeded_file() -> Path:
    """The seeded weight file, made once in the user's cache."""
    path = user_cache() / "benchmarks" / "seeded_r101_coco.h5"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        seeded = recipe("oracle/make_weights.py")
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, contextlib.redirect_stdout(io.StringIO()):
            made = Path(folder) / path.name
            seeded.main(made)
            os.replace(made, path)
    return path


def random_torchvision(flavor: str) -> Weights:
    """Random weights in the layout of torchvision's "v1" or "v2", made once in the user's cache."""
    path = user_cache() / "benchmarks" / f"random_torchvision_{flavor}.pkl"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, pickle.dumps(recipe("torchvision/random_weights.py").state_dict(flavor), protocol=2))
    return Weights(path, f"random, in the layout of torchvision's {flavor}", seeded=True)


def recipe(name: str) -> ModuleType:
    """A script that makes weights, as a module. Raises InputError: it is missing, as in an installed package."""
    path = RECIPES / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} is missing: random weights cannot be made; run the benchmark in a clone")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def choices(name: str) -> list[str]:
    """The values of a setting of the model that is an Enum, other than "auto"."""
    return [str(member.value) for member in type(ModelSettings.model_fields[name].default) if member.value != "auto"]


def settings_for(weights: Weights, max_dim: int | None, **more: Any) -> dict[str, Any]:
    """Settings of a model on the CPU."""
    size = {} if max_dim is None else {"max_dim": max_dim}
    return {"weights": str(weights.path), "device": "cpu", **size, **more}


def keras_square(weights: Weights, max_dim: int | None) -> dict[str, Any]:
    """The reference: Keras, float32, the original's square canvas, all its proposals."""
    return settings_for(weights, max_dim, canvas="square", engine="keras", precision="float32")


def best(weights: Weights, max_dim: int | None, options: Options) -> dict[str, Any]:
    """The program's own choice, overridden by the command line of the benchmark."""
    return {**settings_for(weights, max_dim), **options.model}


def precisions(settings: dict[str, Any]) -> list[str]:
    """What OpenVINO may compute a model in here; int8 is calibrated for it on the clip where it is not yet."""
    model, machine = read_model(ModelSettings.model_validate(settings)), Machine()
    if not machine.int8_is_prepared(model):
        say("calibrating int8")
        pictures = footage.frames(CALIBRATION_FRAMES, CALIBRATION_WH, every=23)
        fits = [
            fit_canvas(picture.shape[0], picture.shape[1], model.config, model.settings.canvas) for picture in pictures
        ]
        canvases = [fit.place(picture) for fit, picture in zip(fits, pictures, strict=True)]
        try:
            calibration = quantize(model.weights.path, model.config, canvases, [fit.window for fit in fits])
            write_calibration(model.weights.path, calibration)
        except EngineError as error:
            say(f"without int8: {error}")
    names = ["int8"] if machine.int8_is_prepared(model) else []
    return [*names, *(["bfloat16"] if machine.has_bfloat16() else []), "float32"]


@contextlib.contextmanager
def opened(
    settings: Mapping[str, Any], report_from: float | None = None, workers: int = 1
) -> Iterator[MaskRCNNSegmenter]:
    """A segmenter with these settings, ready; for up to `workers` threads, if its engine gains from that."""
    model = read_model(ModelSettings.model_validate(dict(settings)))
    segmenter = MaskRCNNSegmenter(model, model.detection_filter(redaction_score=report_from), workers)
    segmenter.open()
    say(f"ready: {segmenter.description}")
    try:
        yield segmenter
    finally:
        segmenter.close()


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"    {text}", file=sys.stderr, flush=True)
