"""Every architecture learns: from a file with other classes to a file that an engine runs."""

import cv2
import keras
import numpy as np
import pytest

from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.network.backbones import BACKBONES
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.augment import AugmentSettings
from mrcnn.training.data import WindowMaker
from mrcnn.training.initialization import load_initial_weights, plan_initialization
from mrcnn.training.trainer import BEST_WEIGHTS_FILE, Trainer, TrainSettings
from mrcnn.weights.checkpoint import read_checkpoint
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import describe
from tests.mrcnn.conftest import on_tensorflow, pixel_iou
from tests.mrcnn.tiny import tiny_backbone, tiny_config, tiny_network

NAMES = ("BG", "box")
STEPS = 360
DENSE = {"FPN_CLASSIF_FC_LAYERS_SIZE": 256}
"""With fewer units, they can die: then the box head learns nothing, in some orders of the threads' sums."""
SIDES = {"IMAGE_RESIZE_MODE": "shortest", "IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64}
FEW = {"PRE_NMS_LIMIT": 50, "POST_NMS_ROIS_TRAINING": 30, "TRAIN_ROIS_PER_IMAGE": 36, "ROI_POSITIVE_RATIO": 0.34}


@pytest.fixture
def data(tmp_path):
    """A picture of a bright box on dark noise."""
    picture = np.random.default_rng(1).integers(0, 60, (64, 64, 3)).astype(np.uint8)
    box = np.array([16, 8, 56, 40])
    picture[box[0] : box[2], box[1] : box[3]] = (230, 60, 200)
    cv2.imwrite(str(tmp_path / "box.png"), picture)
    instance = Instance(1, 1, box, np.full((40, 32), 255, np.uint8))
    image = AnnotatedImage(1, tmp_path / "box.png", 64, 64, (instance,), np.zeros((0, 4), np.float32))
    return AnnotatedImages(NAMES, ("box",), (image,))


@pytest.fixture
def file(request, tmp_path, monkeypatch):
    """A weight file of an architecture, of three other classes and a backbone that is known by its name."""
    monkeypatch.setitem(BACKBONES, "tiny", lambda image, config: tiny_backbone(image, True, config.TRAIN_BN)[-4:])
    monkeypatch.setattr("mrcnn.config.BACKBONES", ("tiny",))
    monkeypatch.setattr("mrcnn.training.initialization.backbone_of", lambda arrays: "tiny")
    monkeypatch.setattr("mrcnn.training.initialization.LARGE_TRAINING", FEW)
    network = tiny_network(tiny_config(request.param, BACKBONE="tiny", **DENSE, **SIDES))
    save_weights(network, tmp_path / "a.h5", describe(network.config, ["BG", "cup", "dog"]))
    return tmp_path / "a.h5"


# Compiling takes longest: these two have every difference; under JAX, the one whose pooling differs in training
TRAINED = ["torchvision_v2", "detectron2"] if on_tensorflow() else ["detectron2"]


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="a minute, op by op")
@pytest.mark.parametrize("file", TRAINED, indirect=True)
def test_training_finds_the_box_where_it_is(file, data, tmp_path):
    plan = plan_initialization(file, NAMES)
    network = MaskRCNNNetwork(plan.config)
    load_initial_weights(network, plan, seed=1)
    unchanged = {"smallest_scale": 1, "largest_scale": 1, "flip": 0, "color": 0, "pastes": 0}
    augment = AugmentSettings.for_network(plan.config, window=64, **unchanged)
    settings = TrainSettings(
        steps=STEPS, batch=1, learning_rate=1e-3, backbone_factor=1.0, warmup_steps=4, average=0.0, layers="all",
        mask_regions=4, log_every=STEPS // 8, save_every=999, validate_every=999,
    )  # fmt: skip
    lines = []
    metadata = describe(plan.config, NAMES)
    Trainer(network, WindowMaker(data, augment, 1), settings, tmp_path / "run", metadata).run(lines.append)
    measured = [line for line in lines if "loss" in line]
    for name in ("loss", "rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"):
        assert measured[-1][name] < measured[0][name] / 2, name

    checkpoint = read_checkpoint(tmp_path / "run" / BEST_WEIGHTS_FILE)
    assert checkpoint.class_names == NAMES
    trained = MaskRCNNNetwork(checkpoint.config({"DETECTION_NMS_THRESHOLD": 0.9}))
    assert trained.architecture is network.architecture
    load_weights(trained, checkpoint.path)
    picture = cv2.imread(str(tmp_path / "box.png"))[:, :, ::-1]
    (found,) = KerasEngine(trained).detect_molded(picture[None], np.array([[0, 0, 64, 64]]))
    overlaps = pixel_iou(found.boxes_in_pixels(64, 64), [[16, 8, 56, 40]])[:, 0]
    assert overlaps.max() > 0.7
    assert found.scores[overlaps.argmax()] > 0.5
    assert found.mask_probs[overlaps.argmax()].mean() > 0.8
