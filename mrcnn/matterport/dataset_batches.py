"""Makes training batches with targets from a `utils.Dataset`, as inputs of `mrcnn.training.training_model`.

Shape letters: B images per batch; H, W canvas height and width in pixels; A anchors; G slots for objects
(MAX_GT_INSTANCES); N proposals; K classes including the background.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mrcnn.matterport.dataset import CanvasImage, image_name, load_canvas_image
from mrcnn.matterport.molding import mold_image
from mrcnn.network.constants import CANVAS_MULTIPLE
from mrcnn.training.data import Batch, mini_mask, padded, stacked, target_row
from mrcnn.training.targets import random_regions

SMALLEST_SIDE = 2
"""Smaller objects are skipped, canvas pixels: a box of one row or column has zero height or width in normalized
coordinates, whose y2 and x2 are inclusive."""


class DatasetBatches:
    """An endless stream of a data set's images, reshuffled each epoch; see `mrcnn.training.data.batches_ahead`.

    Images without objects are skipped. Objects of classes that their image's source does not have, crowd regions
    (negative class ids) and objects beyond MAX_GT_INSTANCES are ignored: they are neither objects nor background.
    """

    def __init__(
        self,
        dataset,
        config,
        augmentation: Any = None,
        no_augmentation_sources: Any = None,
        seed: int = 0,
        shuffle: bool = True,
    ):
        """Store the arguments; images are read by `make`.

        Args:
            dataset: a prepared `utils.Dataset`.
            config: settings of the training run.
            augmentation: see `dataset.augmented`.
            no_augmentation_sources: names of sources whose images are not augmented.
            seed: seed of the order, of anchor sampling and of all other random choices.
            shuffle: use a new random order each epoch instead of the data set's order.
        """
        self._dataset, self._config = dataset, config
        self._augmentation = augmentation
        self._plain_sources = frozenset(no_augmentation_sources or ())
        self._rng = np.random.default_rng(seed)
        self._shuffle = shuffle
        self._rows = self._endless()
        self._canvas_shape: tuple[int, ...] | None = None

    def make(self, _step: int = 0) -> Batch:
        """Make the next batch.

        Returns:
            See `mrcnn.training.data.Batch`, with active_class_ids int32 (B, K). Without USE_MINI_MASK, full_masks
            uint8 (B, G, H, W) replace mini_masks. Without USE_RPN_ROIS, it also has rois float32 (B, N, 4), normalized
            (y1, x1, y2, x2).

        Raises:
            ValueError: an image or its masks are invalid, or no image has an object.
        """
        return stacked([next(self._rows) for _ in range(self._config.BATCH_SIZE)])

    def _endless(self) -> Iterator[Batch]:
        while True:
            image_ids = np.asarray(self._dataset.image_ids)
            order = self._rng.permutation(image_ids) if self._shuffle else image_ids
            used = 0
            for image_id in order.tolist():
                row = self._row(image_id)
                if row is not None:
                    used += 1
                    yield row
            if not used:
                raise ValueError(
                    f"none of the data set's {len(order)} images has an object for training (of a class of the image's "
                    f"source, at least {SMALLEST_SIDE} pixels high and wide on the canvas): check load_mask"
                )

    def _row(self, image_id: int) -> Batch | None:
        source = self._dataset.image_info[image_id]["source"]
        augmentation = None if source in self._plain_sources else self._augmentation
        found = load_canvas_image(self._dataset, self._config, image_id, augmentation)
        self._check_canvas(image_name(self._dataset, image_id), found.image.shape)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        is_large = (sides >= SMALLEST_SIDE).all(axis=1)
        is_object = (found.class_ids > 0) & (found.active_class_ids[np.maximum(found.class_ids, 0)] > 0)
        objects, ignored = np.flatnonzero(is_object & is_large), np.flatnonzero(~is_object & is_large)
        if len(objects) == 0:
            return None
        slots = int(self._config.MAX_GT_INSTANCES)
        if len(objects) > slots:
            objects = self._rng.permutation(objects)
            objects, ignored = objects[:slots], np.concatenate([ignored, objects[slots:]])
        return self._targets(found, objects, ignored)

    def _check_canvas(self, where: str, shape: tuple[int, ...]) -> None:
        self._canvas_shape = self._canvas_shape or shape
        if shape != self._canvas_shape:
            raise ValueError(
                f"{where}: all canvases of a run must have the same size, this one has {shape[0]} x {shape[1]}, others "
                f"have {self._canvas_shape[0]} x {self._canvas_shape[1]}: use IMAGE_RESIZE_MODE 'square' or 'crop'"
            )
        if shape[0] % CANVAS_MULTIPLE or shape[1] % CANVAS_MULTIPLE:
            raise ValueError(
                f"{where}: height and width of a canvas must be multiples of {CANVAS_MULTIPLE}, "
                f"got {shape[0]} x {shape[1]}"
            )

    def _targets(self, found: CanvasImage, objects: np.ndarray, ignored: np.ndarray) -> Batch:
        config, rng, slots = self._config, self._rng, int(self._config.MAX_GT_INSTANCES)
        boxes, class_ids = found.boxes[objects], found.class_ids[objects]
        row = target_row(config, found.image.shape, boxes, class_ids, found.boxes[ignored], slots, rng)
        row["active_class_ids"] = found.active_class_ids
        row["images"] = found.image
        if found.image.dtype != np.uint8:
            row["images"] = mold_image(found.image, config).astype(np.float32)
        if not config.USE_RPN_ROIS:
            row["rois"] = random_regions(row["gt_boxes"][: len(objects)], int(config.POST_NMS_ROIS_TRAINING), rng)
        masks = found.masks[:, :, objects].astype(np.uint8).transpose(2, 0, 1)
        if config.USE_MINI_MASK:
            shape = (int(config.MINI_MASK_SHAPE[0]), int(config.MINI_MASK_SHAPE[1]))
            cut = (mask[y1:y2, x1:x2] * np.uint8(255) for mask, (y1, x1, y2, x2) in zip(masks, boxes, strict=True))
            row["mini_masks"] = padded(np.stack([mini_mask(mask, shape) for mask in cut]), slots)
        else:
            row["full_masks"] = padded(masks, slots)
        return row
