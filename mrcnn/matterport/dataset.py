"""The base class with which scripts for Matterport's package define a data set, and its images on canvases.

Shape letters: H, W height and width in pixels; N objects of an image; K classes including the background.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.matterport.boxes import extract_bboxes
from mrcnn.matterport.molding import compose_image_meta, minimize_mask, resize_image, resize_mask

logger = logging.getLogger(__name__)


class Dataset:
    """Base class of data sets, filled by calls of `add_class` and `add_image`, then `prepare`.

    Subclasses override `load_mask` and `image_reference`, and `load_image` if their images are not plain files. A data
    set may combine several sources, each with its own ids of classes and images; `prepare` renumbers them from 0.

    Attributes:
        image_ids: image numbers, 0 … num_images - 1; empty before `prepare`.
        image_info: one dict per image: "id" within its source, "source", "path" and further arguments of `add_image`.
        class_info: one dict per class: "source", "id" within the source, "name". The background is the first.
        num_classes, class_ids, class_names, num_images: set by `prepare`.
        class_from_source_map, image_from_source_map: numbers in this data set by "source.id"; set by `prepare`.
        sources, source_class_ids: names of the sources, and the class numbers of each; set by `prepare`.
    """

    def __init__(self, class_map: Any = None) -> None:
        self.image_ids: NDArray[np.int_] | list[int] = []
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        """Add a class, unless the source already has one with this id.

        Raises:
            ValueError: the source's name contains a dot, which separates sources from ids in the maps.
        """
        if "." in source:
            raise ValueError(f"the name of a source of classes must not contain a dot, got {source!r}")
        if any(info["source"] == source and info["id"] == class_id for info in self.class_info):
            return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        """Add an image; further arguments are stored in its `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """A link or description with which a person finds the image at its source; subclasses override this."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Number classes and images; call this after the last `add_class` and `add_image`."""
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [info["name"].split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self.image_ids = np.arange(self.num_images)
        self.class_from_source_map = self._numbers(self.class_info)
        self.image_from_source_map = self._numbers(self.image_info)
        self.sources = list({info["source"]: None for info in self.class_info})
        self.source_class_ids = {
            source: [i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source]
            for source in self.sources
        }

    @staticmethod
    def _numbers(infos: list[dict[str, Any]]) -> dict[str, int]:
        return {f"{info['source']}.{info['id']}": number for number, info in enumerate(infos)}

    def map_source_class_id(self, source_class_id: str) -> int:
        """The class number of "source.id" ("coco.12"). Raises KeyError if it does not exist."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The id of class number `class_id` within `source`.

        Raises:
            ValueError: the class belongs to another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"class {class_id} ({info['name']}) belongs to source {info['source']!r}, not {source!r}")
        return info["id"]

    def append_data(self, class_info: list[dict[str, Any]], image_info: list[dict[str, Any]]) -> None:
        """Add the classes and images of another data set; requires another call of `prepare`."""
        for info in class_info:
            if info["source"]:
                self.add_class(info["source"], info["id"], info["name"])
        self.image_info.extend(image_info)

    def source_image_link(self, image_id: int) -> Any:
        """Path or URL of an image, as passed to `add_image`."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> NDArray[np.uint8]:
        """Read an image; converts grayscale to color, drops an alpha channel, and ignores rotation tags.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file is not a readable image.
        """
        from mrcnn.coco.image_files import read_image_bgr

        path = self.image_info[image_id]["path"]
        image_bgr = read_image_bgr(path)
        if image_bgr is None:
            raise ValueError(f"{path} is not a readable image ({os.path.getsize(path)} bytes)")
        return np.ascontiguousarray(image_bgr[..., ::-1])

    def load_mask(self, image_id: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Masks bool (H, W, N) and class numbers int32 (N,) of an image; subclasses override this."""
        logger.warning("%s does not override load_mask: image %s has no masks", type(self).__name__, image_id)
        return np.empty((0, 0, 0)), np.empty(0, np.int32)


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
        result = augmentation(image, masks)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ValueError(f"the augmentation must return (image, masks), it returned {type(result).__name__}")
        new_image, new_masks = result
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
