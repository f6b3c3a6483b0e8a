"""Data sets: numbering across sources, reading images, what a subclass has to give."""

import sys
import types

import cv2
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.matterport.dataset import load_canvas_image, load_image_gt
from mrcnn.model import parse_image_meta
from mrcnn.utils import Dataset
from tests.mrcnn.training.shapes import CROSS, DISC, Shapes


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


class ShapesConfig(Config):
    NAME = "shapes"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 64, 128


class One(Dataset):
    """One image, 40 x 60, with the masks that it is given."""

    def __init__(self, masks, class_ids, image=None):
        super().__init__()
        self.masks, self.image = (masks, class_ids), image
        self.add_class("here", 1, "a")
        self.add_class("here", 2, "b")
        self.add_image("here", "x7", "x7.png")
        self.prepare()

    def load_image(self, image_id):
        return np.full((40, 60, 3), 90, np.uint8) if self.image is None else self.image

    def load_mask(self, image_id):
        return self.masks


def rectangle(y1, x1, y2, x2, size=(40, 60)):
    mask = np.zeros((*size, 1), bool)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.fixture
def config():
    return ShapesConfig()


def test_square_canvas_moves_masks_and_boxes_with_the_image(config):
    # 40 x 60 is enlarged by 64 / 40 to 64 x 96, padded to 128 x 128: 32 above and below, 16 left and right
    dataset = One(rectangle(10, 20, 30, 50), np.array([2]))
    image, meta, class_ids, boxes, masks = load_image_gt(dataset, config, 0)
    assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
    assert image[31, 60].tolist() == image[60, 15].tolist() == [0, 0, 0]
    assert image[60, 60].tolist() == [90, 90, 90]
    assert class_ids.tolist() == [2]
    assert (masks.shape, masks.dtype) == ((128, 128, 1), np.bool_)
    assert np.abs(boxes[0] - [32 + 16, 16 + 32, 32 + 48, 16 + 80]).max() <= 1
    y1, x1, y2, x2 = boxes[0]
    assert masks[y1:y2, x1:x2, 0].all()
    assert masks.sum() == (y2 - y1) * (x2 - x1)
    parts = parse_image_meta(meta[None])
    assert parts["image_id"].tolist() == [0]
    assert parts["original_image_shape"].tolist() == [[40, 60, 3]]
    assert parts["window"].tolist() == [[32, 16, 96, 112]]
    assert parts["scale"] == pytest.approx(1.6)
    assert parts["active_class_ids"].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("mode", "min_dim", "shape", "box"),
    [("none", 64, (40, 60), [10, 20, 30, 50]), ("pad64", None, (64, 64), [12 + 10, 2 + 20, 12 + 30, 2 + 50])],
)
def test_other_modes(config, mode, min_dim, shape, box):
    config.IMAGE_RESIZE_MODE, config.IMAGE_MIN_DIM = mode, min_dim
    image, _, _, boxes, _ = load_image_gt(One(rectangle(10, 20, 30, 50), np.array([1])), config, 0)
    assert image.shape[:2] == shape
    assert boxes.tolist() == [box]


def test_crop_leaves_objects_outside_out(config):
    config.IMAGE_RESIZE_MODE, config.IMAGE_MIN_DIM = "crop", 40
    masks = np.concatenate([rectangle(0, 0, 40, 60), rectangle(5, 0, 9, 1), rectangle(5, 59, 9, 60)], axis=2)
    dataset = One(masks, np.array([1, 2, 2]))
    lefts, rights = set(), set()
    for _ in range(40):
        image, _, class_ids, boxes, cut = load_image_gt(dataset, config, 0)
        assert image.shape == (40, 40, 3)
        assert boxes[0].tolist() == [0, 0, 40, 40]
        assert cut.shape == (40, 40, len(class_ids))
        assert len(class_ids) <= 2  # the two small ones are 58 pixels apart
        lefts.add(len(class_ids))
        rights.add(tuple(boxes[-1]))
    assert 1 in lefts
    assert len(rights) <= 3


def test_mini_masks_have_the_configs_shape(config):
    config.MINI_MASK_SHAPE = (7, 11)
    masks = load_image_gt(One(rectangle(10, 20, 30, 50), np.array([1])), config, 0, use_mini_mask=True)[4]
    assert masks.shape == (7, 11, 1)
    assert masks.mean() > 0.6


def test_images_without_objects(config):
    found = load_image_gt(One(np.empty((0, 0, 0)), np.empty(0, np.int32)), config, 0)
    assert [part.shape for part in found[2:]] == [(0,), (0, 4), (128, 128, 0)]


def test_classes_of_other_sources_are_not_active(config):
    dataset = One(rectangle(0, 0, 9, 9), np.array([1]))
    dataset.add_class("there", 5, "c")
    dataset.add_image("there", 1, "there.png")
    dataset.prepare()
    config.NUM_CLASSES = 4
    assert load_canvas_image(dataset, config, 0).active_class_ids.tolist() == [1, 1, 1, 0]
    assert load_canvas_image(dataset, config, 1).active_class_ids.tolist() == [1, 0, 0, 1]


def test_a_source_without_classes_is_named(config):
    dataset = One(rectangle(0, 0, 9, 9), np.array([1]))
    dataset.add_image("elsewhere", 1, "e.png")
    dataset.prepare()
    with pytest.raises(ValueError, match="no class of source 'elsewhere', only of 'here'"):
        load_image_gt(dataset, config, 1)


BOX = rectangle(0, 0, 9, 9)


@pytest.mark.parametrize(
    ("masks", "class_ids", "message"),
    [
        (np.zeros((60, 40, 1), bool), [1], r"image's size 40 x 60 \(height x width\), got 60 x 40"),
        (BOX, [3], r"whole numbers 1 … NUM_CLASSES - 1 = 2 .*got 3"),
        (BOX, [0], "got 0"),
        (BOX, [-3], "got -3"),
        (BOX, [1.5], "got float64"),
        (BOX, [1, 2], r"got \(40, 60, 1\) and \(2,\)"),
        (BOX[:, :, 0], [1], r"got \(40, 60\) and \(1,\)"),
    ],
)
def test_wrong_masks_are_named_with_their_image(config, masks, class_ids, message):
    with pytest.raises(ValueError, match=r"image 0 \(here\.x7, x7\.png\): load_mask must return .*" + message):
        load_image_gt(One(masks, np.array(class_ids)), config, 0)


def test_what_is_no_image(config):
    with pytest.raises(ValueError, match=r"image 0 .*load_image must return an RGB array.*uint8 \(5, 6\)"):
        load_image_gt(One(BOX, np.array([1]), np.zeros((5, 6), np.uint8)), config, 0)


def test_a_function_augments_image_and_masks(config):
    plain = load_image_gt(Shapes().fill(), config, 1)
    turned = load_image_gt(Shapes().fill(), config, 1, augmentation=lambda i, m: (i[::-1], m[::-1]))
    np.testing.assert_array_equal(turned[0], plain[0][::-1])
    np.testing.assert_array_equal(turned[4], plain[4][::-1])
    np.testing.assert_array_equal(turned[3][:, 0], 128 - plain[3][:, 2])
    assert turned[2].tolist() == plain[2].tolist() == [DISC, CROSS]


def test_objects_that_augmentation_removes_are_left_out(config):
    def keep_last(image, masks):
        return image, masks * np.array([0, 1], np.uint8)

    found = load_image_gt(Shapes().fill(), config, 1, augmentation=keep_last)
    assert found[2].tolist() == [CROSS]
    assert found[4].shape == (128, 128, 1)


class Step:
    """Speaks imgaug's protocol: adds to pixels unless hooks forbid, and mirrors."""

    def __init__(self):
        self.fixed = False

    def to_deterministic(self):
        fixed = type(self)()
        fixed.fixed = True
        return fixed

    def augment_image(self, image, hooks=None):
        assert self.fixed
        names = ("Fliplr", "Add")
        allowed = [hooks is None or hooks.activator(None, type(name, (), {})(), [], True) for name in names]
        image = image[:, ::-1] if allowed[0] else image
        return image + np.uint8(1) if allowed[1] else image


class HooksImages:
    def __init__(self, activator):
        self.activator = activator


def test_imgaugs_geometry_reaches_the_masks_and_its_colors_do_not(config, monkeypatch):
    fake = types.ModuleType("imgaug")
    fake.HooksImages = HooksImages
    monkeypatch.setitem(sys.modules, "imgaug", fake)
    plain = load_image_gt(Shapes().fill(), config, 2)
    found = load_image_gt(Shapes().fill(), config, 2, augmentation=Step())
    np.testing.assert_array_equal(found[0], plain[0][:, ::-1] + np.uint8(1))
    np.testing.assert_array_equal(found[4], plain[4][:, ::-1])


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (lambda i, m: (i[:-1], m[:-1]), r"image 0 .*must keep the shapes.*\(128, 128, 3\).*\(127, 128, 3\)"),
        (lambda i, m: i, r"must return \(image, masks\), it returned ndarray"),
        ("flip", "function of .* or an imgaug augmenter, got 'flip'"),
    ],
)
def test_wrong_augmentations(config, augmentation, message):
    with pytest.raises(ValueError, match=message):
        load_image_gt(Shapes().fill(), config, 0, augmentation=augmentation)


def test_the_old_flip(config):
    plain = load_image_gt(Shapes().fill(), config, 0)[0]
    seen = {
        (np.array_equal(image, plain), np.array_equal(image, plain[:, ::-1]))
        for image in (load_image_gt(Shapes().fill(), config, 0, augment=True)[0] for _ in range(30))
    }
    assert seen == {(True, False), (False, True)}
