"""Data sets: numbering across sources, reading images, what a subclass has to give."""

import cv2
import numpy as np
import pytest

from mrcnn.matterport.dataset import Dataset


@pytest.fixture
def pets():
    dataset = Dataset()
    dataset.add_class("home", 7, "cat, a small one")
    dataset.add_class("zoo", "w", "wolf")
    dataset.add_class("home", 3, "dog")
    dataset.add_class("home", 7, "cat again")
    dataset.add_image("zoo", "z1", "zoo/1.png", width=5)
    dataset.add_image("home", 12, "home/12.png", annotations=[1, 2])
    return dataset


def test_before_prepare():
    dataset = Dataset()
    assert len(dataset.image_ids) == 0
    assert dataset.image_info == []
    assert dataset.class_info == [{"source": "", "id": 0, "name": "BG"}]


def test_prepare_numbers_everything(pets):
    pets.prepare()
    assert pets.num_classes == 4
    assert pets.class_ids.tolist() == [0, 1, 2, 3]
    assert pets.class_names == ["BG", "cat", "wolf", "dog"]
    assert pets.num_images == 2
    assert pets.image_ids.tolist() == [0, 1]
    assert pets.class_from_source_map == {".0": 0, "home.7": 1, "zoo.w": 2, "home.3": 3}
    assert pets.image_from_source_map == {"zoo.z1": 0, "home.12": 1}
    assert sorted(pets.sources) == ["", "home", "zoo"]
    assert pets.source_class_ids == {"": [0], "home": [0, 1, 3], "zoo": [0, 2]}


def test_ids_map_both_ways(pets):
    pets.prepare()
    assert pets.map_source_class_id("home.3") == 3
    assert pets.get_source_class_id(3, "home") == 3
    assert pets.get_source_class_id(2, "zoo") == "w"
    with pytest.raises(ValueError, match="class 2 \\(wolf\\) belongs to source 'zoo', not 'home'"):
        pets.get_source_class_id(2, "home")
    with pytest.raises(KeyError):
        pets.map_source_class_id("home.99")


def test_images_keep_what_they_were_given(pets):
    assert pets.image_info[0] == {"id": "z1", "source": "zoo", "path": "zoo/1.png", "width": 5}
    assert pets.source_image_link(1) == "home/12.png"
    assert pets.image_reference(0) == ""


def test_a_dot_in_a_source_is_refused():
    with pytest.raises(ValueError, match=r"must not contain a dot, got 'a\.b'"):
        Dataset().add_class("a.b", 1, "thing")


def test_append_data(pets):
    both = Dataset()
    both.add_class("home", 3, "dog")
    both.append_data(pets.class_info, pets.image_info)
    both.prepare()
    assert both.class_names == ["BG", "dog", "cat", "wolf"]
    assert both.num_images == 2


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_load_as_rgb(tmp_path, channels):
    pixel = {1: [90], 3: [10, 20, 30], 4: [10, 20, 30, 128]}[channels]
    path = tmp_path / "pïc.png"
    written = np.tile(np.array(pixel, np.uint8), (5, 7, 1))
    path.write_bytes(cv2.imencode(".png", written)[1].tobytes())
    dataset = Dataset()
    dataset.add_image("here", 1, str(path))
    image = dataset.load_image(0)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert image[2, 3].tolist() == ([90, 90, 90] if channels == 1 else [30, 20, 10])


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_broken_image_is_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    dataset = Dataset()
    dataset.add_image("here", 1, path)
    with pytest.raises(ValueError, match=f"broken.jpg is not a readable image \\({len(content)} bytes"):
        dataset.load_image(0)


def test_masks_are_for_subclasses(pets, caplog):
    masks, class_ids = pets.load_mask(0)
    assert masks.size == 0
    assert class_ids.shape == (0,)
    assert class_ids.dtype == np.int32
    assert "Dataset does not override load_mask" in caplog.text
