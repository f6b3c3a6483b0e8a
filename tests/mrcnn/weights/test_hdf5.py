"""Weight files that are read, and files that are none."""

import json

import h5py
import numpy as np
import pytest

from mrcnn.weights.hdf5 import WeightsError, read_arrays, read_metadata
from tests.mrcnn.weights.files import layers_of, write_file


def test_arrays_by_layer_and_kind(tmp_path):
    arrays = read_arrays(write_file(tmp_path / "a.h5", layers_of(3)))
    assert arrays["rpn_conv_shared"]["kernel"].shape == (3, 3, 2, 5)
    assert arrays["rpn_conv_shared"]["bias"].tolist() == [1, 1, 1, 1, 1]
    assert arrays["mrcnn_class_logits"]["bias"].shape == (3,)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("measurements", data=[1, 2])
    with pytest.raises(WeightsError, match=r"'measurements'.*not a Mask R-CNN checkpoint"):
        read_arrays(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, world", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "damaged or truncated"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "bad.h5"
    path.write_bytes(content)
    for read in (read_arrays, read_metadata):
        with pytest.raises(WeightsError, match=message):
            read(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        read_arrays(tmp_path / "absent.h5")
    with pytest.raises(WeightsError, match="is a folder"):
        read_arrays(tmp_path)


def test_a_file_cut_off_in_the_middle(tmp_path):
    path = write_file(tmp_path / "a.h5", layers_of(2000))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="damaged or truncated"):
        read_arrays(path)


@pytest.mark.parametrize("text", ["{not json", "[" * 100_000, '{"config": {"a": ' + "9" * 5000 + "}}"])
def test_settings_that_are_no_json(tmp_path, text):
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        file.attrs["stream_segment"] = text
    with pytest.raises(WeightsError, match="not valid JSON"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["config"]', "has no object 'config'"),
        ('{"class_names": ["BG"]}', "has no object 'config'"),
        ('{"config": {}, "class_names": "BG, cat"}', "class_names must be a list of names, got 'BG, cat'"),
        ('{"config": {}, "class_names": ["BG", 1]}', "class_names must be a list of names"),
    ],
)
def test_metadata_of_another_form(tmp_path, content, message):
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        file.attrs["stream_segment"] = content
    with pytest.raises(WeightsError, match=message):
        read_metadata(path)


BIAS = "mrcnn_class_logits/bias:0"


@pytest.fixture
def other(tmp_path):
    """A file with an array, of which nobody has spoken."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(7, np.float32)
    return tmp_path / "other.h5"


def with_another_bias(tmp_path, put):
    """A weight file in which `put(group)` makes the bias of the class layer."""
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        del file["mrcnn_class_logits"][BIAS]
        put(file["mrcnn_class_logits"])
    return path


@pytest.mark.parametrize("is_external", [True, False])
def test_links_are_not_followed(tmp_path, other, is_external):
    link = h5py.ExternalLink(str(other), "/x") if is_external else h5py.SoftLink("/fpn_p5")
    path = with_another_bias(tmp_path, lambda group: group.__setitem__(BIAS, link))
    with pytest.raises(WeightsError, match=r"bias:0' is a link"):
        read_arrays(path)


def test_a_layer_that_is_a_link_is_not_followed(tmp_path, other):
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        del file["fpn_p5"]
        file["fpn_p5"] = h5py.ExternalLink(str(other), "/")
    with pytest.raises(WeightsError, match="'fpn_p5' is a link"):
        read_arrays(path)


def test_values_in_another_file_are_not_read(tmp_path, other):
    stored = [(str(other), 0, 28)]
    path = with_another_bias(tmp_path, lambda group: group.create_dataset(BIAS, (7,), "f4", external=stored))
    with pytest.raises(WeightsError, match="no array in the file itself"):
        read_arrays(path)


def test_a_group_in_place_of_an_array(tmp_path):
    path = with_another_bias(tmp_path, lambda group: group.create_group(BIAS))
    with pytest.raises(WeightsError, match="no array in the file itself"):
        read_arrays(path)


def test_arrays_that_only_claim_to_be_large_are_not_allocated(tmp_path):
    path = with_another_bias(tmp_path, lambda group: group.create_dataset(BIAS, (1 << 40,), "f4", chunks=(64,)))
    with pytest.raises(WeightsError, match="far more memory than the file is large"):
        read_arrays(path)


@pytest.mark.parametrize("names", [3, "text", [1, 2], [b"\xff\xfe"], h5py.Empty("f")])
def test_lists_of_names_that_are_none(tmp_path, names):
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = names
    with pytest.raises(WeightsError):
        read_arrays(path)


def test_texts_in_which_hdf5_would_loop_endlessly(tmp_path):
    """The size of the first text grows, so that free space of 0 bytes seems to follow it."""
    path = write_file(tmp_path / "a.h5", layers_of())
    with h5py.File(path, "a") as file:
        file.attrs["stream_segment"] = json.dumps({"config": {"NAME": "x" * 100}})
    assert read_metadata(path) == {"config": {"NAME": "x" * 100}}
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    assert data[heap + 24 + 1] == 0
    data[heap + 24 + 1] = 8
    path.write_bytes(data)
    for read in (read_arrays, read_metadata):
        with pytest.raises(WeightsError, match="its texts are damaged"):
            read(path)
