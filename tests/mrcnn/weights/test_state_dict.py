"""Which files are opened, where their state dict is found, and errors that name the file."""

import os
import pickle

import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.state_dict import is_foreign
from tests.mrcnn.weights.checkpoints import DATA, Calls, read_all
from tests.mrcnn.weights.files import layers_of, write_file

WEIGHTS = {"a.weight": np.float32([[1, 2]]), "b.bias": np.float32([3])}
CHECKPOINTS = sorted(path for path in DATA.iterdir() if path.suffix in (".pth", ".pkl", ".safetensors"))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return path


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS, "__author__": "somebody", "matching_heuristics": True},
        {"state_dict": WEIGHTS, "epoch": 7},
        {"model_state_dict": WEIGHTS, "model": "resnet", "optimizer_state_dict": {}},
        {"model": {f"module.{name}": value for name, value in WEIGHTS.items()}},
        {**WEIGHTS, "comment": "not a tensor", 5: np.float32([1])},
    ],
)
def test_where_the_state_dict_is(tmp_path, content):
    found = read_all(write(tmp_path / "a.pkl", content))
    assert {name: values.tolist() for name, values in found.items()} == {"a.weight": [[1, 2]], "b.bias": [3]}


@pytest.mark.parametrize("content", [{}, [], 7, "text", {"model": {}}, {"model": {"a": 1.0}}, {"a": {"b": WEIGHTS}}])
def test_without_tensors_by_name(tmp_path, content):
    path = write(tmp_path / "a.pkl", content)
    with pytest.raises(WeightsError, match=r"a\.pkl: it has no tensors by name: expected a state dict"):
        read_all(path)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_files_are_recognized_by_their_content(tmp_path, path):
    copy = write(tmp_path / "weights.h5", path.read_bytes())
    assert is_foreign(copy)
    assert len(read_all(copy)) > 200


def test_seven_files_were_made():
    assert len(CHECKPOINTS) == 7


def test_other_files_are_not_foreign(tmp_path):
    assert not is_foreign(write_file(tmp_path / "a.h5", layers_of()))
    assert not is_foreign(write(tmp_path / "text", b"a text that is long enough"))
    assert not is_foreign(write(tmp_path / "empty", b""))
    assert not is_foreign(tmp_path / "absent")
    assert not is_foreign(tmp_path)
    with pytest.raises(WeightsError, match=r"text: expected weights as \.pth, .*; it begins with b'a te"):
        read_all(tmp_path / "text")


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_truncated_files(tmp_path, path, share):
    content = path.read_bytes()
    copy = write(tmp_path / path.name, content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=path.name):
        read_all(copy)


def test_a_hostile_file_is_named(tmp_path):
    path = write(tmp_path / "hostile.pth", {"model": Calls(os.system, "true")})
    with pytest.raises(WeightsError, match=r"hostile\.pth: its pickle wants to use '(posix|nt)\.system'"):
        read_all(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth cannot be read: No such file"):
        read_all(tmp_path / "absent.pth")
