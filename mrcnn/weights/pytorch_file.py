"""Files of torch.save, read without PyTorch: the zip archives of PyTorch 1.6 and newer, and the older format.

zip:    NAME/data.pkl (refers to storages by key), NAME/byteorder, NAME/data/KEY (a storage each), uncompressed
before: pickles of a magic number, a version, facts about the machine, the object, and the storages' keys; then for
        each key the number of its elements (8 bytes) and the elements
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.numpy_pickle import NUMPY_BUILDERS
from mrcnn.weights.stored_tensor import BFLOAT16, MOST_DIMENSIONS, Span, Storage, Tensor
from mrcnn.weights.unpickle import Builder, Name, Placeholder, read_pickle

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

MOST_PICKLE_BYTES = 1 << 26
"""Of data.pkl, which holds names and shapes; 100 kB are usual."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")

_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}


def _ordered_dict(*items: Any) -> dict[Any, Any]:
    if items:
        raise ValueError("expected an empty OrderedDict, whose items follow")
    return {}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("expected a storage, an offset, a shape and strides")
    return Tensor(storage, shape, strides, offset)


def _parameter(tensor: Any, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("expected a tensor")
    return tensor


def _size(sizes: Any) -> tuple[Any, ...]:
    if len(sizes) > MOST_DIMENSIONS:  # copies of a long list could fill the memory
        raise ValueError(f"expected at most {MOST_DIMENSIONS} sizes")
    return tuple(sizes)


_BESIDE_WEIGHTS = (
    "argparse.Namespace",
    "collections.Counter",  # the milestones of a schedule of learning rates
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # Python 3.13
    "pathlib._local.WindowsPath",
    "torch.device",
)
"""What training programs save beside the weights, such as torchvision's reference scripts."""

BUILDERS: Mapping[str, Builder | None] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    **dict.fromkeys(_STORAGES),
    **dict.fromkeys(_BESIDE_WEIGHTS, Placeholder),
    **NUMPY_BUILDERS,
}
"""See `mrcnn.weights.unpickle.read_pickle`."""


def read_zip(file: BinaryIO, size: int) -> object:
    """The object in a zip archive of torch.save; its tensors are read later.

    Args:
        file: the open file.
        size: its size, bytes.

    Raises:
        WeightsError: it is another kind of archive, damaged or truncated; without the file's name.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OverflowError) as error:
        raise WeightsError(f"it is a damaged or truncated archive ({error}). Download it again") from None
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("it is an archive, but not one that torch.save wrote: it has no data.pkl")
    folder = pickles[0].partition("/")[0]
    used = (pickles[0], f"{folder}/byteorder", f"{folder}/data/")
    spans = {name: _span(file, size, entry) for name, entry in entries.items() if name.startswith(used)}
    order = spans.get(f"{folder}/byteorder")
    byte_order = b"little" if order is None else order.read(0, min(order.size, 9))
    if byte_order not in (b"little", b"big"):
        raise WeightsError("its byte order is neither little nor big")
    storages: dict[str, Storage] = {}

    def persistent(pid: object) -> Storage:
        dtype, key, count = _storage_id(pid, 5)
        if key not in storages:
            span = spans.get(f"{folder}/data/{key}")
            storage = storages[key] = Storage(dtype, count, span, byte_order == b"big")
            if span is None or span.size < count * storage.bytes_each:
                raise WeightsError(f"its storage {key[:20]!r} is missing or too short. Download it again")
        return storages[key]

    pickled = spans[pickles[0]]
    if pickled.size > MOST_PICKLE_BYTES:
        raise WeightsError(f"its data.pkl has {pickled.size:,} bytes, expected at most {MOST_PICKLE_BYTES:,}")
    file.seek(pickled.begin)
    return read_pickle(file, pickled.begin + pickled.size, BUILDERS, persistent)


def read_legacy(file: BinaryIO, size: int) -> object:
    """The object in a file of torch.save before PyTorch 1.6; arguments and errors as for `read_zip`.

    The file's position is behind the magic number.
    """
    storages: dict[str, Storage] = {}
    unpickle = partial(read_pickle, file, size, BUILDERS)
    version, machine = unpickle(), unpickle()
    if version != LEGACY_VERSION or not isinstance(machine, dict):
        raise WeightsError(f"its version is {str(version)[:20]}, expected {LEGACY_VERSION}")
    is_big_endian = machine.get("little_endian") is False

    def persistent(pid: object) -> Storage:
        dtype, key, count = _storage_id(pid, 6)
        return storages.setdefault(key, Storage(dtype, count, is_big_endian=is_big_endian))

    content = unpickle(persistent)
    keys = unpickle()
    if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
        raise WeightsError("the keys of its storages are not those of its tensors. Download it again")
    for key in keys:
        storage = storages[str(key)]
        count = int.from_bytes(file.read(8), "big" if is_big_endian else "little")
        begin, length = file.tell(), storage.size * storage.bytes_each
        if count != storage.size or begin + length > size:
            raise WeightsError(f"it ends within its storages ({size:,} bytes). Download it again")
        storage.span = Span(file, begin, length)
        file.seek(begin + length)
    return content


def _span(file: BinaryIO, size: int, entry: zipfile.ZipInfo) -> Span:
    """Where the content of an archive's file is."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
        raise WeightsError(f"its part {entry.filename[:60]!r} is compressed or encrypted; torch.save does neither")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) == _LOCAL_HEADER.size:
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        begin = file.tell() + name_length + extra_length
        if signature == b"PK\x03\x04" and begin + entry.file_size <= size:
            return Span(file, begin, entry.file_size)
    raise WeightsError(f"its part {entry.filename[:60]!r} lies outside of the file. Download it again")


def _storage_id(pid: object, length: int) -> tuple[str, str, int]:
    """(data type, key, number of elements) of a storage."""
    match pid:
        case ("storage", Name(text), str() | int() as key, str(), int() as count, *rest):
            is_view = any(part is not None for part in rest)
            if text in _STORAGES and not is_view and len(pid) in (5, length) and count >= 0:
                return _STORAGES[text], str(key), count
    raise WeightsError("its pickle refers to something that is not a storage of numbers")
