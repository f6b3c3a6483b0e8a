"""Checkpoints: weights, their moving average, the optimizer's state and the step, in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mrcnn.weights.whole_file import whole_file


def save_checkpoint(path: Path, variables: Sequence[keras.Variable], state: dict[str, Any]) -> None:
    """Write a checkpoint; an older one at `path` survives until the new one is complete.

    Args:
        path: the .npz.
        variables: all variables of the run, in a fixed order.
        state: the step and the settings, serializable as JSON.

    Raises:
        OSError: the file cannot be written (disk full, no permission); `path` is unchanged.
    """
    arrays = {f"v{index}": np.asarray(keras.ops.convert_to_numpy(variable)) for index, variable in enumerate(variables)}
    with whole_file(path) as file:
        np.savez(file, state=np.array(json.dumps(state)), **arrays)


def load_checkpoint(
    path: Path, variables: Sequence[keras.Variable], expected: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Set the variables from a checkpoint and return its state.

    Args:
        path: the .npz.
        variables: those of `save_checkpoint`.
        expected: parts of the state ("settings": {...}) that must be equal.

    Raises:
        ValueError: the file is not a checkpoint, or of a run with other settings, which are named.
    """
    try:
        with path.open("rb") as handle, np.load(handle) as file:
            state = json.loads(str(file["state"]))
            arrays = [file[f"v{index}"] for index in range(len(file.files) - 1)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable checkpoint of a training run: {error}") from None
    differing = _differing(json.loads(json.dumps(expected or {})), state)
    if differing:
        raise ValueError(f"{path} belongs to a run with other settings: {'; '.join(differing)}")
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [array.shape for array in arrays]:
        raise ValueError(
            f"{path} belongs to a run with other settings (it has {len(arrays)} arrays, this run {len(shapes)})"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return state


def _differing(expected: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """Messages ("batch was 4, is 8") for the settings that the checkpoint has with another value."""
    return [
        f"{name} was {state[part][name]}, is {value}"
        for part, settings in expected.items()
        for name, value in settings.items()
        if name in state.get(part, {}) and state[part][name] != value
    ]
