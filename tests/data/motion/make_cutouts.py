"""Creates the pictures in this folder from photographs of the COCO data set (see CREDITS.txt).

python tests/data/motion/make_cutouts.py FOLDER_WITH_IMAGES instances_*.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CUTOUTS = {"walker": 1513, "player": 1873, "cat": 1901}
"""File name and COCO annotation id."""
BACKGROUND = "000000184324.jpg"
HEIGHT = 200
"""Maximum height of a cut-out, pixels."""


def cut_out(image_bgr: NDArray[np.uint8], polygons: list[list[float]]) -> NDArray[np.uint8]:
    """uint8 (h, w, 4) BGRA: the polygons' part of an image, transparent around it, one pixel of margin."""
    alpha = np.zeros(image_bgr.shape[:2], np.uint8)
    corners = [np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32) for polygon in polygons]
    cv2.fillPoly(alpha, corners, 255)
    alpha = cv2.erode(alpha, np.ones((3, 3), np.uint8))  # the drawn outlines lie a little outside
    x, y, width, height = cv2.boundingRect(alpha)
    cut = np.dstack([image_bgr, alpha])[y - 1 : y + height + 1, x - 1 : x + width + 1]
    scale = min(1.0, HEIGHT / cut.shape[0])
    return np.asarray(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def main(folder: str, *annotation_files: str) -> None:
    """Writes the pictures beside this file."""
    here = Path(__file__).parent
    wanted = {annotation_id: name for name, annotation_id in CUTOUTS.items()}
    for annotation_file in annotation_files:
        data = json.loads(Path(annotation_file).read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in data["images"]}
        for annotation in data["annotations"]:
            if annotation["id"] in wanted and annotation["image_id"] in files:
                paths = sorted(Path(folder).rglob(files[annotation["image_id"]]))
                cut = cut_out(cv2.imread(str(paths[0])), annotation["segmentation"])
                cv2.imwrite(str(here / f"{wanted[annotation['id']]}.png"), cut)
    background = cv2.imread(str(next(Path(folder).rglob(BACKGROUND))))
    cv2.imwrite(str(here / "street.jpg"), background, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main(*sys.argv[1:])
