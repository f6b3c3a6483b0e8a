"""Tensors of a weight file that are read when they are needed, so that a file is never in memory as a whole."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mrcnn.weights.hdf5 import WeightsError

MOST_DIMENSIONS = 8

BFLOAT16 = "bfloat16"
"""The one data type here that NumPy lacks: the upper half of a float32."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an open file.

    Attributes:
        file: the file.
        begin: position of the first byte.
        size: number of bytes.
        is_text: they are the UTF-8 text of a string whose characters stand for bytes (Latin-1), as Python 3 writes
            bytes into pickles of protocol 2.
    """

    file: BinaryIO
    begin: int
    size: int
    is_text: bool = False

    @classmethod
    def of(cls, content: bytes | bytearray) -> Span:
        """A span of bytes in memory."""
        return cls(io.BytesIO(content), 0, len(content))

    def read(self, first: int, count: int) -> bytes:
        """`count` bytes from number `first` on. Raises WeightsError if the file ends before."""
        if self.is_text:
            self.file.seek(self.begin)
            content = self.file.read(self.size).decode("utf-8").encode("latin-1")[first : first + count]
        else:
            self.file.seek(self.begin + first)
            content = self.file.read(min(count, max(0, self.size - first)))
        if len(content) != count:
            raise WeightsError(f"it ends within a tensor ({len(content):,} of {count:,} bytes)")
        return content


class Storage:
    """A run of numbers that tensors are views of.

    Args:
        dtype: a NumPy type such as "float32", or BFLOAT16.
        size: number of elements.
        span: where they are; files of PyTorch before 1.6 tell it after the tensors: set it then.
        is_big_endian: they begin with the most significant byte.
    """

    def __init__(self, dtype: str, size: int, span: Span | None = None, is_big_endian: bool = False) -> None:
        if size < 0:
            raise WeightsError(f"a storage has {size} elements")
        self.dtype = dtype
        self.size = size
        self.span = span
        self._stored = np.dtype(np.uint16 if dtype == BFLOAT16 else dtype).newbyteorder(">" if is_big_endian else "<")

    @property
    def bytes_each(self) -> int:
        """Bytes of an element."""
        return self._stored.itemsize

    def read(self, first: int, count: int) -> NDArray[np.generic]:
        """Elements as a one-dimensional array in this machine's byte order; bfloat16 as float32."""
        if self.span is None:
            raise WeightsError("a tensor has no data in it")
        raw = np.frombuffer(self.span.read(first * self.bytes_each, count * self.bytes_each), self._stored)
        if self.dtype == BFLOAT16:
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw if self._stored.isnative else raw.astype(self._stored.newbyteorder("="))


def packed_strides(shape: Sequence[int], is_fortran: bool = False) -> list[int]:
    """Strides, in elements, of an array without gaps, in C or in Fortran order. Raises WeightsError for other sizes."""
    _check_sizes(shape)
    axes = range(len(shape))
    return [math.prod(shape[:axis] if is_fortran else shape[axis + 1 :]) for axis in axes]


def _check_sizes(sizes: Sequence[int]) -> None:
    if len(sizes) > 2 * MOST_DIMENSIONS + 1:
        raise WeightsError(f"a tensor has more than {MOST_DIMENSIONS} dimensions")
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise WeightsError("a tensor's shape, strides and offset must be whole numbers of 0 or more")


class Tensor:
    """A view of a storage, as in PyTorch.

    Args:
        storage: the numbers.
        shape: elements along each axis.
        strides: in elements, see `packed_strides`.
        offset: of the first element, in elements.

    Raises:
        WeightsError: sizes are negative, or elements lie outside the storage or on top of each other.
    """

    def __init__(self, storage: Storage, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> None:
        _check_sizes((*shape, *strides, offset))
        if len(shape) != len(strides):
            raise WeightsError(f"a tensor has {len(shape)} dimensions and {len(strides)} strides")
        count = math.prod(shape)
        self._span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else 0
        if count > storage.size or offset + self._span > storage.size:
            raise WeightsError(
                f"a tensor of shape {tuple(shape)}, strides {tuple(strides)} and offset {offset} does not fit into its "
                f"{storage.size:,} stored numbers"
            )
        self.shape = tuple(shape)
        self._storage, self._offset, self._strides = storage, offset, tuple(strides)

    @property
    def dtype(self) -> str:
        """The data type in the file."""
        return self._storage.dtype

    def read(self) -> NDArray[np.generic]:
        """The array, of the file's data type; bfloat16 as float32. Raises WeightsError if the file ends before."""
        flat = self._storage.read(self._offset, self._span)
        strides = [stride * flat.itemsize for stride in self._strides]
        return np.ndarray(self.shape, flat.dtype, flat, strides=strides)
