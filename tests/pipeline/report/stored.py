"""Lines of detections files, made by hand."""

from __future__ import annotations

import json

import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 40, 64
RUN = {"kind": "recorded", "privacy": "off", "lines": [], "zones": []}


def rle(box, size_hw=(HEIGHT, WIDTH)):
    """The encoding of a filled box of whole pixels, by pycocotools."""
    x1, y1, x2, y2 = box
    pixels = np.zeros(size_hw, np.uint8, order="F")
    pixels[y1:y2, x1:x2] = 1
    encoded = coco_mask.encode(pixels)
    return {"size": list(size_hw), "counts": encoded["counts"].decode("ascii")}


def one(box=(10, 5, 20, 25), class_id=1, label="person", track_id=None, score=0.9, mask=True):
    """An object whose mask fills its box."""
    return {
        "class_id": class_id,
        "label": label,
        "score": score,
        "box": list(map(float, box)),
        "mask": rle(box) if mask else None,
        "track_id": track_id,
    }


def line(frame, *objects, **more):
    """A frame at 10 frames a second."""
    return {
        "source": "clip.mp4",
        "frame": frame,
        "pts": frame / 10,
        "width": WIDTH,
        "height": HEIGHT,
        "objects": list(objects),
        **more,
    }


def write(path, *lines):
    """Writes a detections file; returns its path."""
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="ascii")
    return path
