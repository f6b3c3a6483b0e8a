"""Cuts objects out of CC BY photographs of COCO by their annotated polygons: one PNG with transparency each.

    python tests/data/tracking/make_cutouts.py FOLDER

FOLDER holds instances_train.json, instances_val.json and the photographs in train/ and val/. Writes the cut-outs, the
background and CREDITS.txt beside this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
OBJECTS = {
    "leaning": ("train", 1496),
    "walking": ("train", 1513),
    "running": ("train", 1873),
    "reaching": ("train", 2022),
    "skiing": ("val", 508),
    "standing": ("val", 642),
    "dog": ("val", 637),
    "cat": ("train", 1901),
    "bicycle": ("train", 974),
}
BACKGROUND = ("train", "000000278528.jpg")
LONGEST_SIDE = 160
CC_BY = 4


def main(folder: Path) -> None:
    data = {split: json.loads((folder / f"instances_{split}.json").read_text()) for split in ("train", "val")}
    credits = []
    for name, (split, annotation_id) in OBJECTS.items():
        annotation = next(item for item in data[split]["annotations"] if item["id"] == annotation_id)
        image = next(item for item in data[split]["images"] if item["id"] == annotation["image_id"])
        category = next(item["name"] for item in data[split]["categories"] if item["id"] == annotation["category_id"])
        pixels = cv2.imread(str(folder / split / image["file_name"]))
        cv2.imwrite(str(HERE / f"{name}.png"), cut_out(pixels, annotation))
        credits.append(f"{name}.png: {category}, cut from {image['file_name']}, {credit(image)}")
    split, file_name = BACKGROUND
    image = next(item for item in data[split]["images"] if item["file_name"] == file_name)
    pixels = cv2.imread(str(folder / split / file_name))
    height = round(640 / 16 * 9)
    top = (pixels.shape[0] - height) // 2
    cv2.imwrite(str(HERE / "background.jpg"), pixels[top : top + height, :640], [cv2.IMWRITE_JPEG_QUALITY, 80])
    credits.append(f"background.jpg: part of {file_name}, {credit(image)}")
    heading = "Photographs of the COCO data set under CC BY 2.0, https://creativecommons.org/licenses/by/2.0/\n"
    changes = "Changed: objects cut out by their annotated polygons and made smaller, the background cropped.\n\n"
    (HERE / "CREDITS.txt").write_text(heading + changes + "\n".join(credits) + "\n", encoding="utf-8")


def cut_out(pixels: np.ndarray, annotation: dict) -> np.ndarray:
    """uint8 (h, w, 4): the object on transparency."""
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for polygon in annotation["segmentation"]:
        cv2.fillPoly(mask, [np.array(polygon).reshape(-1, 2).round().astype(np.int32)], 255)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    object_bgra = np.dstack([pixels[area], mask[area]])
    scale = LONGEST_SIDE / max(object_bgra.shape[:2])
    size = (round(object_bgra.shape[1] * scale), round(object_bgra.shape[0] * scale))
    return cv2.resize(object_bgra, size, interpolation=cv2.INTER_AREA)


def credit(image: dict) -> str:
    assert image["license"] == CC_BY, f"{image['file_name']} is not under CC BY"
    return str(image["flickr_url"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
