"""Loads, validates, resizes and augments single images of a `utils.Dataset` and their masks.

Shape letters: H, W height and width in pixels; N objects of an image; K classes including the background.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrcnn.matterport.boxes import extract_bboxes
from mrcnn.matterport.molding import compose_image_meta
from mrcnn.matterport.resizing import minimize_mask, resize_image, resize_mask

logger = logging.getLogger(__name__)

GEOMETRIC_AUGMENTERS = frozenset(
    {
        "Sequential", "SomeOf", "OneOf", "Sometimes", "Fliplr", "Flipud", "CropAndPad", "Affine", "PiecewiseAffine",
    }
)  # fmt: skip
"""imgaug's geometric and composite augmenters, the only ones that are applied to masks: color changes, noise and blur
would corrupt them. The list is that of Matterport's package."""


@dataclass(frozen=True, slots=True, eq=False)
class CanvasImage:
    """An image on its canvas, with its objects.

    Attributes:
        image: uint8 or float (H, W, 3), RGB, 0 … 255.
        masks: bool (H, W, N), none of them empty.
        class_ids: int32 (N,), 1 … K - 1; negative for crowd regions.
        boxes: int32 (N, 4), (y1, x1, y2, x2) in canvas pixels: bounding boxes of the masks.
        active_class_ids: int32 (K,), 1 for the classes of the image's source.
        meta: float64 (12 + K,), see `molding.compose_image_meta`.
    """

    image: np.ndarray
    masks: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    active_class_ids: np.ndarray
    meta: np.ndarray


def load_canvas_image(dataset, config, image_id: int, augmentation: Any = None) -> CanvasImage:
    """Load one image of a data set and resize it according to IMAGE_RESIZE_MODE.

    Args:
        dataset: a prepared `utils.Dataset`.
        config: IMAGE_* and NUM_CLASSES are read.
        image_id: number of the image.
        augmentation: see `augmented`; None for none.

    Raises:
        ValueError: the image or its masks are invalid; the message names the image.
    """
    where = image_name(dataset, image_id)
    image = dataset.load_image(image_id)
    masks, class_ids = dataset.load_mask(image_id)
    masks, class_ids = _checked(where, image, masks, class_ids, config)
    canvas, window, scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
    )
    masks = resize_mask(masks, scale, padding, crop)
    if augmentation is not None:
        canvas, masks = augmented(where, canvas, masks, augmentation)
    is_visible = masks.any(axis=(0, 1))  # cropping and augmentation may remove objects
    masks, class_ids = masks[:, :, is_visible], class_ids[is_visible]
    active = _active_class_ids(where, dataset, image_id)
    meta = compose_image_meta(image_id, image.shape, canvas.shape, window, scale, active)
    return CanvasImage(canvas, masks, class_ids, extract_bboxes(masks), active, meta)


def load_image_gt(
    dataset,
    config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load an image with its ground truth.

    Args:
        dataset: a prepared `utils.Dataset`.
        config: IMAGE_*, NUM_CLASSES and MINI_MASK_SHAPE are read.
        image_id: number of the image.
        augment: flip left to right with a probability of 0.5; deprecated in Matterport's package.
        augmentation: see `augmented`.
        use_mini_mask: crop masks to their boxes and resize them to MINI_MASK_SHAPE.

    Returns:
        image (H, W, 3), RGB, on its canvas; image_meta (12 + K,); class_ids int32 (N,); boxes int32 (N, 4), (y1, x1,
        y2, x2) in canvas pixels; masks bool (H, W, N), or (*MINI_MASK_SHAPE, N).

    Raises:
        ValueError: see `load_canvas_image`.
    """
    if augment and augmentation is None:
        augmentation = random_flip
    found = load_canvas_image(dataset, config, image_id, augmentation)
    masks = minimize_mask(found.boxes, found.masks, config.MINI_MASK_SHAPE) if use_mini_mask else found.masks
    return found.image, found.meta, found.class_ids, found.boxes, masks


def random_flip(image: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip image and masks left to right with a probability of 0.5."""
    return (image[:, ::-1], masks[:, ::-1]) if np.random.random() < 0.5 else (image, masks)  # noqa: NPY002


def augmented(where: str, image: np.ndarray, masks: np.ndarray, augmentation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Augment an image and its masks consistently.

    Args:
        where: name of the image, for messages.
        image: (H, W, 3).
        masks: bool (H, W, N).
        augmentation: a function of (image, masks) that returns both in the same shapes; or an object with imgaug's
            methods to_deterministic and augment_image, of which only `GEOMETRIC_AUGMENTERS` are applied to masks.

    Raises:
        ValueError: it is neither, or it returns other shapes.
    """
    if hasattr(augmentation, "to_deterministic") and hasattr(augmentation, "augment_image"):
        new_image, new_masks = _imgaug(image, masks, augmentation)
    elif callable(augmentation):
        new_image, new_masks = _called(image, masks, augmentation)
    else:
        raise ValueError(
            "augmentation must be a function of (image, masks) that returns both, or an imgaug augmenter, "
            f"got {augmentation!r}"
        )
    new_image, new_masks = np.asarray(new_image), np.asarray(new_masks)
    if new_image.shape != image.shape or new_masks.shape != masks.shape:
        raise ValueError(
            f"{where}: the augmentation must keep the shapes of image {image.shape} and masks {masks.shape}, "
            f"it returned {new_image.shape} and {new_masks.shape}"
        )
    return new_image, new_masks.astype(bool)


def image_name(dataset, image_id: int) -> str:
    """An image's number, source and id, for messages."""
    info = dataset.image_info[image_id]
    return f"image {image_id} ({info['source']}.{info['id']}, {info['path']})"


def _called(image: np.ndarray, masks: np.ndarray, augmentation: Callable[..., Any]):
    result = augmentation(image, masks)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise ValueError(f"the augmentation must return (image, masks), it returned {type(result).__name__}")
    return result


def _imgaug(image: np.ndarray, masks: np.ndarray, augmentation: Any):
    fixed = augmentation.to_deterministic()
    new_image = fixed.augment_image(image)
    if masks.shape[2] == 0:
        return new_image, masks
    imgaug = sys.modules.get("imgaug")  # imported by the script that created the augmenter
    hooks = {"hooks": imgaug.HooksImages(activator=_is_geometric)} if imgaug else {}
    return new_image, fixed.augment_image(masks.astype(np.uint8), **hooks)


def _is_geometric(_images, augmenter, _parents, _default) -> bool:
    return type(augmenter).__name__ in GEOMETRIC_AUGMENTERS


def _checked(where: str, image, masks, class_ids, config) -> tuple[np.ndarray, np.ndarray]:
    """Validate the results of load_image and load_mask: masks bool (H, W, N) and class ids int32 (N,)."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{where}: load_image must return an RGB array (H, W, 3), got {found}")
    masks, class_ids = np.asarray(masks), np.asarray(class_ids)
    if masks.ndim != 3 or class_ids.ndim != 1 or masks.shape[2] != len(class_ids):
        raise ValueError(
            f"{where}: load_mask must return masks (H, W, N) and N class ids, got {masks.shape} and {class_ids.shape}"
        )
    if len(class_ids) == 0:
        return np.zeros((*image.shape[:2], 0), bool), np.zeros(0, np.int32)
    if masks.shape[:2] != image.shape[:2]:
        raise ValueError(
            f"{where}: load_mask must return masks of the image's size {image.shape[0]} x {image.shape[1]} "
            f"(height x width), got {masks.shape[0]} x {masks.shape[1]}"
        )
    wrong = [number for number in class_ids.tolist() if number == 0 or abs(number) >= config.NUM_CLASSES]
    if wrong or not np.issubdtype(class_ids.dtype, np.integer):
        raise ValueError(
            f"{where}: load_mask must return class ids as whole numbers 1 … NUM_CLASSES - 1 = "
            f"{config.NUM_CLASSES - 1} (negative for crowd regions), got {wrong[0] if wrong else class_ids.dtype}"
        )
    return masks.astype(bool), class_ids.astype(np.int32)


def _active_class_ids(where: str, dataset, image_id: int) -> np.ndarray:
    """int32 (K,), 1 for the classes of the image's source."""
    source = dataset.image_info[image_id]["source"]
    if source not in dataset.source_class_ids:
        raise ValueError(
            f"{where}: the data set has no class of source {source!r}, only of "
            f"{', '.join(repr(name) for name in dataset.sources if name) or 'none'}: "
            "add_class and add_image must name the same source"
        )
    active = np.zeros(dataset.num_classes, np.int32)
    active[dataset.source_class_ids[source]] = 1
    return active
