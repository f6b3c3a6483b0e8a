"""Files of safetensors, made by hand, and one that the package wrote (tests/data/checkpoints)."""

import io
import json

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.safetensors_file import header_length, read_safetensors
from tests.mrcnn.weights.checkpoints import DATA, read_all


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def read(content):
    length = header_length(content[:9], len(content))
    return read_safetensors(io.BytesIO(content), length, len(content))


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_tensors_by_name():
    data = np.float32([1, 2, 3, 4, 5, 6]).tobytes() + np.float16([7, 8]).tobytes()
    tensors = {"x": entry("F32", (2, 3), (0, 24)), "y": entry("F16", (2,), (24, 28))}
    found = read(file_of({"__metadata__": {"a": "b"}, **tensors}, data))
    assert found["x"].read().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["y"].read().tolist() == [7, 8]
    assert (found["y"].dtype, list(found)) == ("float16", ["x", "y"])


def test_the_packages_file_has_the_same_weights_as_pytorchs():
    ours = read_all(DATA / "torchvision_v1.safetensors")
    old = read_all(DATA / "torchvision_v1_old.pth")
    assert len(ours) == len(old)
    weight = ours["roi_heads.box_head.fc6.weight"]
    np.testing.assert_array_equal(weight.astype(np.float16), old["roi_heads.box_head.fc6.weight"])
    assert ours["rpn.head.cls_logits.bias"].dtype == np.float64


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"x": entry("F32", (2,), (0, 9999))}, "'x' has no valid description, or lies outside"),
        ({"x": entry("F32", (2,), (-8, 0))}, "lies outside"),
        ({"x": entry("F32", (2,), (8, 0))}, "lies outside"),
        ({"x": entry("F32", (3,), (0, 8))}, "does not fit into its 2 stored numbers"),
        ({"x": entry("F32", (-1,), (0, 8))}, "whole numbers of 0 or more"),
        ({"x": entry("F32", (1.5,), (0, 8))}, "whole numbers of 0 or more"),
        ({"x": entry("C64", (1,), (0, 8))}, "data type 'C64', which is not supported"),
        ({"x": entry("F32", (2**40, 2**40), (0, 8))}, "does not fit"),
        ({"x": []}, "no valid description"),
        ({"x": {"dtype": "F32"}}, "no valid description"),
        (b'{"x": ', "header is not valid JSON"),
        (b"{" + b'"a":{' * 100_000, "header is not valid JSON"),
        (b'{"\xff": 1}', "header is not valid JSON"),
    ],
)
def test_headers_that_are_wrong(header, message):
    with pytest.raises(WeightsError, match=message):
        read(file_of(header, bytes(8)))


@pytest.mark.parametrize(
    ("beginning", "size"),
    [
        (b"", 0),
        (b"\x00" * 8 + b"{", 100),
        ((93).to_bytes(8, "little") + b"{", 100),
        ((50).to_bytes(8, "little") + b"[", 100),
        ((2**62).to_bytes(8, "little") + b"{", 100),
        ((2**28).to_bytes(8, "little") + b"{", 2**30),
    ],
)
def test_what_is_not_safetensors(beginning, size):
    assert header_length(beginning, size) is None
