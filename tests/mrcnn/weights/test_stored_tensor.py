"""Views of stored numbers, against NumPy's own strides, and what does not fit into a storage."""

import struct

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.stored_tensor import BFLOAT16, Span, Storage, Tensor, packed_strides

NUMBERS = np.arange(24, dtype=np.float32)


def storage(numbers=NUMBERS):
    return Storage(str(numbers.dtype), numbers.size, Span.of(numbers.tobytes()))


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 3, 4), (0, 3), (3, 0)])
@pytest.mark.parametrize("is_fortran", [False, True])
def test_packed_arrays(shape, is_fortran):
    count = int(np.prod(shape))
    found = Tensor(storage(), shape, packed_strides(shape, is_fortran)).read()
    np.testing.assert_array_equal(found, NUMBERS[:count].reshape(shape, order="F" if is_fortran else "C"))


def test_views_share_a_storage():
    shared = storage()
    whole = NUMBERS.reshape(2, 3, 4)
    np.testing.assert_array_equal(Tensor(shared, (4, 2, 3), (1, 12, 4)).read(), whole.transpose(2, 0, 1))
    np.testing.assert_array_equal(Tensor(shared, (2, 2), (12, 2), 5).read(), whole[:, 1, 1::2])
    np.testing.assert_array_equal(Tensor(shared, (2, 2), (0, 2), 5).read(), [[5, 7], [5, 7]])


def test_only_what_a_view_needs_is_read():
    content = bytes(4 * 20) + NUMBERS[20:22].tobytes()  # the last two numbers are not there
    np.testing.assert_array_equal(Tensor(Storage("float32", 24, Span.of(content)), (2,), (1,), 20).read(), [20, 21])


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((25,), (1,), 0),
        ((24,), (1,), 1),
        ((2, 3), (1, 12), 0),
        ((2**40, 2**40), (0, 0), 0),
        ((25,), (0,), 0),
        ((1,), (1,), 24),
        ((-1,), (1,), 0),
        ((2,), (-1,), 1),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2.0,), (1,), 0),
        ((True,), (1,), 0),
        (("a",), (1,), 0),
        ((1,) * 9, (1,) * 9, 0),
        ((1,) * 1000, (1,) * 1000, 0),
    ],
)
def test_what_does_not_fit(shape, strides, offset):
    with pytest.raises(WeightsError, match="a tensor"):
        Tensor(storage(), shape, strides, offset)


@pytest.mark.parametrize("shape", [("a", 10**12), (-2,), (1,) * 1000])
def test_strides_of_impossible_shapes(shape):
    with pytest.raises(WeightsError, match="a tensor"):
        packed_strides(shape)


@pytest.mark.parametrize("code", ["float64", "float32", "float16", "int64", "int8", "uint8"])
@pytest.mark.parametrize("order", [">", "<"])
def test_types_and_byte_orders(code, order):
    numbers = np.array([1, 2, 100], code)
    span = Span.of(numbers.astype(numbers.dtype.newbyteorder(order)).tobytes())
    found = Tensor(Storage(code, 3, span, order == ">"), (3,), (1,)).read()
    assert found.dtype == np.dtype(code)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, numbers)


def test_bfloat16_is_the_upper_half_of_float32():
    values = [1.0, -2.5, 3.140625, float("inf"), 0.0]
    content = b"".join(struct.pack("<f", value)[2:] for value in values)
    found = Tensor(Storage(BFLOAT16, 5, Span.of(content)), (5,), (1,)).read()
    assert found.dtype == np.float32
    assert found.tolist() == values


def test_a_storage_without_data():
    with pytest.raises(WeightsError, match="no data"):
        Tensor(Storage("float32", 2), (2,), (1,)).read()
    with pytest.raises(WeightsError, match="-1 elements"):
        Storage("float32", -1)


def test_a_file_that_ends_within_a_tensor():
    with pytest.raises(WeightsError, match=r"ends within a tensor \(8 of 96 bytes\)"):
        Tensor(Storage("float32", 24, Span.of(bytes(8))), (24,), (1,)).read()


def test_text_that_stands_for_bytes():
    content = bytes(range(256))
    text = content.decode("latin-1").encode("utf-8")
    span = Span(Span.of(b"ab" + text).file, 2, len(text), is_text=True)
    assert span.read(0, 256) == content
    assert span.read(250, 6) == content[250:]
    with pytest.raises(WeightsError, match="ends within"):
        span.read(250, 7)
