"""Other programs' files at their first use and later: the cache, and what happens without one."""

import json
import logging
import math
import os
import shutil
import threading

import numpy as np
import pytest

from mrcnn.weights import converted
from mrcnn.weights.checkpoint import WeightsError, read_arrays, read_checkpoint, read_metadata
from mrcnn.weights.conversion import convert
from mrcnn.weights.converted import as_hdf5, convert_file
from mrcnn.weights.state_dict import open_state_dict
from tests.mrcnn.weights.checkpoints import DATA, FILES
from tests.mrcnn.weights.files import layers_of, write_file

V1 = FILES["torchvision_v1"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of conversions, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "user_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "converted"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "architecture", "classes"), [("torchvision_v1", "torchvision", 91), ("detectron2", "detectron2", 81)]
)
def test_a_foreign_file_is_described_like_one_of_ours(name, architecture, classes):
    checkpoint = read_checkpoint(FILES[name])
    assert (checkpoint.path, checkpoint.num_classes, checkpoint.backbone) == (FILES[name], classes, "resnet50")
    assert checkpoint.class_names[1] == "person"
    config = checkpoint.config({"DETECTION_MIN_CONFIDENCE": 0.3})
    assert (config.ARCHITECTURE, config.NUM_CLASSES, config.DETECTION_MIN_CONFIDENCE) == (architecture, classes, 0.3)
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_RESIZE_MODE) == (800, 1333, "shortest")
    np.testing.assert_array_equal(config.MEAN_PIXEL, [123.675, 116.28, 103.53])
    assert read_metadata(FILES[name]) == checkpoint.metadata


def test_its_arrays_are_those_of_the_conversion():
    found = read_arrays(V1)
    with open_state_dict(V1) as tensors:
        conversion = convert(tensors)
        assert set(found) == set(conversion.layer_names)
        for layer in ("conv1", "bn2a_branch1", "rpn_class_raw", "mrcnn_class_conv1", "mrcnn_mask"):
            for kind, values in conversion.arrays(layer).items():
                np.testing.assert_array_equal(found[layer][kind], values)


def test_it_is_converted_once_and_said_in_one_line(cache, caplog):
    with caplog.at_level(logging.INFO, "mrcnn"):
        read_checkpoint(V1)
        read_arrays(V1)
        read_checkpoint(str(V1))
    assert len(caplog.messages) == 1
    assert "torchvision_v1.pth (torchvision, resnet50, 91 classes) to " in caplog.text
    assert len(names(cache)) == 1
    assert names(cache)[0].startswith("torchvision_v1-")


def test_our_own_files_are_used_as_they_are(cache, tmp_path):
    path = write_file(tmp_path / "a.h5", layers_of())
    assert as_hdf5(path) == path
    assert as_hdf5(tmp_path / "absent.pth") == tmp_path / "absent.pth"
    assert not cache.exists()


def test_another_content_of_the_same_name_is_another_file(cache, tmp_path):
    path = tmp_path / "weights.pth"
    shutil.copy(V1, path)
    assert read_checkpoint(path).num_classes == 91
    shutil.copy(FILES["detectron2"], path)
    assert read_checkpoint(path).num_classes == 81
    assert len(names(cache)) == 2


def test_a_damaged_conversion_is_made_anew(cache):
    path = as_hdf5(V1)
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert as_hdf5(V1).read_bytes() == content


def test_without_a_writable_cache_the_conversion_is_temporary(cache, monkeypatch, tmp_path):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(converted, "temporary_cache", lambda prefix: temporary)
    assert as_hdf5(V1).parent == temporary
    before = os.stat(as_hdf5(V1)).st_mtime_ns
    assert os.stat(as_hdf5(V1)).st_mtime_ns == before
    assert cache.is_file()


def test_two_processes_at_once(cache, monkeypatch):
    """Another one finishes the same file while this one is at it."""
    write, content = converted.write_whole, []

    def after_another(target, image):
        write(target, image)
        content.append(target.read_bytes())
        write(target, image)

    monkeypatch.setattr(converted, "write_whole", after_another)
    assert as_hdf5(V1).read_bytes() == content[0]
    assert len(names(cache)) == 1


def test_several_threads_get_the_same(cache):
    found = []
    threads = [threading.Thread(target=lambda: found.append(as_hdf5(V1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert len(set(found)) == len(names(cache)) == 1


def test_a_file_that_changes_meanwhile_is_not_kept(cache, monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    shutil.copy(V1, path)
    image = converted.hdf5_image

    def changing(*arguments):
        path.write_bytes(path.read_bytes() + b"x")
        return image(*arguments)

    monkeypatch.setattr(converted, "hdf5_image", changing)
    with pytest.raises(WeightsError, match=r"weights\.pth: it changed while it was read"):
        read_checkpoint(path)
    assert names(cache) == []


def test_a_file_that_cannot_be_converted_leaves_nothing(cache, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(V1.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"weights\.pth: it is a damaged or truncated archive"):
        read_checkpoint(path)
    assert names(cache) == []


def test_layers_that_share_their_values_are_refused(tmp_path):
    """A small file could claim weights that fill the memory."""
    with open_state_dict(V1) as tensors:
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for name, shape in shapes.items():  # a backbone with four times as many channels
        if name.startswith("backbone.body"):
            shape[:2] = [size if size == 3 else 4 * size for size in shape[:2]]
        elif "inner_blocks" in name and len(shape) == 4:
            shape[1] *= 4
    sizes = {name: 4 * math.prod(shape) for name, shape in shapes.items()}
    entries = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, sizes[name]]} for name, shape in shapes.items()
    }
    header = json.dumps(entries).encode()
    path = tmp_path / "shared.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(max(sizes.values())))
    with pytest.raises(WeightsError, match=r"shared\.safetensors: its layers share their values"):
        read_checkpoint(path)


def test_converting_to_a_named_file(tmp_path):
    target = tmp_path / "mine.h5"
    target.write_bytes(b"an old one")
    convert_file(DATA / "detectron2.pkl", target)
    assert read_checkpoint(target).num_classes == 81
    with pytest.raises(OSError, match="No such file"):
        convert_file(V1, tmp_path / "nowhere" / "mine.h5")
