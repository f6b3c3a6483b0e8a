"""Makes weights/examples.jpg: what the shipped model finds in six COCO val2017 photographs, in the default look.

    python tools/make_examples.py PHOTOS_FOLDER weights/examples.jpg

PHOTOS_FOLDER holds the photographs of ROWS (`000000397133.jpg` and so on), which weights/README.md names with their
sources. Fails with a message if one is missing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stream_segment import segment  # noqa: E402

ROWS = ((397133, 343937, 577539), (184324, 5001, 126107))
"""COCO ids: good results, then poor ones."""
WIDTH = 1200
JPEG_QUALITY = 80
SETTINGS = {"model": {"precision": "float32"}}


def main() -> None:
    """Command line: the folder of photographs, the file to write."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    picture = np.concatenate([row([read_photo(Path(sys.argv[1]), number) for number in ids]) for ids in ROWS])
    target = Path(sys.argv[2])
    target.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    print(f"{target}: {picture.shape[1]}x{picture.shape[0]}, {target.stat().st_size:,} bytes")


def read_photo(folder: Path, coco_id: int) -> np.ndarray:
    """The photograph, uint8 (H, W, 3) BGR."""
    path = folder / f"{coco_id:012d}.jpg"
    photo = cv2.imread(str(path))
    if photo is None:
        sys.exit(f"{path} is missing or cannot be read; weights/README.md says where it comes from")
    return photo


def row(photos: list[np.ndarray]) -> np.ndarray:
    """Photographs side by side, each with the objects found in it, uint8 (H, WIDTH, 3) BGR."""
    aspects = [photo.shape[1] / photo.shape[0] for photo in photos]
    height = round(WIDTH / sum(aspects))
    edges = np.round(np.cumsum([0.0, *aspects]) * WIDTH / sum(aspects)).astype(int)
    return np.concatenate([drawn(photo, (w, height)) for photo, w in zip(photos, np.diff(edges), strict=True)], axis=1)


def drawn(photo: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A photograph in another size with its objects, which are found in the original and drawn in that size."""
    found = segment(photo, settings=SETTINGS)
    scale = np.array([side / old for side, old in zip(size_wh, photo.shape[1::-1], strict=True)], np.float32)
    small = cv2.resize(photo, size_wh, interpolation=cv2.INTER_AREA)
    return replace(found, boxes_xyxy=found.boxes_xyxy * np.tile(scale, 2), image_bgr=small).draw()


if __name__ == "__main__":
    main()
