"""The checkpoints of other programs in tests/data/checkpoints, and pickles that are made by hand."""

import functools
import pickle
from pathlib import Path

import numpy as np

from mrcnn.weights.conversion import convert
from mrcnn.weights.state_dict import open_state_dict

DATA = Path(__file__).parents[2] / "data" / "checkpoints"
FILES = {
    "torchvision_v1": DATA / "torchvision_v1.pth",
    "torchvision_v2": DATA / "torchvision_v2.pth",
    "detectron2": DATA / "detectron2.pkl",
}


@functools.cache
def outputs():
    """What PyTorch computes with the weights of the files, by FILE/WHAT."""
    with np.load(DATA / "outputs.npz") as file:
        return dict(file)


@functools.cache
def converted(name):
    """(config, arrays by layer and kind) of a file."""
    with open_state_dict(FILES[name]) as tensors:
        conversion = convert(tensors)
        return conversion.config, {layer: conversion.arrays(layer) for layer in conversion.layer_names}


def read_all(path):
    """The arrays of a state dict by name."""
    with open_state_dict(Path(path)) as tensors:
        return {name: tensor.read() for name, tensor in tensors.items()}


def pickled(content, protocol=2):
    return pickle.dumps(content, protocol)


class Calls:
    """Is pickled as a call of a function, which `pickle.loads` would make."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call
