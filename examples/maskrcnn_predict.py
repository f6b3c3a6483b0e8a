"""Segments one photograph with Mask R-CNN and shows it, or saves it with --output.

python examples/maskrcnn_predict.py --weights weights/mask_rcnn_coco.h5 --image photo.jpg
"""

import argparse
import colorsys
import os
import random
import sys

import cv2
import imutils
import numpy as np

# In a clone, the packages are beside this folder.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from mrcnn import model as modellib
from mrcnn import visualize
from mrcnn.config import Config

WIDTH = 512
"""The photograph is resized to this width in pixels."""


def parse_arguments():
    """Parse the command line. Missing files end the program with one line and exit code 2."""
    beside = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Segment one photograph with Mask R-CNN.")
    parser.add_argument("-w", "--weights", required=True, help="weights as Matterport's package saves them (.h5)")
    parser.add_argument(
        "-l", "--labels", default=os.path.join(beside, "coco_labels.txt"), help="class names, one a line, BG first"
    )
    parser.add_argument("-i", "--image", required=True, help="photograph to segment")
    parser.add_argument("-o", "--output", help="save the result to this image instead of showing it")
    arguments = parser.parse_args()
    for option in ("weights", "labels", "image"):
        path = getattr(arguments, option)
        if not os.path.isfile(path):
            parser.error(f"--{option}: there is no file {path}")
    if arguments.output and not can_write(arguments.output):
        parser.error(f"--output: expected an image such as result.jpg in a folder that exists, got {arguments.output}")
    if not arguments.output and sys.platform.startswith("linux") and not has_screen():
        parser.error("there is no screen to show the result on: save it with --output FILE.jpg")
    return arguments


def can_write(path):
    """Whether the folder exists and OpenCV writes this image format; checked before the network runs for seconds."""
    return os.path.isdir(os.path.dirname(os.path.abspath(path))) and cv2.haveImageWriter(path)


def has_screen():
    """Whether the environment names an X or Wayland server."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def class_colors(count):
    """One RGB color (0 to 1) per class, spread over the hues; the same in every run."""
    colors = [colorsys.hsv_to_rgb(i / count, 1, 1.0) for i in range(count)]
    random.seed(42)
    random.shuffle(colors)
    return colors


def load_model(weights, class_count):
    """The network with its weights, for batches of one image."""

    class SimpleConfig(Config):
        NAME = "coco_inference"
        GPU_COUNT = 1
        IMAGES_PER_GPU = 1
        NUM_CLASSES = class_count

    model = modellib.MaskRCNN(mode="inference", config=SimpleConfig(), model_dir=os.getcwd())
    model.load_weights(weights, by_name=True)
    return model


def draw(image_rgb, result, class_names, colors):
    """The image with masks, boxes and labels, uint8 (H, W, 3), BGR."""
    for i, class_id in enumerate(result["class_ids"]):
        image_rgb = visualize.apply_mask(image_rgb, result["masks"][:, :, i], colors[class_id], alpha=0.5)
    image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    for (y1, x1, y2, x2), class_id, score in zip(result["rois"], result["class_ids"], result["scores"], strict=True):
        color = [int(channel) for channel in np.array(colors[class_id])[::-1] * 255]
        cv2.rectangle(image_bgr, (int(x1), int(y1)), (int(x2), int(y2)), color, 2)
        text = f"{class_names[class_id]}: {score:.3f}"
        baseline = int(y1) - 10 if y1 > 20 else int(y1) + 20
        cv2.putText(image_bgr, text, (int(x1), baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, 2)
    return image_bgr


def main():
    """Segment the photograph, show or save the result, and return the exit code."""
    arguments = parse_arguments()
    with open(arguments.labels, encoding="utf-8") as file:
        class_names = file.read().strip().split("\n")
    image = cv2.imread(arguments.image)
    if image is None:
        print(f"{arguments.image} is not an image that OpenCV can read", file=sys.stderr)
        return 2
    image = imutils.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), width=WIDTH)
    try:
        model = load_model(arguments.weights, len(class_names))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    result = model.detect([image], verbose=1)[0]
    drawn = draw(image, result, class_names, class_colors(len(class_names)))
    if not arguments.output:
        cv2.imshow("Mask R-CNN", drawn)
        cv2.waitKey()
    elif not cv2.imwrite(arguments.output, drawn):
        print(f"cannot write {arguments.output}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
