"""Arrays that NumPy pickles, in all protocols, and arrays that claim to be something else."""

import io
import pickle

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.numpy_pickle import NUMPY_BUILDERS
from mrcnn.weights.stored_tensor import Tensor
from mrcnn.weights.unpickle import read_pickle
from tests.mrcnn.weights.checkpoints import pickled


def read(content):
    return read_pickle(io.BytesIO(content), len(content), NUMPY_BUILDERS)


RNG = np.random.default_rng(3)
ARRAYS = {
    "small": np.float32([[1, 2, 3], [4, 5, 6]]),
    "large": RNG.normal(size=(70, 90)).astype(np.float32),
    "fortran": np.asfortranarray(RNG.normal(size=(5, 7, 2))),
    "view": RNG.normal(size=(8, 8)).astype(np.float16)[::2, 1::3],
    "big endian": np.array([1.5, -2.5], ">f4"),
    "whole": np.arange(300),
    "bytes": np.arange(256, dtype=np.uint8),
    "truth": np.array([True, False]),
    "single": np.array(7.5),
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"])
def test_arrays(protocol, core):
    content = pickled(ARRAYS, protocol)
    if protocol < 4:  # names are lines there; in frames their lengths would change
        content = content.replace(b"numpy._core", core)
    found = read(content)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        values = found[name].read()
        assert values.dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(values, array, err_msg=name)


def test_numbers():
    assert read(pickled({"loss": np.float64(0.25), "step": np.int64(7)})) == {"loss": 0.25, "step": 7}


def test_an_array_that_occurs_twice_is_one():
    array = np.arange(3.0)
    found = read(pickled([array, array]))
    assert isinstance(found[0], Tensor)
    assert found[0] is found[1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["text"]), "numpy.dtype with wrong arguments"),
        (np.array([{}], object), "numpy.dtype with wrong arguments"),
        (np.zeros(2, [("a", "f4")]), "numpy.dtype with wrong arguments"),
        (np.array([1j]), "numpy.dtype with wrong arguments"),
        (np.array(["2026-01-01"], "datetime64[s]"), "numpy.dtype with wrong arguments"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
        (np.random.default_rng(1), "numpy.random"),
    ],
)
def test_what_is_not_an_array_of_numbers(array, message):
    with pytest.raises(WeightsError, match=message):
        read(pickled(array))


def with_state(state):
    """An array whose state is this one."""

    class Array:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    return pickle.dumps(Array(), 2)


F4 = np.dtype("f4")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, (2,), F4, False, b"1234"), "does not fit into its 1 stored numbers"),
        ((1, (10**12, 10**12), F4, False, b"1234"), "does not fit"),
        ((1, (-1,), F4, False, b"1234"), "whole numbers of 0 or more"),
        ((1, (1.0,), F4, False, b"1234"), "whole numbers of 0 or more"),
        ((1, ("abc", 10**12), F4, True, b"1234"), "whole numbers of 0 or more"),
        ((1, (1,) * 40, F4, False, b"1234"), "more than 8 dimensions"),
        ((1, (1,), "f4", False, b"1234"), "shape and data type"),
        ((1, [1], F4, False, b"1234"), "shape and data type"),
        ((1, (1,), F4, False, [1.0]), "expected the bytes of numbers, got list"),
        ((1, (1,), F4, False), "wrong state"),
        ([1], "expected an array's state"),
    ],
)
def test_states_that_do_not_fit(state, message):
    with pytest.raises(WeightsError, match=message):
        read(with_state(state))


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy.core.multiarray\n_reconstruct\n(NNNtR.",
        b"cnumpy.core.multiarray\nscalar\n(NNtR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\ntRS'abc'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\ntRX\x00\x20\x00\x00" + b"a" * 8192 + b"tR.",
        b"cnumpy.core.numeric\n_frombuffer\n(NNNNtR.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"c_codecs\nencode\n(I1\nS'latin1'\ntR.",
        b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'x'\ntb.",
    ],
)
def test_functions_with_wrong_arguments(content):
    with pytest.raises(WeightsError, match=r"wrong arguments|wrong state|ends within"):
        read(content)
