"""Batches of training windows with their targets, made by a thread ahead of the network.

Letters: B windows of a batch; A anchors; G slots for objects; C slots for ignored regions; m side of a mini-mask.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np

from mrcnn.architecture import architecture_of
from mrcnn.coco.image_files import read_image_bgr
from mrcnn.config import PYRAMID_STRIDES
from mrcnn.network.anchors import AnchorSettings, normalize_boxes, normalized_anchors
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages
from mrcnn.training.augment import AugmentSettings, Window, change_colors, degrade, flip, paste_instance, place_window
from mrcnn.training.targets import rpn_targets

logger = logging.getLogger(__name__)

MEMORY_BYTES = 2 * 1024**3
"""Limit of the decoded images; beyond it, the least recently used are dropped."""


class UnreadableImageError(ValueError):
    """An image that was there when the run began can no longer be read."""


class ImageCache:
    """Reads images and keeps the most recently used ones.

    Attributes:
        unreadable: the paths that could not be read, with the reason.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES):
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()
        self._used_bytes = 0
        self.unreadable: dict[str, str] = {}

    def get(self, image: AnnotatedImage) -> np.ndarray:
        """The image: uint8 (H, W, 3), RGB.

        Raises:
            UnreadableImageError: it cannot be read; the first time, a warning names it.
        """
        key = str(image.path)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        if key in self.unreadable:
            raise UnreadableImageError(self.unreadable[key])
        try:
            pixels = read_image(image)
        except ValueError as error:
            self.unreadable[key] = str(error)
            logger.warning("%s: it is left out from here on (%d so far)", error, len(self.unreadable))
            raise UnreadableImageError(str(error)) from None
        self._held[key] = pixels
        self._used_bytes += pixels.nbytes
        while self._used_bytes > self._memory_bytes and len(self._held) > 1:
            self._used_bytes -= self._held.popitem(last=False)[1].nbytes
        return pixels


def read_image(image: AnnotatedImage) -> np.ndarray:
    """An image from its file, upright as in a run: uint8 (H, W, 3), RGB.

    Raises:
        ValueError: it cannot be read, or its size is not the annotated one.
    """
    try:
        pixels = read_image_bgr(image.path, upright=True)
    except OSError as error:
        raise ValueError(f"{image.path} cannot be read as an image: {error.strerror or error}") from None
    if pixels is None:
        raise ValueError(f"{image.path} cannot be read as an image")
    if pixels.shape[:2] != (image.height, image.width):
        raise ValueError(
            f"{image.path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"the annotations say {image.width} x {image.height}"
        )
    return np.ascontiguousarray(pixels[..., ::-1])


OBJECT_SLOTS = 48
IGNORED_SLOTS = 128
MINI_MASK_SIDE = 56

CLASS_IMAGE_SHARE = 0.75
"""Share of the windows that come from images with an object of a class, where there are others too."""

CLASS_PASTE_SHARE = 0.7
"""Share of the pasted objects that belong to a class rather than to another category."""

MIN_PASTE_SIDE = 24
"""Pixels: objects with a longer side below this are not pasted."""

MAX_TRIES = 1000
"""After so many unreadable images in a row, the run fails."""

NEXT_TRY = 2**40
"""Added to the number of a window for another try: no run has so many windows."""

Batch = dict[str, np.ndarray]
"""images uint8 (B, H, W, 3) RGB; is_complete float32 (B,), 0 or 1 (see `AnnotatedImage`); rpn_match int32 (B, A);
rpn_deltas float32 (B, A, 4); gt_boxes float32 (B, G, 4) normalized; gt_class_ids, gt_categories int32 (B, G); gt_used
float32 (B, G); mini_masks float32 (B, G, m, m); class_map int32 (B, H / 4, W / 4), see `class_map`; ignored_boxes
float32 (B, C, 4) normalized; noise float32 (B, proposals + G)."""


class WindowMaker:
    """Makes training windows from annotated images.

    Attributes:
        data: the annotated images.
        augment: how windows differ from the images.
        cache: where the images come from.
    """

    def __init__(self, data: AnnotatedImages, augment: AugmentSettings, seed: int, cache: ImageCache | None = None):
        """Store and index the objects; `cache` may be shared with others."""
        self.data, self.augment = data, augment
        self.cache = cache if cache is not None else ImageCache()
        self._seed = seed
        has_class = np.array([any(instance.class_id for instance in image.instances) for image in data.images])
        self._with_class, self._without_class = np.flatnonzero(has_class), np.flatnonzero(~has_class)
        pastes = [
            (image, instance)
            for image in data.images
            for instance in image.instances
            if instance.mask.shape[0] >= MIN_PASTE_SIDE
        ]
        self._class_pastes = [(image, instance) for image, instance in pastes if instance.class_id > 0]
        self._other_pastes = [(image, instance) for image, instance in pastes if instance.class_id == 0]

    def make(self, number: int) -> Window:
        """Window `number`, 0 or more: always the same one as long as the same files can be read.

        Another image takes the place of an unreadable one.

        Raises:
            UnreadableImageError: hardly any image can be read.
        """
        for attempt in range(MAX_TRIES):
            try:
                return self._make(np.random.default_rng([self._seed, number + attempt * NEXT_TRY]))
            except UnreadableImageError:
                continue
        raise UnreadableImageError(
            f"of {len(self.data.images)} images, {len(self.cache.unreadable)} can no longer be read"
        )

    def _make(self, rng: np.random.Generator) -> Window:
        use_class = len(self._without_class) == 0 or rng.random() < CLASS_IMAGE_SHARE
        group = self._with_class if use_class else self._without_class
        image = self.data.images[group[rng.integers(len(group))]]
        window = place_window(self.cache.get(image), image.instances, image.crowd_boxes, self.augment, rng)
        for _ in range(rng.integers(0, self.augment.pastes + 1)):
            window = self._paste(window, rng)
        if rng.random() < self.augment.flip:
            window = flip(window)
        picture = change_colors(window.image_rgb, self.augment.color, rng)
        if self.augment.degrade:
            picture = degrade(picture, self.augment.degrade, rng)
        return replace(window, image_rgb=picture, is_complete=image.is_complete)

    def _paste(self, window: Window, rng: np.random.Generator) -> Window:
        use_class = not self._other_pastes or rng.random() < CLASS_PASTE_SHARE
        pastes = self._class_pastes if use_class else self._other_pastes
        if not pastes:
            return window
        image, instance = pastes[rng.integers(len(pastes))]
        return paste_instance(window, self.cache.get(image), instance, self.augment, rng)


class BatchMaker:
    """Makes batches: windows and their targets in arrays of fixed shapes.

    Attributes:
        windows: where windows come from.
        count: windows per batch.
    """

    def __init__(self, windows: WindowMaker, config, count: int, seed: int):
        """Store the arguments.

        Args:
            windows: where windows come from.
            config: see `target_row`.
            count: windows per batch.
            seed: of the choice of anchors and regions.
        """
        self.windows, self.count = windows, count
        self._config, self._seed = config, seed

    def make(self, step: int) -> Batch:
        """The batch of a step, 0 or more."""
        numbers = range(step * self.count, (step + 1) * self.count)
        return stacked([self._row(self.windows.make(i), np.random.default_rng([self._seed, i, 1])) for i in numbers])

    def _row(self, window: Window, rng: np.random.Generator) -> Batch:
        instances, ignored_boxes = list(window.instances), window.ignored_boxes
        if len(instances) > OBJECT_SLOTS:  # a crowd: keep a random choice; the others are no background
            instances = [instances[i] for i in rng.permutation(len(instances))]
            left_out = np.array([one.box for one in instances[OBJECT_SLOTS:]], np.float32)
            instances, ignored_boxes = instances[:OBJECT_SLOTS], np.concatenate([ignored_boxes, left_out])
        boxes = np.array([one.box for one in instances]).reshape(-1, 4)
        class_ids = np.array([one.class_id for one in instances], np.int32)
        categories = np.array([one.category for one in instances], np.int32)
        masks = np.array([mini_mask(one.mask) for one in instances], np.float32)
        targets = target_row(self._config, window.image_rgb.shape, boxes, class_ids, ignored_boxes, OBJECT_SLOTS, rng)
        if not window.is_complete:
            targets["rpn_match"] = np.maximum(targets["rpn_match"], 0)  # it may lie on an object of another category
        return {
            "images": window.image_rgb,
            **targets,
            "is_complete": np.float32(window.is_complete),
            "gt_categories": padded(categories, OBJECT_SLOTS),
            "mini_masks": padded(masks.reshape(-1, MINI_MASK_SIDE, MINI_MASK_SIDE), OBJECT_SLOTS),
            "class_map": class_map(window),
        }


def target_row(
    config,
    canvas_shape: Sequence[int],
    boxes: np.ndarray,
    class_ids: np.ndarray,
    ignored_boxes: np.ndarray,
    slots: int,
    rng: np.random.Generator,
) -> Batch:
    """The targets of one image, with `slots` objects and IGNORED_SLOTS regions; see `Batch`.

    Args:
        config: ARCHITECTURE, the anchor settings, RPN_BBOX_STD_DEV, RPN_TRAIN_ANCHORS_PER_IMAGE and
            POST_NMS_ROIS_TRAINING are read.
        canvas_shape: height and width come first, pixels.
        boxes: (n, 4), (y1, x1, y2, x2) in pixels, n of at most `slots`.
        class_ids: int32 (n,).
        ignored_boxes: (m, 4), pixels; those beyond IGNORED_SLOTS are left out.
        slots: G.
        rng: chooses the anchors that count, and makes the noise.
    """
    height, width = canvas_shape[:2]
    last_pixel_is_one = architecture_of(config).last_pixel_is_one
    boxes = normalize_boxes(boxes, height, width, last_pixel_is_one)
    ignored = normalize_boxes(ignored_boxes[:IGNORED_SLOTS], height, width, last_pixel_is_one)
    anchors = normalized_anchors(AnchorSettings.from_config(config), height, width)
    std_dev = np.asarray(config.RPN_BBOX_STD_DEV, np.float32)
    match, deltas = rpn_targets(anchors, boxes, ignored, std_dev, int(config.RPN_TRAIN_ANCHORS_PER_IMAGE), rng)
    return {
        "rpn_match": match.astype(np.int32),
        "rpn_deltas": deltas,
        "gt_boxes": padded(boxes, slots),
        "gt_class_ids": padded(class_ids, slots),
        "gt_used": (np.arange(slots) < len(boxes)).astype(np.float32),
        "ignored_boxes": padded(ignored, IGNORED_SLOTS),
        "noise": rng.random(int(config.POST_NMS_ROIS_TRAINING) + slots, np.float32),
    }


def padded(rows: np.ndarray, count: int) -> np.ndarray:
    """The rows, then zeros: (count, ...)."""
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


def stacked(rows: Sequence[Batch]) -> Batch:
    """A batch of rows of single images."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def mini_mask(mask: np.ndarray, shape: tuple[int, int] = (MINI_MASK_SIDE, MINI_MASK_SIDE)) -> np.ndarray:
    """A mask uint8 (h, w), 0 … 255, stretched to `shape` (rows, columns): float32, 0 … 1."""
    interpolation = cv2.INTER_AREA if mask.shape[0] > shape[0] and mask.shape[1] > shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask, shape[::-1], interpolation=interpolation).astype(np.float32) / 255


def class_map(window: Window) -> np.ndarray:
    """Which class covers each cell of P2: int32 (H / 4, W / 4), 0 for background, -1 in ignored regions."""
    label = np.zeros(window.image_rgb.shape[:2], np.int32)
    for y1, x1, y2, x2 in np.round(window.ignored_boxes).astype(int):
        label[y1:y2, x1:x2] = -1
    for one in sorted(window.instances, key=lambda one: one.class_id):  # a class hides what is of none
        y1, x1, y2, x2 = one.box
        label[y1:y2, x1:x2][one.mask > 127] = one.class_id
    stride = PYRAMID_STRIDES[0]
    return np.ascontiguousarray(label[stride // 2 :: stride, stride // 2 :: stride])


@contextmanager
def batches_ahead(make: Callable[[int], Batch], first_step: int, ahead: int = 5) -> Iterator[Iterator[Batch]]:
    """Makes batches in a thread, ahead of the network.

    Args:
        make: makes the batch of a step.
        first_step: the first one.
        ahead: the most batches that wait or are being made.

    Yields:
        The batches in order of steps; raises what `make` raises.
    """
    steps = itertools.count(first_step)
    pool = ThreadPoolExecutor(1, "training-batches")
    pending = deque(pool.submit(make, next(steps)) for _ in range(ahead))

    def take() -> Iterator[Batch]:
        while True:
            batch = pending.popleft().result()
            pending.append(pool.submit(make, next(steps)))
            yield batch

    try:
        yield take()
    finally:
        pool.shutdown(cancel_futures=True)
