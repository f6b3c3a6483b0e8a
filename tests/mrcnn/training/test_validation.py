"""Measuring on whole images: geometry, and average precision worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.engines.keras_engine import RawDetections
from mrcnn.training.annotated_images import AnnotatedImage, Instance
from mrcnn.training.data import BatchMaker, WindowMaker
from mrcnn.training.validation import Detection, Validator, mask_ap50, place_on_canvas
from tests.mrcnn.tiny import tiny_config as tiny_config_of

NAMES = ("BG", "cup", "dog", "owl")


def box(y, x, height=10, width=20):
    return np.array([y, x, y + height, x + width])


def instance(class_id, y, x, height=10, width=20):
    return Instance(class_id, 1, box(y, x, height, width), np.full((height, width), 255, np.uint8))


def image(*instances, crowds=()):
    return AnnotatedImage(1, "a.png", 60, 100, instances, np.zeros((0, 4), np.float32), crowds)


def found(class_id, score, y, x, height=10, width=20):
    return Detection(class_id, score, box(y, x, height, width), np.ones((height, width), bool))


def test_everything_found_is_1_and_nothing_found_is_0():
    truth = image(instance(1, 0, 0), instance(2, 30, 40))
    both = [found(1, 0.9, 0, 0), found(2, 0.3, 30, 40)]
    assert mask_ap50([(truth, both)], NAMES) == {"cup": 1.0, "dog": 1.0, "owl": None}
    assert mask_ap50([(truth, both[:1])], NAMES) == {"cup": 1.0, "dog": 0.0, "owl": None}
    assert mask_ap50([(truth, [])], NAMES) == {"cup": 0.0, "dog": 0.0, "owl": None}
    assert mask_ap50([(image(), both)], NAMES) == dict.fromkeys(NAMES[1:])


def test_one_of_two_found_behind_a_mistake():
    # best first: a mistake, then a hit: precision 1/2 up to a recall of 1/2, 51 of COCO's 101 recalls
    truth = image(instance(1, 0, 0), instance(1, 30, 40))
    result = mask_ap50([(truth, [found(1, 0.9, 45, 0), found(1, 0.8, 30, 40)])], NAMES)
    assert result["cup"] == pytest.approx(51 / 101 / 2, abs=1e-4)


def test_an_overlap_of_half_counts_and_less_does_not():
    truth = image(instance(1, 0, 0, 10, 20))
    assert mask_ap50([(truth, [found(1, 0.9, 0, 0, 10, 10)])], NAMES)["cup"] == 1.0
    assert mask_ap50([(truth, [found(1, 0.9, 0, 0, 10, 9)])], NAMES)["cup"] == 0.0


def test_what_lies_in_a_crowd_is_no_mistake():
    truth = image(instance(1, 0, 0), crowds=(instance(1, 30, 20, 30, 70),))
    inside = [found(1, 0.9, 32, 30), found(1, 0.8, 0, 0)]
    assert mask_ap50([(truth, inside)], NAMES)["cup"] == 1.0


@pytest.mark.parametrize(
    ("size", "scale", "place"),
    [((60, 120), 64 / 120, (16, 0)), ((200, 50), 64 / 200, (0, 24)), ((20, 40), 1.6, (16, 0)), ((20, 20), 2.5, (7, 7))],
)
def test_a_photograph_lies_in_the_middle_of_the_canvas(tiny_config, size, scale, place):
    canvas, window = place_on_canvas(np.full((*size, 3), 200, np.uint8), tiny_config)
    assert canvas.shape == (64, 64, 3)
    resized = (round(size[0] * scale), round(size[1] * scale))
    assert window.tolist() == [*place, place[0] + resized[0], place[1] + resized[1]]
    filled = canvas.any(axis=2)
    assert filled.sum() == resized[0] * resized[1]
    assert filled[place]


@pytest.mark.parametrize(
    ("architecture", "size", "resized"),
    [
        # 480 x 641 to a shorter side of 60: 60 x 80.1; 100 x 300 to a longer side of 100: 33.3 x 100
        ("torchvision", (480, 641), (60, 80)),
        ("torchvision", (100, 301), (33, 100)),
        ("detectron2", (100, 301), (33, 100)),
        ("torchvision", (50, 51), (60, 61)),  # 61.2
        ("torchvision", (97, 90), (64, 60)),  # 64.67
        ("detectron2", (97, 90), (65, 60)),
    ],
)
def test_other_architectures_limit_both_sides_and_begin_at_the_top_left(architecture, size, resized):
    config = tiny_config_of(architecture, IMAGE_RESIZE_MODE="shortest", IMAGE_MIN_DIM=60, IMAGE_MAX_DIM=100)
    canvas, window = place_on_canvas(np.full((*size, 3), 200, np.uint8), config)
    assert canvas.shape == (128, 128, 3)
    assert window.tolist() == [0, 0, *resized]
    assert canvas[: resized[0], : resized[1]].all()
    assert canvas.any(axis=2).sum() == resized[0] * resized[1]


class Canned:
    """A detector that always finds the same box of the canvas."""

    def detect_molded(self, images, windows):
        self.windows = windows
        edges = (np.array([[24, 8, 40, 56]]) - [0, 0, 1, 1]) / 63  # normalized as Matterport does it
        masks = np.zeros((1, 28, 28), np.float32)
        masks[:, :, 14:] = 1
        return [RawDetections(edges.astype(np.float32), np.array([1]), np.array([0.7], np.float32), masks)]


@pytest.fixture
def detector():
    return Canned()


@pytest.fixture
def batches(tiny_config, tiny_data, tiny_augment):
    return BatchMaker(WindowMaker(tiny_data, tiny_augment, 1), tiny_config, 1, 1)


@pytest.fixture
def validator(tiny_config, batches, detector, monkeypatch):
    network = SimpleNamespace(variables=[])
    monkeypatch.setattr("mrcnn.training.validation.MaskRCNNNetwork", lambda config: network)
    monkeypatch.setattr("mrcnn.training.validation.KerasEngine", lambda network: detector)
    return Validator(tiny_config, batches)


def test_boxes_and_masks_come_back_onto_the_photograph(validator, detector):
    (one,) = validator.detect(np.zeros((32, 64, 3), np.uint8))  # at its own size, from row 16 of the canvas on
    assert detector.windows.tolist() == [[16, 0, 48, 64]]
    assert (one.class_id, one.score) == (1, pytest.approx(0.7))
    assert one.box.tolist() == [8, 8, 24, 56]
    assert one.mask.shape == (16, 48)
    assert not one.mask[:, :23].any()
    assert one.mask[:, 25:].all()
    (half,) = validator.detect(np.zeros((64, 128, 3), np.uint8))
    assert half.box.tolist() == [16, 16, 48, 112]


def test_the_losses_are_means_over_the_batches(validator, batches):
    class Model:
        network = SimpleNamespace(variables=[])

        def test_on_batch(self, number, return_dict):
            return {"loss": 1.0 + number, "rpn_class_loss": 0.5}

    batches.make = lambda number: number
    measured = validator.measure(Model())
    assert measured.keys() == {"val_loss", "val_rpn_class_loss", "mask_ap50", "ap50_by_class"}
    assert (measured["val_loss"], measured["val_rpn_class_loss"]) == (1.5, 0.5)  # two images, one a batch
