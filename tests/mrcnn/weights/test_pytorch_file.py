"""Both containers of torch.save (tests/data/checkpoints), and archives that are damaged or made to do harm."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.pytorch_file import LEGACY_VERSION, MAGIC, read_legacy, read_zip
from mrcnn.weights.unpickle import read_pickle
from tests.mrcnn.weights.checkpoints import DATA, read_all

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n%s\nS'%s'\nS'cpu'\nI%d\n%stQI%d\n%s%sI00\nNtR"


def tensor(kind=b"FloatStorage", key=b"0", count=6, offset=0, shape=b"(I2\nI3\nt", strides=b"(I3\nI1\nt", view=b""):
    """The pickle of a tensor, without its end."""
    return TENSOR % (kind, key, count, view, offset, shape, strides)


def state(content=None):
    return b"}S'w'\n" + (tensor() if content is None else content) + b"s."


SIX = np.float32([1, 2, 3, 4, 5, 6])


def archive(pickled=None, data=None, order=b"little", folder="archive", **options):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", **options) as file:
        file.writestr(f"{folder}/data.pkl", state() if pickled is None else pickled)
        if order is not None:
            file.writestr(f"{folder}/byteorder", order)
        file.writestr(f"{folder}/data/0", SIX.tobytes() if data is None else data)
        file.writestr(f"{folder}/version", "3\n")
    return memory.getvalue()


def legacy(pickled=None, storages=(SIX,), keys=("0",), machine=None, version=LEGACY_VERSION):
    machine = {"little_endian": True} if machine is None else machine
    parts = [pickle.dumps(MAGIC, 2), pickle.dumps(version, 2), pickle.dumps(machine, 2)]
    parts += [state(tensor(view=b"N")) if pickled is None else pickled, pickle.dumps(list(keys), 2)]
    for numbers in storages:
        parts.append(struct.pack("<q" if numbers.dtype.isnative else ">q", numbers.size) + numbers.tobytes())
    return b"".join(parts)


def from_zip(content):
    return read_zip(io.BytesIO(content), len(content))


def from_legacy(content):
    file = io.BytesIO(content)
    assert read_pickle(file, len(content), {}) == MAGIC
    return read_legacy(file, len(content))


def test_a_zip_by_hand():
    assert from_zip(archive())["w"].read().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert from_zip(archive(order=None))["w"].read().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert from_zip(archive(order=b"big", data=SIX.astype(">f4").tobytes()))["w"].read()[1, 0] == 4


def test_parts_that_hold_no_weights_are_not_looked_at():
    memory = io.BytesIO(archive())
    with zipfile.ZipFile(memory, "a") as file:
        file.writestr("archive/code/module.py", "x" * 1000, compress_type=zipfile.ZIP_DEFLATED)
        file.mkdir("archive/data")
    assert from_zip(memory.getvalue())["w"].read()[1, 0] == 4


def test_a_legacy_file_by_hand():
    assert from_legacy(legacy())["w"].read().tolist() == [[1, 2, 3], [4, 5, 6]]
    big = legacy(storages=[SIX.astype(">f4")], machine={"little_endian": False})
    assert from_legacy(big)["w"].read()[1, 0] == 4


def test_the_containers_of_pytorch_hold_the_same():
    """v1_old and the .safetensors come from one state dict; v2's tensors are views in channels_last order."""
    old = read_all(DATA / "torchvision_v1_old.pth")
    new = read_all(DATA / "torchvision_v1.safetensors")
    assert old["backbone.fpn.inner_blocks.2.weight"].dtype == np.float16
    for name, before in (("backbone.fpn.inner_blocks.2.0.weight", "backbone.fpn.inner_blocks.2.weight"),
                         ("rpn.head.conv.0.0.bias", "rpn.head.conv.bias"),
                         ("roi_heads.mask_head.3.0.weight", "roi_heads.mask_head.mask_fcn4.weight")):  # fmt: skip
        np.testing.assert_array_equal(new[name].astype(np.float16), old[before])
    views = read_all(DATA / "torchvision_v2.pth")
    weight = views["roi_heads.box_head.0.0.weight"]
    assert weight.shape == (4, 4, 3, 3)
    assert weight.dtype == np.float32
    assert not weight.flags.c_contiguous
    assert views["backbone.body.bn1.num_batches_tracked"] == 7


def with_entry(content, **changes):
    """An archive whose central directory says something else about data/0."""
    position = content.index(b"archive/data/0", content.index(b"PK\x01\x02")) - 46
    header = list(struct.unpack("<4s6H3L5H2L", content[position : position + 46]))
    fields = {"flags": 3, "method": 4, "packed": 8, "size": 9, "offset": 16}
    for name, value in changes.items():
        header[fields[name]] = value
    return content[:position] + struct.pack("<4s6H3L5H2L", *header) + content[position + 46 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive()[:-30], "damaged or truncated archive"),
        (archive()[:200], "damaged or truncated archive"),
        (b"PK\x03\x04", "damaged or truncated archive"),
        (archive(folder="a/b"), "no data.pkl"),
        (archive(compression=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
        (with_entry(archive(), method=8), "'archive/data/0' is compressed"),
        (with_entry(archive(), flags=1), "'archive/data/0' is compressed or encrypted"),
        (with_entry(archive(), size=2**31, packed=2**31), "'archive/data/0' lies outside"),
        (with_entry(archive(), size=2**31), "'archive/data/0' is compressed"),
        (with_entry(archive(), offset=5), "lies outside"),
        (with_entry(archive(), offset=2**31), "lies outside"),
        (archive(data=SIX[:5].tobytes()), "storage '0' is missing or too short"),
        (archive(state(tensor(key=b"1"))), "storage '1' is missing"),
        (archive(state(tensor(key=b"../0"))), "is missing"),
        (archive(order=b"middle"), "byte order"),
        (archive(state(tensor(count=-6))), "not a storage of numbers"),
        (archive(state(tensor(count=2**62))), "missing or too short"),
        (archive(state(tensor(kind=b"QInt8Storage"))), "wants to use 'torch.QInt8Storage'"),
        (archive(state(tensor(view=b"I1\n"))), "not a storage of numbers"),
        (archive(state(tensor(offset=1))), "does not fit into its 6"),
        (archive(state(tensor(offset=-1))), "whole numbers of 0 or more"),
        (archive(state(tensor(strides=b"(I-3\nI1\nt"))), "whole numbers of 0 or more"),
        (archive(state(tensor(strides=b"(I1\nt"))), "2 dimensions and 1 strides"),
        (archive(state(tensor(shape=b"(I4611686018427387904\nI4611686018427387904\nt"))), "does not fit"),
        (archive(b"}S'w'\nI5\nQs."), "not a storage of numbers"),
        (archive(b"cposix\nsystem\n(S'true'\ntR."), "wants to use 'posix.system'"),
    ],
)  # fmt: skip
def test_archives_that_are_wrong(content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        from_zip(content)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_is_too_large(monkeypatch):
    monkeypatch.setattr("mrcnn.weights.pytorch_file.MOST_PICKLE_BYTES", 100)
    with pytest.raises(WeightsError, match=r"data\.pkl has [0-9]+ bytes, expected at most 100"):
        from_zip(archive())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (legacy(version=1000), "version is 1000, expected 1001"),
        (legacy(machine=[]), "version is"),
        (legacy(keys=["1"]), "keys of its storages"),
        (legacy(keys=[]), "keys of its storages"),
        (legacy(storages=[SIX[:5]]), "ends within its storages"),
        (legacy()[:-1], "ends within its storages"),
        (legacy()[:-30], "ends within its storages"),
        (legacy()[:100], "damaged"),
        (legacy(state(tensor(view=b"(S'1'\nI0\nI2\nt"))), "not a storage of numbers"),
        (legacy(storages=[np.float32([])], pickled=state(tensor(count=2**60, view=b"N"))), "ends within its storages"),
    ],
)
def test_legacy_files_that_are_wrong(content, message):
    with pytest.raises(WeightsError, match=message):
        from_legacy(content)
