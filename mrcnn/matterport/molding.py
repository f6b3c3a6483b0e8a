"""Between images and the network: canvases, mean color, image metadata, and detections back on the image.

Images and masks are resized to the same pixels as in Matterport's package, which uses scikit-image.

Weights of the original were trained on its pixels, so this module takes the same steps in the same precision: Gaussian
anti-aliasing, bilinear interpolation in which pixel i covers [i, i + 1) and everything outside the image is 0, clipping
to the image's range, and truncation to the image's dtype. scikit-image estimates the scale with a rounding error of
about 1e-14 that depends on the processor's linear algebra; where the exact value is an integer, truncation may go
either way. Here, positions are exact and the same on every processor: up to 0.6 % of a photograph's values differ by 1
from the original's, as they do between two processors with the original.

Shape letters: B images per batch; H, W height and width in pixels; C channels; N instances; K classes including the
background.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mrcnn.config import RESIZE_MODES
from mrcnn.engines.base import RawDetections
from mrcnn.matterport.boxes import denorm_boxes, extract_bboxes, norm_boxes
from mrcnn.network.numpy_boxes import areas

Padding = list[tuple[int, int]]
Window = tuple[int, int, int, int]

BLOCK_ELEMENTS = 1 << 16
"""Number of values per block, so that a block of float64 fits into a core's cache."""


def resize(
    image: NDArray[Any],
    output_shape: tuple[int, int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | tuple[float, float] | None = None,
) -> NDArray[Any]:
    """Resize an image by bilinear interpolation; the arguments are those of `skimage.transform.resize`.

    Args:
        image: (H, W) or (H, W, C), bool, integer or float.
        output_shape: height and width of the result, pixels, at least 1.
        order: must be 1 (bilinear).
        mode: must be "constant".
        cval: value outside the image, must be 0.
        clip: clip the result to the range of the image.
        preserve_range: keep the range of an integer image instead of scaling it to 0 … 1.
        anti_aliasing: apply a Gaussian filter before downscaling.
        anti_aliasing_sigma: standard deviation of the filter in pixels, (vertical, horizontal) or one for both; None
            for (downscaling factor - 1) / 2.

    Returns:
        float32 for a float32 image, otherwise float64, (height, width) or (height, width, C).

    Raises:
        ValueError: an argument is out of range or not supported.
    """
    if (order, mode, cval) != (1, "constant", 0):
        raise ValueError(f"resize supports order 1, mode 'constant', cval 0; got {order}, {mode!r}, {cval}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"resize needs an image (H, W) or (H, W, C) that is not empty, got shape {image.shape}")
    height, width = (int(side) for side in output_shape[:2])
    if height < 1 or width < 1:
        raise ValueError(f"resize needs an output_shape of at least 1x1, got {tuple(output_shape)}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if anti_aliasing:
        shrinks = ((image.shape[0] / height - 1) / 2, (image.shape[1] / width - 1) / 2)
        sigmas = np.broadcast_to(np.maximum(shrinks, 0) if anti_aliasing_sigma is None else anti_aliasing_sigma, 2)
        image = ndimage.gaussian_filter(image, sigmas, mode="constant", axes=(0, 1))
    if not preserve_range:
        image = _to_unit_range(image)
    rows = image.reshape(image.shape[0], image.shape[1] * channels)
    resized = _interpolate(rows, channels, height, width)
    if clip:
        _clip_to_range_of(image, resized)
    return resized.reshape(height, width, *image.shape[2:])


def resize_image(
    image: NDArray[Any],
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
) -> tuple[NDArray[Any], Window, float, Padding, Window | None]:
    """Scale an image, keeping its aspect ratio, and pad or crop it to a canvas for the network.

    Args:
        image: (H, W, C).
        min_dim: upscale the shorter side to this many pixels; downscales in mode "shortest" only. None or 0: off.
        max_dim: maximum of the longer side in modes "square" and "shortest", pixels; takes precedence over `min_dim`.
        min_scale: minimum scale factor, may exceed what `min_dim` requires; not in mode "shortest". None or 0: off.
        mode: "none": do not change the image. "square": pad with zeros to (max_dim, max_dim). "pad64": pad each side
            with zeros to a multiple of 64; `max_dim` has no effect. "crop": scale by `min_dim` and `min_scale`, then
            take a random crop of (min_dim, min_dim). "shortest", which Matterport's package does not have: scale the
            shorter side to min_dim unless the longer one then exceeds max_dim, then pad as "pad64" does.

    Returns:
        The canvas, with the image's dtype; `window` (y1, x1, y2, x2), the part of the canvas that the image covers; the
        scale factor; `padding` [(top, bottom), (left, right), (0, 0)]; `crop` (y, x, height, width), or None.

    Raises:
        ValueError: unknown mode, or a size that the mode requires is missing or invalid.
    """
    _check_resize_mode(mode, min_dim, max_dim)
    height, width = image.shape[:2]
    if mode == "none":
        return image, (0, 0, height, width), 1, [(0, 0), (0, 0), (0, 0)], None
    dtype = image.dtype
    if mode == "shortest":
        assert min_dim is not None
        assert max_dim is not None
        scale = min(min_dim / min(height, width), max_dim / max(height, width))
    else:
        scale = _scale_of(height, width, min_dim, max_dim if mode == "square" else None, min_scale)
    if scale != 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        image = resize(image, size, preserve_range=True, anti_aliasing=True).astype(dtype)
        height, width = image.shape[:2]
    if mode == "crop":
        assert min_dim is not None
        y, x = random.randint(0, height - min_dim), random.randint(0, width - min_dim)
        crop = (y, x, min_dim, min_dim)
        image = image[y : y + min_dim, x : x + min_dim]
        return image, (0, 0, min_dim, min_dim), scale, [(0, 0), (0, 0), (0, 0)], crop
    full_height, full_width = (max_dim, max_dim) if mode == "square" else (-(-height // 64) * 64, -(-width // 64) * 64)
    top, left = (full_height - height) // 2, (full_width - width) // 2
    padding = [(top, full_height - height - top), (left, full_width - width - left), (0, 0)]
    image = np.pad(image, padding)
    return image, (top, left, height + top, width + left), scale, padding, None


def resize_mask(mask: NDArray[Any], scale: float, padding: Padding, crop: Window | None = None) -> NDArray[Any]:
    """Apply the geometry of `resize_image` to masks, with nearest-neighbor interpolation.

    Args:
        mask: (H, W, N).
        scale: scale factor from `resize_image`.
        padding: from `resize_image`.
        crop: (y, x, height, width) from `resize_image`, or None.
    """
    for axis in (0, 1):
        mask = _zoom_nearest(mask, scale, axis)
    if crop is not None:
        y, x, height, width = crop
        return mask[y : y + height, x : x + width]
    return np.pad(mask, padding)


def minimize_mask(bbox: NDArray[Any], mask: NDArray[Any], mini_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Crop each mask to its box and resize it to save memory; `expand_mask` is the inverse, with some loss at edges.

    Unlike the original with scikit-image 0.15 or newer, masks are not smoothed before downscaling: smoothing truncates
    bool masks to zeros (a mask of 35x15 pixels does not survive `minimize_mask` and `expand_mask` there).

    Args:
        bbox: int (N, 4), y1, x1, y2, x2, pixels.
        mask: (H, W, N), 0 or 1.
        mini_shape: height and width of the result.

    Returns:
        bool (height, width, N).

    Raises:
        ValueError: a box is empty.
    """
    height, width = (int(side) for side in mini_shape[:2])
    mini_mask = np.zeros((height, width, mask.shape[-1]), bool)
    for i in range(mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        cut = mask[y1:y2, x1:x2, i].astype(bool)
        if cut.size == 0:
            raise ValueError(f"minimize_mask needs a box with an area for mask {i}, got {list(map(int, bbox[i][:4]))}")
        mini_mask[:, :, i] = np.around(resize(cut, (height, width))).astype(bool)
    return mini_mask


def expand_mask(bbox: NDArray[Any], mini_mask: NDArray[Any], image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Paste masks from `minimize_mask` into their boxes.

    Args:
        bbox: int (N, 4), y1, x1, y2, x2, pixels.
        mini_mask: (h, w, N), 0 or 1.
        image_shape: (H, W) or (H, W, C).

    Returns:
        bool (H, W, N).
    """
    mask = np.zeros((*image_shape[:2], mini_mask.shape[-1]), bool)
    for i in range(mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        in_box = resize(mini_mask[:, :, i].astype(bool), (y2 - y1, x2 - x1))
        mask[y1:y2, x1:x2, i] = np.around(in_box).astype(bool)
    return mask


def mold_mask(mask: NDArray[Any], config: Any) -> NDArray[Any]:
    """Masks (H, W, N) as they are, or `minimize_mask` of them if the Config's USE_MINI_MASK is set."""
    return minimize_mask(extract_bboxes(mask), mask, config.MINI_MASK_SHAPE) if config.USE_MINI_MASK else mask


def unmold_mask(mask: NDArray[np.floating], bbox: NDArray[Any], image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Paste a box-local mask into a full-frame mask.

    Args:
        mask: float (h, w), typically (28, 28), probabilities 0 … 1 on a grid stretched over the box.
        bbox: int y1, x1, y2, x2 in pixels, inside the image.
        image_shape: (H, W) or (H, W, C).

    Returns:
        bool (H, W), true where the probability is 0.5 or more.
    """
    y1, x1, y2, x2 = bbox
    full_mask = np.zeros(image_shape[:2], bool)
    full_mask[y1:y2, x1:x2] = resize(mask, (y2 - y1, x2 - x1), anti_aliasing=True) >= 0.5
    return full_mask


def _check_resize_mode(mode: str, min_dim: int | None, max_dim: int | None) -> None:
    if mode not in RESIZE_MODES:
        raise ValueError(f"resize_image has the modes {', '.join(RESIZE_MODES)}, got {mode!r}")
    if mode in ("square", "shortest") and not max_dim:
        raise ValueError(f'resize_image needs max_dim in mode "{mode}", got {max_dim!r}')
    if mode == "pad64" and min_dim and min_dim % 64:
        raise ValueError(f'resize_image needs a min_dim that is a multiple of 64 in mode "pad64", got {min_dim}')
    if mode in ("crop", "shortest") and not min_dim:
        raise ValueError(f'resize_image needs min_dim in mode "{mode}", got {min_dim!r}')


def _scale_of(height: int, width: int, min_dim: int | None, max_dim: int | None, min_scale: float | None) -> float:
    scale: float = 1
    if min_dim:
        scale = max(1, min_dim / min(height, width))
    if min_scale:
        scale = max(scale, min_scale)
    if max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def _zoom_nearest(array: NDArray[Any], scale: float, axis: int) -> NDArray[Any]:
    """Nearest-neighbor zoom that aligns the centers of the first and of the last pixels (scipy.ndimage.zoom)."""
    count = array.shape[axis]
    new_count = max(1, round(count * scale))
    step = (count - 1) / (new_count - 1) if new_count > 1 else 0
    index = np.floor(np.arange(new_count) * step + 0.5).astype(np.intp)
    return np.take(array, np.minimum(index, count - 1), axis)


def _to_unit_range(image: NDArray[Any]) -> NDArray[Any]:
    """Scale integers to 0 … 1; bool and float images have that range already."""
    if image.dtype.kind in "bf":
        return image
    if image.dtype.kind != "u":
        raise ValueError(f"resize needs preserve_range=True for signed integers, got {image.dtype}")
    return image / np.iinfo(image.dtype).max


def _clip_to_range_of(image: NDArray[Any], resized: NDArray[Any]) -> None:
    """Clip `resized` to the range of `image`, in place; keeps the 0 outside the image even if `image` has no 0."""
    least, most = image.min(), image.max()
    outside = None if least <= 0 <= most else resized == 0
    np.clip(resized, least, most, out=resized)
    if outside is not None:
        resized[outside] = 0


# --- bilinear interpolation


def source_positions(count: int, new_count: int) -> NDArray[np.float64]:
    """The centers of new pixels in old pixels, (i + 1/2) old / new - 1/2, as one division of integers.

    Integral positions are so exact on every processor.
    """
    return ((2 * np.arange(new_count) + 1) * count - new_count) / (2 * new_count)


def _neighbors(
    count: int, new_count: int, dtype: np.dtype[Any]
) -> tuple[tuple[NDArray[np.intp], NDArray[Any]], tuple[NDArray[np.intp], NDArray[Any]]]:
    """The two old pixels next to each new pixel's center, each with its weight, 0 outside the image."""
    position = source_positions(count, new_count).astype(dtype)
    low, high = np.floor(position).astype(np.intp), np.ceil(position).astype(np.intp)
    high_weight = position - low.astype(dtype)
    low_weight = 1 - high_weight.astype(np.float64)  # float64 even for float32 images, as in scikit-image
    for pixels, weights in ((low, low_weight), (high, high_weight)):
        weights[(pixels < 0) | (pixels >= count)] = 0
    return (np.clip(low, 0, count - 1), low_weight), (np.clip(high, 0, count - 1), high_weight)


def _interpolate(rows: NDArray[Any], channels: int, height: int, width: int) -> NDArray[Any]:
    """Bilinear interpolation of rows (H, W * C) to (height, width * C): along each row first, then between rows."""
    dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
    (left, left_weight), (right, right_weight) = (
        ((pixels[:, None] * channels + np.arange(channels)).ravel(), np.repeat(weights, channels))
        for pixels, weights in _neighbors(rows.shape[1] // channels, width, dtype)
    )
    stretched = np.empty((rows.shape[0], width * channels), np.float64)
    for block in _blocks(rows.shape[0], width * channels):
        stretched[block] = rows[block][:, left] * left_weight + rows[block][:, right] * right_weight
    (top, top_weight), (bottom, bottom_weight) = _neighbors(rows.shape[0], height, dtype)
    result = np.empty((height, width * channels), dtype)
    for block in _blocks(height, width * channels):
        upper = stretched[top[block]] * top_weight[block, None]
        upper += stretched[bottom[block]] * bottom_weight[block, None]
        result[block] = upper
    return result


def _blocks(count: int, row_elements: int) -> list[slice]:
    step = max(1, BLOCK_ELEMENTS // row_elements)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids) -> np.ndarray:
    """Metadata of one image as a vector.

    Args:
        image_id: a number chosen by the caller.
        original_image_shape: (H, W, C) before molding.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in canvas pixels: the part of the canvas that the image covers.
        scale: factor by which the image was resized.
        active_class_ids: (K,), 0 or 1.

    Returns:
        float64 (12 + K,).
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids], np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of vectors (B, 12 + K) from `compose_image_meta` by name: int32 (`scale`: float32), with B rows each."""
    fields = {"image_id": 0, "original_image_shape": slice(1, 4), "image_shape": slice(4, 7), "window": slice(7, 11)}
    parts = {name: meta[:, columns].astype(np.int32) for name, columns in fields.items()}
    parts["scale"] = meta[:, 11].astype(np.float32)
    parts["active_class_ids"] = meta[:, 12:].astype(np.int32)
    return parts


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """RGB images (..., 3) minus MEAN_PIXEL: float64."""
    return images.astype(np.float32) - config.MEAN_PIXEL


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """The inverse of `mold_image`: uint8 (..., 3), RGB."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


def unmold_detections(raw: RawDetections, original_image_shape, image_shape, window):
    """Transform detections from canvas to image coordinates.

    Args:
        raw: detections on the canvas.
        original_image_shape: (H, W, C) of the image.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in canvas pixels: the part of the canvas that the image covers.

    Returns:
        boxes int32 (N, 4) pixels, class_ids int32 (N,), scores float32 (N,), masks bool (H, W, N).
    """
    y1, x1, y2, x2 = norm_boxes(np.asarray(window), image_shape[:2])
    scale = np.array([y2 - y1, x2 - x1, y2 - y1, x2 - x1])
    in_window = np.divide(raw.boxes - np.array([y1, x1, y1, x1]), scale)
    boxes = denorm_boxes(in_window, original_image_shape[:2])
    keep = np.flatnonzero(areas(boxes) > 0)  # rounding may leave boxes empty
    masks = np.zeros((*original_image_shape[:2], len(keep)), bool)
    for row, index in enumerate(keep):
        masks[:, :, row] = unmold_mask(raw.mask_probs[index], boxes[index], original_image_shape)
    return boxes[keep], raw.class_ids[keep], raw.scores[keep], masks
