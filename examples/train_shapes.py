"""Trains Mask R-CNN on drawn circles and boxes, then measures it on pictures that it has not seen.

    python examples/train_shapes.py

It has the structure of scripts for Matterport's package: a Config, a utils.Dataset, MaskRCNN(mode="training"). It
starts from the shipped weights, reinitializes the last layers for the new classes, and takes some minutes on two cores.
"""

import argparse
import os
import random
import sys

import cv2
import numpy as np

# In a clone, the packages are beside this folder.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import mrcnn.model as modellib
from mrcnn import utils
from mrcnn.config import Config
from mrcnn.weights.checkpoint import read_metadata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEIGHTS = os.path.join(ROOT, "weights", "stream_segment_person.h5")
NETWORK = read_metadata(WEIGHTS)["config"]

SIDE = 128
"""Width and height of a picture in pixels."""


class ShapesConfig(Config):
    """Three classes including the background, small pictures, short epochs."""

    NAME = "shapes"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 4
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = SIDE
    TRAIN_ROIS_PER_IMAGE = 48
    POST_NMS_ROIS_TRAINING = 200
    STEPS_PER_EPOCH = 50
    VALIDATION_STEPS = 5
    LEARNING_RATE = 0.01

    # The architecture must match the weight file
    BACKBONE = NETWORK["BACKBONE"]
    TOP_DOWN_PYRAMID_SIZE = NETWORK["TOP_DOWN_PYRAMID_SIZE"]
    FPN_CLASSIF_FC_LAYERS_SIZE = NETWORK["FPN_CLASSIF_FC_LAYERS_SIZE"]
    RPN_CHANNELS = NETWORK["RPN_CHANNELS"]
    MASK_HEAD_CHANNELS = NETWORK["MASK_HEAD_CHANNELS"]
    RPN_ANCHOR_SCALES = NETWORK["RPN_ANCHOR_SCALES"]
    MEAN_PIXEL = np.array(NETWORK["MEAN_PIXEL"])


class InferenceConfig(ShapesConfig):
    """The same for batches of one picture."""

    IMAGES_PER_GPU = 1


class ShapesDataset(utils.Dataset):
    """Pictures with one to three shapes each, drawn on demand; an id always gives the same picture."""

    def load_shapes(self, count, first=0):
        """Add `count` pictures with ids from `first` on."""
        self.add_class("shapes", 1, "circle")
        self.add_class("shapes", 2, "box")
        for number in range(first, first + count):
            self.add_image("shapes", image_id=number, path=None)

    def load_image(self, image_id):
        """uint8 (SIDE, SIDE, 3), RGB."""
        return self._draw(image_id)[0]

    def load_mask(self, image_id):
        """Masks bool (SIDE, SIDE, N) and class ids int32 (N,)."""
        return self._draw(image_id)[1:]

    def _draw(self, image_id):
        rng = np.random.default_rng(self.image_info[image_id]["id"])
        image = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
        masks, class_ids = [], []
        for column in range(rng.integers(1, 4)):  # side by side, without occlusion
            center = (21 + 42 * column, int(rng.integers(24, SIDE - 24)))
            size, class_id = int(rng.integers(10, 20)), int(rng.integers(1, 3))
            mask = np.zeros((SIDE, SIDE), np.uint8)
            if class_id == 1:
                cv2.circle(mask, center, size, 1, -1)
            else:
                cv2.rectangle(
                    mask, (center[0] - size, center[1] - size // 2), (center[0] + size, center[1] + size), 1, -1
                )
            image[mask > 0] = rng.integers(0, 256, 3)
            masks.append(mask > 0)
            class_ids.append(class_id)
        return image, np.stack(masks, axis=-1), np.array(class_ids, np.int32)


def shapes(count, first=0):
    """A prepared dataset of `count` pictures."""
    dataset = ShapesDataset()
    dataset.load_shapes(count, first)
    dataset.prepare()
    return dataset


def mirror(image, masks):
    """Augmentation: a horizontal flip in half of the cases."""
    return (image[:, ::-1], masks[:, ::-1]) if random.random() < 0.5 else (image, masks)


def main():
    """Train the heads, then all layers; print the average precision on pictures not trained on."""
    parser = argparse.ArgumentParser(description="Train Mask R-CNN on drawn shapes.")
    parser.add_argument("--logs", default=os.path.join(ROOT, "out", "logs"), help="folder for training runs")
    parser.add_argument("--steps", type=int, default=ShapesConfig.STEPS_PER_EPOCH, help="batches of each epoch")
    parser.add_argument(
        "--epochs", type=int, default=5, help="total; the last one trains all layers, the earlier ones the heads"
    )
    parser.add_argument("--pictures", type=int, default=20, help="new pictures to measure on at the end")
    arguments = parser.parse_args()
    config = ShapesConfig()
    config.STEPS_PER_EPOCH = arguments.steps
    train, val = shapes(200), shapes(arguments.pictures, first=1000)

    model = modellib.MaskRCNN(mode="training", config=config, model_dir=arguments.logs)
    of_other_classes = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    model.load_weights(WEIGHTS, by_name=True, exclude=of_other_classes)
    epochs = arguments.epochs
    if epochs > 1:
        model.train(train, val, config.LEARNING_RATE, epochs=epochs - 1, layers="heads", augmentation=mirror)
    model.train(train, val, config.LEARNING_RATE / 10, epochs=epochs, layers="all", augmentation=mirror)

    path = model.find_last()
    trained = modellib.MaskRCNN(mode="inference", config=InferenceConfig(), model_dir=arguments.logs)
    trained.load_weights(path, by_name=True)
    precisions = []
    for image_id in val.image_ids:
        image, _, class_ids, boxes, masks = modellib.load_image_gt(val, trained.config, image_id)
        found = trained.detect([image])[0]
        precisions.append(
            utils.compute_ap(
                boxes, class_ids, masks, found["rois"], found["class_ids"], found["scores"], found["masks"]
            )[0]
        )
    print(f"{path}: mask AP50 {np.mean(precisions):.3f} on {len(precisions)} new pictures")


if __name__ == "__main__":
    main()
