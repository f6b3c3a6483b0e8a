"""Files of safetensors: 8 bytes with the length of a JSON header, the header, the tensors' bytes.

The format is three lines of arithmetic; the package would add a dependency, and reads whole files into memory.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.stored_tensor import BFLOAT16, Span, Storage, Tensor, packed_strides

MOST_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": BFLOAT16,
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def header_length(beginning: bytes, size: int) -> int | None:
    """Length of the header of a file with these first 9 bytes and this size; None if it is not safetensors."""
    length = int.from_bytes(beginning[:8], "little")
    return length if beginning[8:9] == b"{" and 2 <= length <= min(size - 8, MOST_HEADER_BYTES) else None


def read_safetensors(file: BinaryIO, length: int, size: int) -> dict[str, Tensor]:
    """The tensors of a file by name, which are read later.

    Args:
        file: the open file.
        length: of the header, see `header_length`.
        size: of the file, bytes.

    Raises:
        WeightsError: the header is damaged, or a tensor lies outside of the file; without the file's name.
    """
    file.seek(8)
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"its header is not valid JSON ({str(error)[:100]})") from None
    header.pop("__metadata__", None)
    return {name: _tensor(file, name, entry, 8 + length, size) for name, entry in header.items()}


def _tensor(file: BinaryIO, name: str, entry: Any, begin: int, size: int) -> Tensor:
    match entry:
        case {"dtype": str() as dtype, "shape": [*shape], "data_offsets": [int() as first, int() as end]}:
            if dtype not in _DTYPES:
                raise WeightsError(f"its tensor {name[:60]!r} has the data type {dtype[:20]!r}, which is not supported")
            if 0 <= first <= end and begin + end <= size:
                span = Span(file, begin + first, end - first)
                each = Storage(_DTYPES[dtype], 0).bytes_each
                return Tensor(Storage(_DTYPES[dtype], span.size // each, span), shape, packed_strides(shape))
    raise WeightsError(f"its tensor {name[:60]!r} has no valid description, or lies outside of the file")
