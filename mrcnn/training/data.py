"""Batches of training windows with their targets, made by a thread ahead of the network.

Letters: B windows of a batch; A anchors; G slots for objects; C slots for ignored regions; m side of a mini-mask.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mrcnn.coco.image_files import read_image_bgr
from mrcnn.network.anchors import AnchorSettings, normalize_boxes, normalized_anchors
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages
from mrcnn.training.augment import AugmentSettings, Window, change_colors, flip, paste_instance, place_window
from mrcnn.training.targets import rpn_targets

OBJECT_SLOTS = 48
IGNORED_SLOTS = 24
MINI_MASK_SIDE = 56

CLASS_IMAGE_SHARE = 0.75
"""Share of the windows that come from photographs with an object of a class, where there are others too."""

CLASS_PASTE_SHARE = 0.7
"""Share of the pasted objects that belong to a class rather than to another category."""

SMALLEST_PASTE = 24
"""Pixels: objects with a longer side below this are not worth copying."""

Batch = dict[str, np.ndarray]
"""images uint8 (B, H, W, 3) RGB; rpn_match int32 (B, A); rpn_deltas float32 (B, A, 4); gt_boxes float32 (B, G, 4)
normalized; gt_class_ids, gt_categories int32 (B, G); gt_used float32 (B, G); mini_masks float32 (B, G, m, m);
ignored_boxes float32 (B, C, 4) normalized; noise float32 (B, proposals + G)."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Sizes of a batch: windows, proposals per image, and the seed of everything that is left to chance."""

    windows: int
    proposals: int
    seed: int


class WindowMaker:
    """Makes the n-th training window; the same n gives the same window, whatever came before."""

    def __init__(self, data: AnnotatedImages, augment: AugmentSettings, seed: int):
        """Keep the photographs; each is read from disk when it is first needed and stays in memory."""
        self._images = data.images
        self._augment = augment
        self._seed = seed
        self._pictures: dict[int, np.ndarray] = {}
        has_class = [any(instance.class_id for instance in image.instances) for image in data.images]
        self._with_class = np.flatnonzero(has_class)
        self._without_class = np.flatnonzero(np.logical_not(has_class))
        pairs = [(index, k) for index, image in enumerate(data.images) for k in range(len(image.instances))]
        large = [pair for pair in pairs if self._images[pair[0]].instances[pair[1]].mask.shape[0] >= SMALLEST_PASTE]
        self._class_pastes = [(i, k) for i, k in large if self._images[i].instances[k].class_id > 0]
        self._other_pastes = [(i, k) for i, k in large if self._images[i].instances[k].class_id == 0]

    def make(self, number: int) -> Window:
        """Window `number`, 0 … without end."""
        rng = np.random.default_rng([self._seed, number])
        index = self._choose(rng)
        image = self._images[index]
        window = place_window(self._picture(index), image.instances, image.crowd_boxes, self._augment, rng)
        for _ in range(rng.integers(0, self._augment.pastes + 1)):
            window = self._paste(window, rng)
        if rng.random() < self._augment.flip:
            window = flip(window)
        return Window(change_colors(window.image_rgb, self._augment.color, rng), window.instances, window.ignored_boxes)

    def _choose(self, rng) -> int:
        use_class = len(self._without_class) == 0 or rng.random() < CLASS_IMAGE_SHARE
        group = self._with_class if use_class else self._without_class
        return int(group[rng.integers(len(group))])

    def _paste(self, window: Window, rng) -> Window:
        use_class = not self._other_pastes or rng.random() < CLASS_PASTE_SHARE
        group = self._class_pastes if use_class else self._other_pastes
        if not group:
            return window
        index, k = group[rng.integers(len(group))]
        return paste_instance(window, self._picture(index), self._images[index].instances[k], self._augment, rng)

    def _picture(self, index: int) -> np.ndarray:
        if index not in self._pictures:
            self._pictures[index] = read_picture(self._images[index])
        return self._pictures[index]


def read_picture(image: AnnotatedImage) -> np.ndarray:
    """The photograph: uint8 (H, W, 3), RGB.

    Raises:
        ValueError: it cannot be read, or its size is not what the annotations say.
    """
    try:
        picture = read_image_bgr(image.path)
    except OSError as error:
        raise ValueError(f"{image.path} cannot be read as an image: {error.strerror or error}") from None
    if picture is None:
        raise ValueError(f"{image.path} cannot be read as an image")
    if picture.shape[:2] != (image.height, image.width):
        raise ValueError(
            f"{image.path} is {picture.shape[1]} x {picture.shape[0]} pixels, "
            f"the annotations say {image.width} x {image.height}"
        )
    return np.ascontiguousarray(picture[..., ::-1])


class BatchMaker:
    """Puts windows and their targets into arrays of fixed shapes."""

    def __init__(self, maker: WindowMaker, config, augment: AugmentSettings, settings: BatchSettings):
        """Compute the anchors of the window once.

        Args:
            maker: where windows come from.
            config: anchor settings, RPN_BBOX_STD_DEV and RPN_TRAIN_ANCHORS_PER_IMAGE count.
            augment: the window's side counts.
            settings: sizes and seed.
        """
        self._maker = maker
        self._settings = settings
        self._side = augment.window
        self._anchors = normalized_anchors(AnchorSettings.from_config(config), self._side, self._side)
        self._std_dev = np.asarray(config.RPN_BBOX_STD_DEV, np.float32)
        self._sampled = int(config.RPN_TRAIN_ANCHORS_PER_IMAGE)

    def make(self, step: int) -> Batch:
        """The batch of a step, 0 … without end."""
        first = step * self._settings.windows
        numbers = range(first, first + self._settings.windows)
        rows = [
            self._row(self._maker.make(number), np.random.default_rng([self._settings.seed, number, 1]))
            for number in numbers
        ]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, window: Window, rng) -> Batch:
        side = self._side
        instances = list(window.instances)
        if len(instances) > OBJECT_SLOTS:  # a crowd: keep a random choice
            instances = [instances[i] for i in rng.permutation(len(instances))[:OBJECT_SLOTS]]
        boxes = np.zeros((OBJECT_SLOTS, 4), np.float32)
        ignored = np.zeros((IGNORED_SLOTS, 4), np.float32)
        classes, categories = np.zeros(OBJECT_SLOTS, np.int32), np.zeros(OBJECT_SLOTS, np.int32)
        masks = np.zeros((OBJECT_SLOTS, MINI_MASK_SIDE, MINI_MASK_SIDE), np.float32)
        for slot, one in enumerate(instances):
            boxes[slot] = normalize_boxes(one.box, side, side)
            classes[slot], categories[slot] = one.class_id, one.category
            masks[slot] = mini_mask(one.mask)
        count = len(instances)
        outside = window.ignored_boxes[:IGNORED_SLOTS]
        ignored[: len(outside)] = normalize_boxes(outside, side, side)
        match, deltas = rpn_targets(
            self._anchors, boxes[:count], ignored[: len(outside)], self._std_dev, self._sampled, rng
        )
        return {
            "images": window.image_rgb,
            "rpn_match": match.astype(np.int32),
            "rpn_deltas": deltas,
            "gt_boxes": boxes,
            "gt_class_ids": classes,
            "gt_categories": categories,
            "gt_used": (np.arange(OBJECT_SLOTS) < count).astype(np.float32),
            "mini_masks": masks,
            "ignored_boxes": ignored,
            "noise": rng.random(self._settings.proposals + OBJECT_SLOTS, np.float32),
        }


def mini_mask(mask: np.ndarray, shape: tuple[int, int] = (MINI_MASK_SIDE, MINI_MASK_SIDE)) -> np.ndarray:
    """A mask uint8 (h, w), 0 … 255, stretched to `shape` (rows, columns): float32, 0 … 1."""
    interpolation = cv2.INTER_AREA if mask.shape[0] > shape[0] and mask.shape[1] > shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask, shape[::-1], interpolation=interpolation).astype(np.float32) / 255


class BatchThread:
    """Makes batches ahead of the network. Use with `with`; iterate for batches in order of steps."""

    def __init__(self, maker: BatchMaker, first_step: int, ahead: int = 4):
        """Store; the thread starts with `with`."""
        self._maker = maker
        self._first_step = first_step
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-batches", daemon=True)

    def __enter__(self) -> BatchThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self) -> None:
        step = self._first_step
        while not self._stop.is_set():
            try:
                item: Batch | BaseException = self._maker.make(step)
            except Exception as error:  # noqa: BLE001  raised again in the thread that trains
                item = error
            self._put(item)
            if isinstance(item, BaseException):
                return
            step += 1

    def _put(self, item: Batch | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
