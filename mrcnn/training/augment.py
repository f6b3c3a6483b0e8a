"""Augmentation: scale, crop, copy-paste of objects, flip, color.

Boxes are (y1, x1, y2, x2) in pixels of the training window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from mrcnn.architecture import architecture_of
from mrcnn.config import Config
from mrcnn.training.annotated_images import Instance


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How much a training window may differ from the image.

    Attributes:
        window: side of the square window, pixels.
        smallest_scale, largest_scale: image to window; drawn log-uniformly.
        longer_side: pixels; the scales are relative to an image that was resized to this longer side, as at inference.
            0: relative to the image itself.
        shorter_side: pixels; the shorter side that such an image has at most; 0: no limit.
        flip: probability of a horizontal flip.
        color: strength of the changes of brightness, contrast, saturation and hue; 0 keeps the colors.
        degrade: probability of each of blur, noise and JPEG artifacts, as cameras and video codecs add them.
        pastes: maximum number of objects that are pasted from other images.
        focus: probability that the window is centered near an object; otherwise its place is uniform.
        padding_rgb: color around images that are smaller than the window, 0 … 255.
    """

    window: int = 320
    smallest_scale: float = 0.4
    largest_scale: float = 1.5
    flip: float = 0.5
    color: float = 1.0
    pastes: int = 3
    focus: float = 0.7
    longer_side: int = 0
    shorter_side: int = 0
    padding_rgb: tuple[int, int, int] = (0, 0, 0)
    degrade: float = 0.0

    @classmethod
    def for_network(cls, config: Config, **settings: Any) -> AugmentSettings:
        """Settings by which images are scaled and padded as for this network at inference; the others are given."""
        limits = {"longer_side": int(config.IMAGE_MAX_DIM)}
        if config.IMAGE_RESIZE_MODE == "shortest":
            limits["shorter_side"] = int(config.IMAGE_MIN_DIM)
        padding = np.zeros(3)
        if architecture_of(config).padding_after_mean:
            padding = np.broadcast_to(np.round(config.MEAN_PIXEL), 3)
        return cls(**limits, padding_rgb=tuple(padding.astype(int).tolist()), **settings)

    def scales_for(self, height: int, width: int) -> tuple[float, float]:
        """The smallest and the largest scale of an image of this size, image to window."""
        unit = self.longer_side / max(height, width) if self.longer_side else 1.0
        if self.shorter_side:
            unit = min(unit, self.shorter_side / min(height, width))
        return self.smallest_scale * unit, self.largest_scale * unit


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One training window.

    Attributes:
        image_rgb: uint8 (window, window, 3).
        instances: its objects in pixels of the window, at least `SMALLEST_VISIBLE` on each side.
        ignored_boxes: float32 (m, 4): crowd regions and objects that are hardly visible.
        is_complete: see `AnnotatedImage`.
    """

    image_rgb: np.ndarray
    instances: tuple[Instance, ...]
    ignored_boxes: np.ndarray
    is_complete: bool = True


SMALLEST_VISIBLE = 4
"""Pixels: an object with a shorter side in the window is ignored."""

VISIBLE_SHARE = 0.25
"""An object is ignored if less than this share is inside the window and not occluded by a pasted one."""


Found = Instance | np.ndarray | None
"""An object in a window: its box, float32 (4,), if it is hardly visible, and None if it is not there."""


def _window(image_rgb, found: Iterable[Found], ignored: Iterable[np.ndarray]) -> Window:
    """A window with those objects that can be seen; boxes of the others join the ignored ones."""
    found = list(found)
    boxes = [*ignored, *(one for one in found if isinstance(one, np.ndarray))]
    instances = tuple(one for one in found if isinstance(one, Instance))
    return Window(image_rgb, instances, np.array(boxes, np.float32).reshape(-1, 4))


def place_window(image_rgb, instances, crowd_boxes, settings: AugmentSettings, rng) -> Window:
    """Cut a window from an image at a random scale and place.

    Args:
        image_rgb: uint8 (H, W, 3).
        instances: the image's `Instance`s.
        crowd_boxes: float32 (m, 4), pixels of the image.
        settings: scales, window and focus are used.
        rng: numpy Generator.
    """
    side = settings.window
    height, width = image_rgb.shape[:2]
    scale = np.exp(rng.uniform(*np.log(settings.scales_for(height, width))))
    center = None
    if instances and rng.random() < settings.focus:
        wanted = [instance for instance in instances if instance.class_id > 0] or instances
        box = wanted[rng.integers(len(wanted))].box
        center = scale * (box[:2] + box[2:]) / 2 + rng.uniform(-0.3, 0.3, 2) * side
    lengths = np.array((height, width)) * scale
    offset = np.array([_offset(lengths[i], side, None if center is None else center[i], rng) for i in (0, 1)])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    found = [_place(instance, scale, offset, side, interpolation) for instance in instances]
    crowds = np.clip(crowd_boxes * scale - np.tile(offset, 2), 0, side)
    ignored = crowds[(crowds[:, 2:] > crowds[:, :2]).all(axis=1)]
    window = np.full((side, side, 3), settings.padding_rgb, np.uint8)
    _draw(window, image_rgb, scale, offset, interpolation)
    return _window(window, found, ignored)


def _offset(length: float, side: int, center: float | None, rng) -> float:
    """First pixel of the window along one axis, in scaled pixels; the window stays inside an image that is longer."""
    slack = length - side
    if slack <= 0:
        return float(rng.uniform(slack, 0))
    if center is None:
        return float(rng.uniform(0, slack))
    return float(np.clip(center - side / 2, 0, slack))


def _draw(window, image_rgb, scale, offset, interpolation) -> None:
    """Draw the image into the window, uint8 (side, side, 3); only the part inside the window is resized."""
    side = len(window)
    height, width = image_rgb.shape[:2]
    low = np.maximum(np.floor(offset / scale), 0).astype(int)
    high = np.minimum(np.ceil((offset + side) / scale), (height, width)).astype(int)
    part = image_rgb[low[0] : high[0], low[1] : high[1]]
    size = np.maximum(np.round((high - low) * scale), 1).astype(int)
    resized = cv2.resize(part, (int(size[1]), int(size[0])), interpolation=interpolation)
    start = np.round(low * scale - offset).astype(int)  # may lie outside the window
    first, last = np.maximum(start, 0), np.minimum(start + resized.shape[:2], side)
    if (last > first).all():
        window[first[0] : last[0], first[1] : last[1]] = resized[
            first[0] - start[0] : last[0] - start[0], first[1] - start[1] : last[1] - start[1]
        ]


def _place(instance: Instance, scale, offset, side, interpolation) -> Found:
    box = instance.box * scale - np.tile(offset, 2)
    whole = np.round(box).astype(int)
    whole[2:] = np.maximum(whole[2:], whole[:2] + 1)
    cut = np.clip(whole, 0, side)
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return None
    mask = cv2.resize(instance.mask, (int(whole[3] - whole[1]), int(whole[2] - whole[0])), interpolation=interpolation)
    area = np.count_nonzero(mask > 127)
    mask = mask[cut[0] - whole[0] : cut[2] - whole[0], cut[1] - whole[1] : cut[3] - whole[1]]
    return _tightened(replace(instance, box=cut, mask=mask), area)


def _tightened(instance: Instance, whole_area: int) -> Found:
    """The object with the extent of its mask as box.

    Args:
        instance: its mask is the visible part.
        whole_area: pixels of the whole mask.
    """
    visible = instance.mask > 127
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if len(rows) == 0:
        return np.asarray(instance.box, np.float32) if whole_area == 0 else None
    low, high = np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]]) + 1
    box = np.tile(instance.box[:2], 2) + np.concatenate([low, high])
    if min(high - low) < SMALLEST_VISIBLE or np.count_nonzero(visible) < VISIBLE_SHARE * whole_area:
        return box.astype(np.float32)
    return replace(instance, box=box, mask=np.ascontiguousarray(instance.mask[low[0] : high[0], low[1] : high[1]]))


def paste_instance(window: Window, image_rgb, instance: Instance, settings: AugmentSettings, rng) -> Window:
    """Paste an object from another image to a random place of the window (Ghiasi et al. 2021).

    The masks of the objects behind it lose the pixels that it occludes.

    Args:
        window: is not changed.
        image_rgb: uint8 (H, W, 3), the image of the object.
        instance: the object.
        settings: window and scales are used.
        rng: numpy Generator.
    """
    side = settings.window
    size = instance.box[2:] - instance.box[:2]
    smallest, largest = settings.scales_for(*image_rgb.shape[:2])
    largest = min(largest, 0.9 * side / size.max())
    smallest = min(smallest, largest)
    scale = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    height, width = np.maximum(np.round(size * scale), 1).astype(int)
    if min(height, width) < SMALLEST_VISIBLE:
        return window
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    y1, x1, y2, x2 = instance.box
    patch = cv2.resize(image_rgb[y1:y2, x1:x2], (int(width), int(height)), interpolation=interpolation)
    mask = cv2.resize(instance.mask, (int(width), int(height)), interpolation=interpolation)
    if rng.random() < 0.5:
        patch, mask = patch[:, ::-1], mask[:, ::-1]
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    pasted = _tightened(replace(instance, box=np.array([top, left, top + height, left + width]), mask=mask), 0)
    if not isinstance(pasted, Instance):
        return window
    picture = window.image_rgb.copy()
    area = picture[top : top + height, left : left + width]
    alpha = cv2.GaussianBlur(mask, (3, 3), 0)[..., None].astype(np.float32) / 255
    area[...] = np.round(alpha * patch + (1 - alpha) * area).astype(np.uint8)
    found = [*(_occluded_by(other, pasted) for other in window.instances), pasted]
    return _window(picture, found, window.ignored_boxes)


def _occluded_by(behind: Instance, front: Instance) -> Found:
    low, high = np.maximum(behind.box[:2], front.box[:2]), np.minimum(behind.box[2:], front.box[2:])
    if (high <= low).any():
        return behind
    mask = behind.mask.copy()
    part = mask[low[0] - behind.box[0] : high[0] - behind.box[0], low[1] - behind.box[1] : high[1] - behind.box[1]]
    cover = front.mask[low[0] - front.box[0] : high[0] - front.box[0], low[1] - front.box[1] : high[1] - front.box[1]]
    area = np.count_nonzero(mask > 127)
    np.minimum(part, 255 - cover, out=part)
    if not (mask > 127).any():
        return None
    return _tightened(replace(behind, mask=mask), area)


def flip(window: Window) -> Window:
    """The window flipped horizontally."""
    side = window.image_rgb.shape[1]
    instances = tuple(
        replace(one, box=_mirrored(one.box, side), mask=np.ascontiguousarray(one.mask[:, ::-1]))
        for one in window.instances
    )
    ignored = _mirrored(window.ignored_boxes, np.float32(side))
    return Window(np.ascontiguousarray(window.image_rgb[:, ::-1]), instances, ignored)


def _mirrored(boxes, side):
    return np.stack([boxes[..., 0], side - boxes[..., 3], boxes[..., 2], side - boxes[..., 1]], axis=-1)


def change_colors(image_rgb, strength: float, rng):
    """Random brightness, contrast, saturation and hue, sometimes grayscale: uint8 (H, W, 3).

    Args:
        image_rgb: uint8 (H, W, 3).
        strength: 1: brightness and contrast by up to 30 %, saturation by 40 %, hue by 9 degrees; gray one time in
            twenty.
        rng: numpy Generator.
    """
    if strength <= 0:
        return image_rgb
    contrast, brightness = 1 + strength * rng.uniform(-0.3, 0.3), strength * rng.uniform(-38, 38)
    table = np.clip((np.arange(256) - 127.5) * contrast + 127.5 + brightness, 0, 255).astype(np.uint8)
    picture = cv2.LUT(image_rgb, table)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    saturation = 0.0 if rng.random() < 0.05 * strength else 1 + strength * rng.uniform(-0.4, 0.4)
    hue = np.int32(round(strength * rng.uniform(-4.5, 4.5)))  # OpenCV counts hue in steps of 2 degrees
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + hue) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(saturation), 0, 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def degrade(image_rgb, probability: float, rng):
    """Blur, then noise, then JPEG artifacts, each with this probability: uint8 (H, W, 3).

    Args:
        image_rgb: uint8 (H, W, 3).
        probability: 0 … 1.
        rng: numpy Generator.
    """
    wanted = rng.random(3) < probability
    if wanted[0]:
        image_rgb = cv2.GaussianBlur(image_rgb, (0, 0), rng.uniform(0.4, 1.5))
    if wanted[1]:
        noise = rng.normal(0, rng.uniform(2, 12), image_rgb.shape)
        image_rgb = np.clip(np.round(image_rgb + noise), 0, 255).astype(np.uint8)
    if wanted[2]:
        _, coded = cv2.imencode(".jpg", image_rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        image_rgb = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return image_rgb
