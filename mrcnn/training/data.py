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

from mrcnn.architecture import architecture_of
from mrcnn.network.anchors import AnchorSettings, normalize_boxes, normalized_anchors
from mrcnn.training.annotated_images import AnnotatedImages
from mrcnn.training.augment import AugmentSettings, Window, change_colors, flip, paste_instance, place_window
from mrcnn.training.image_cache import ImageCache, UnreadableImageError
from mrcnn.training.targets import rpn_targets

OBJECT_SLOTS = 48
IGNORED_SLOTS = 24
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
"""images uint8 (B, H, W, 3) RGB; rpn_match int32 (B, A); rpn_deltas float32 (B, A, 4); gt_boxes float32 (B, G, 4)
normalized; gt_class_ids, gt_categories int32 (B, G); gt_used float32 (B, G); mini_masks float32 (B, G, m, m);
ignored_boxes float32 (B, C, 4) normalized; noise float32 (B, proposals + G)."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Sizes of a batch: windows, proposals per image, and the seed of its random choices."""

    windows: int
    proposals: int
    seed: int


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
        has_class = [any(instance.class_id for instance in image.instances) for image in data.images]
        self._with_class = np.flatnonzero(has_class)
        self._without_class = np.flatnonzero(np.logical_not(has_class))
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
        image = self.data.images[self._choose(rng)]
        window = place_window(self.cache.get(image), image.instances, image.crowd_boxes, self.augment, rng)
        for _ in range(rng.integers(0, self.augment.pastes + 1)):
            window = self._paste(window, rng)
        if rng.random() < self.augment.flip:
            window = flip(window)
        return Window(change_colors(window.image_rgb, self.augment.color, rng), window.instances, window.ignored_boxes)

    def _choose(self, rng: np.random.Generator) -> int:
        use_class = len(self._without_class) == 0 or rng.random() < CLASS_IMAGE_SHARE
        group = self._with_class if use_class else self._without_class
        return int(group[rng.integers(len(group))])

    def _paste(self, window: Window, rng: np.random.Generator) -> Window:
        use_class = not self._other_pastes or rng.random() < CLASS_PASTE_SHARE
        group = self._class_pastes if use_class else self._other_pastes
        if not group:
            return window
        image, instance = group[rng.integers(len(group))]
        return paste_instance(window, self.cache.get(image), instance, self.augment, rng)


class BatchMaker:
    """Makes batches: windows and their targets in arrays of fixed shapes.

    Attributes:
        windows: where windows come from.
        settings: sizes and seed.
    """

    def __init__(self, windows: WindowMaker, config, settings: BatchSettings):
        """Compute the anchors of the window once.

        Args:
            windows: where windows come from.
            config: its anchor settings, RPN_BBOX_STD_DEV, RPN_TRAIN_ANCHORS_PER_IMAGE and ARCHITECTURE are used.
            settings: sizes and seed.
        """
        self.windows, self.settings = windows, settings
        self._side = windows.augment.window
        self._anchors = normalized_anchors(AnchorSettings.from_config(config), self._side, self._side)
        self._std_dev = np.asarray(config.RPN_BBOX_STD_DEV, np.float32)
        self._sampled = int(config.RPN_TRAIN_ANCHORS_PER_IMAGE)
        self._last_pixel_is_one = architecture_of(config).last_pixel_is_one

    def make(self, step: int) -> Batch:
        """The batch of a step, 0 or more."""
        first = step * self.settings.windows
        rows = [
            self._row(self.windows.make(number), np.random.default_rng([self.settings.seed, number, 1]))
            for number in range(first, first + self.settings.windows)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, window: Window, rng: np.random.Generator) -> Batch:
        side = self._side
        instances = list(window.instances)
        if len(instances) > OBJECT_SLOTS:  # a crowd: keep a random choice
            instances = [instances[i] for i in rng.permutation(len(instances))[:OBJECT_SLOTS]]
        boxes = np.zeros((OBJECT_SLOTS, 4), np.float32)
        ignored = np.zeros((IGNORED_SLOTS, 4), np.float32)
        classes, categories = np.zeros(OBJECT_SLOTS, np.int32), np.zeros(OBJECT_SLOTS, np.int32)
        masks = np.zeros((OBJECT_SLOTS, MINI_MASK_SIDE, MINI_MASK_SIDE), np.float32)
        for slot, one in enumerate(instances):
            boxes[slot] = normalize_boxes(one.box, side, side, self._last_pixel_is_one)
            classes[slot], categories[slot] = one.class_id, one.category
            masks[slot] = mini_mask(one.mask)
        count = len(instances)
        outside = window.ignored_boxes[:IGNORED_SLOTS]
        ignored[: len(outside)] = normalize_boxes(outside, side, side, self._last_pixel_is_one)
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
            "noise": rng.random(self.settings.proposals + OBJECT_SLOTS, np.float32),
        }


def mini_mask(mask: np.ndarray, shape: tuple[int, int] = (MINI_MASK_SIDE, MINI_MASK_SIDE)) -> np.ndarray:
    """A mask uint8 (h, w), 0 … 255, stretched to `shape` (rows, columns): float32, 0 … 1."""
    interpolation = cv2.INTER_AREA if mask.shape[0] > shape[0] and mask.shape[1] > shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask, shape[::-1], interpolation=interpolation).astype(np.float32) / 255


class BatchThread:
    """Makes batches in a thread, ahead of the network: a context manager that yields the batches in order of steps."""

    def __init__(self, maker: BatchMaker, first_step: int, ahead: int = 4):
        """Store; `with` starts the thread."""
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
