"""The files of a run: its log, its checkpoints, and weight files of half the size."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from mrcnn.weights.hdf5 import METADATA_ATTRIBUTE
from mrcnn.weights.whole_file import whole_file, write_whole


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line. Raises OSError if it cannot be written."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All complete lines; [] if there is no log. Skips a line that a power cut truncated."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def truncate_log(path: Path, step: int) -> None:
    """Remove the lines of steps after `step`, which a resumed run repeats.

    Raises:
        OSError: it cannot be written; the log is as before.
    """
    lines = read_log(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) == len(lines):
        return
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))


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
    differing = [
        f"{name} was {state[part][name]}, is {value}"
        for part, settings in json.loads(json.dumps(expected or {})).items()
        for name, value in settings.items()
        if name in state.get(part, {}) and state[part][name] != value
    ]
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


def write_compact(
    source: Path,
    target: Path,
    metadata: Mapping[str, Any] | None = None,
    change: Callable[[h5py.File], None] = lambda _: None,
) -> None:
    """Copy a weight file with kernels as float16; an existing target is replaced when the copy is complete.

    Args:
        source: a weight file of ours or of Matterport's.
        target: may be the same file.
        metadata: settings and names that replace the source's; None keeps them.
        change: may edit the copy before it is written.

    Raises:
        OSError: it cannot be written; `target` is unchanged.
    """

    def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # statistics of the normalizations can exceed what float16 holds
            kind = np.float16 if item.ndim > 1 else np.float32
            result.create_dataset(name, data=item[()].astype(kind))
        else:
            result.require_group(name).attrs.update(item.attrs)

    # in memory, as in mrcnn.weights.load_save: on a full disk HDF5 crashes the process
    with h5py.File(source) as original, h5py.File("compact.h5", "w", driver="core", backing_store=False) as result:
        result.attrs.update(original.attrs)
        if metadata is not None:
            result.attrs[METADATA_ATTRIBUTE] = json.dumps(metadata)
        original.visititems(copy)
        change(result)
        result.flush()
        content = result.id.get_file_image()
    write_whole(target, content)
