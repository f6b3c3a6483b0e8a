"""NumPy's arrays in pickles, such as those of detectron2's model zoo; see `mrcnn.weights.unpickle`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrcnn.weights.stored_tensor import Span, Storage, Tensor, packed_strides
from mrcnn.weights.unpickle import Builder, Name

KINDS = "fiub"
"""Floating-point numbers, whole numbers and booleans."""


class _Type:
    """numpy.dtype of numbers, as "f4" and a byte order that follows."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or np.dtype(code).kind not in KINDS:
            raise ValueError(f"expected the data type of numbers, got {str(code)[:20]!r}")
        self.name = np.dtype(code).name
        self._is_big_endian = False

    def set_state(self, state: object) -> None:
        """Take (version, byte order, ...)."""
        if not isinstance(state, tuple) or state[1] not in ("<", ">", "|", "="):
            raise ValueError("expected a data type's byte order")
        self._is_big_endian = state[1] == ">"

    def storage(self, data: object) -> Storage:
        """The numbers of an array's bytes."""
        if isinstance(data, str):
            data = data.encode("latin-1")  # as Python 2 writes bytes
        span = Span.of(data) if isinstance(data, bytes | bytearray) else data
        if not isinstance(span, Span):
            raise ValueError(f"expected the bytes of numbers, got {type(data).__name__}")
        each = np.dtype(self.name).itemsize
        # the text of bytes is longer than they are; how many there are shows when they are read
        return Storage(self.name, span.size // each, span, self._is_big_endian)


class _Array(Tensor):
    """numpy.ndarray, empty until its state follows."""

    def __init__(self) -> None:
        super().__init__(Storage("float32", 0), (0,), (1,))

    def set_state(self, state: object) -> None:
        """Take (version, shape, data type, whether in Fortran order, bytes)."""
        if not isinstance(state, tuple):
            raise ValueError("expected an array's state")
        _, shape, dtype, is_fortran, data = state
        if not isinstance(shape, tuple) or not isinstance(dtype, _Type):
            raise ValueError("expected an array's shape and data type")
        super().__init__(dtype.storage(data), shape, packed_strides(shape, bool(is_fortran)))


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind != Name("numpy.ndarray"):
        raise ValueError("expected numpy.ndarray")
    return _Array()


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> Tensor:
    if not isinstance(dtype, _Type) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise ValueError("expected bytes, data type, shape and order")
    array = _Array()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, _Type) or not isinstance(data, str | bytes):  # a long text would be decoded each time
        raise ValueError("expected a data type and a number")
    return dtype.storage(data).read(0, 1)[0].item()


def _encode(text: object, encoding: object) -> object:
    """bytes, as Python 3 writes them into pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str | Span):
        raise ValueError("expected a text to encode as latin1")
    return text.encode("latin-1") if isinstance(text, str) else text


_OF_CORE: Mapping[str, Builder] = {
    "multiarray._reconstruct": _reconstruct,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _from_buffer,
}
NUMPY_BUILDERS: Mapping[str, Builder | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _Type,
    "_codecs.encode": _encode,
    **{f"numpy.core.{name}": builder for name, builder in _OF_CORE.items()},  # NumPy 1
    **{f"numpy._core.{name}": builder for name, builder in _OF_CORE.items()},  # NumPy 2
}
"""See `mrcnn.weights.unpickle.read_pickle`."""
