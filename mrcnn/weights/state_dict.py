"""Opens other programs' weight files: .pth of PyTorch, .pkl of detectron2, .safetensors; executes nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.pytorch_file import BUILDERS, MAGIC, read_legacy, read_zip
from mrcnn.weights.safetensors_file import header_length, read_safetensors
from mrcnn.weights.stored_tensor import Tensor
from mrcnn.weights.unpickle import read_pickle

CONTAINERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training programs keep the state dict, beside an optimizer's and others."""

PARALLEL_PREFIX = "module."
"""What torch.nn.DataParallel puts before each name."""

StateDict = dict[str, Tensor]


@contextmanager
def open_state_dict(path: Path) -> Iterator[StateDict]:
    """The tensors of a weight file by name; they can be read inside the block.

    Raises:
        WeightsError: the file is missing or damaged, or it is not a file of weights; it names the file. Also raised if
            reading fails inside the block.
    """
    try:
        with path.open("rb") as file:
            yield _named_tensors(_content(file, path.stat().st_size))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read: {error.strerror or error}") from None


def is_foreign(path: Path) -> bool:
    """Whether a file looks like one that `open_state_dict` opens, by its first bytes; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            beginning, size = file.read(9), path.stat().st_size
    except OSError:
        return False
    return beginning.startswith((b"PK\x03\x04", b"\x80")) or header_length(beginning, size) is not None


def _content(file: BinaryIO, size: int) -> object:
    beginning = file.read(9)
    file.seek(0)
    length = header_length(beginning, size)
    if length is not None:
        return read_safetensors(file, length, size)
    if beginning.startswith(b"PK\x03\x04"):
        return read_zip(file, size)
    if beginning[:1] == b"\x80":
        content = read_pickle(file, size, BUILDERS)
        return read_legacy(file, size) if content == MAGIC else content
    raise WeightsError(f"expected weights as .pth, .pkl or .safetensors; it begins with {beginning!r}")


def _named_tensors(content: object) -> StateDict:
    """The state dict in what a file holds."""
    if isinstance(content, dict):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), dict)), None)
        tensors = {
            name.removeprefix(PARALLEL_PREFIX): tensor
            for name, tensor in (content if inner is None else inner).items()
            if isinstance(name, str) and isinstance(tensor, Tensor)
        }
        if tensors:
            return tensors
    raise WeightsError(
        "it has no tensors by name: expected a state dict, by itself or under one of the keys " + ", ".join(CONTAINERS)
    )
