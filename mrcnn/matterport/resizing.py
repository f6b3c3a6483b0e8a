"""Resizing of images and masks, pixel for pixel as Matterport's package does it with scikit-image.

Weights trained with the original have seen its pixels, so the same steps are taken in the same precision: a Gaussian
that removes what the smaller size cannot hold, then bilinear interpolation in which pixel i covers [i, i + 1) and
everything outside the image is 0, then clipping to the image's range, then truncation to the image's type.
scikit-image estimates the scale with a rounding error of about 1e-14 that depends on the processor's linear algebra;
where the exact value is a whole number, its truncation falls either way. Here positions are exact, and the same on
every processor: up to 0.6 % of a photograph's values differ by 1 from the original's, as they do between two processors
with the original.

Shape letters: H, W height and width in pixels; C channels; N instances.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Padding = list[tuple[int, int]]
Window = tuple[int, int, int, int]

TRUNCATE_SIGMAS = 4.0
"""The Gaussian ends at this many standard deviations, as in scipy.ndimage."""
BLOCK_ELEMENTS = 1 << 16
"""Values worked on at a time: what a core's cache holds as float64."""


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
        order: 1 (bilinear); nothing else is offered.
        mode: "constant"; nothing else is offered.
        cval: 0, the value outside the image; nothing else is offered.
        clip: cut the result to the range of the image.
        preserve_range: keep the range of an integer image instead of scaling it to 0 … 1.
        anti_aliasing: smooth before shrinking.
        anti_aliasing_sigma: standard deviation of that smoothing in pixels, (vertical, horizontal) or one for both;
            None: (shrink factor - 1) / 2.

    Returns:
        float32 for a float32 image, otherwise float64, (height, width) or (height, width, C).

    Raises:
        ValueError: an argument is out of range or asks for what is not offered.
    """
    if (order, mode, cval) != (1, "constant", 0):
        raise ValueError(f"resize knows order 1, mode 'constant', cval 0; got {order}, {mode!r}, {cval}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"resize needs an image (H, W) or (H, W, C) that is not empty, got shape {image.shape}")
    height, width = (int(side) for side in output_shape[:2])
    if height < 1 or width < 1:
        raise ValueError(f"resize needs an output_shape of at least 1x1, got {tuple(output_shape)}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if anti_aliasing:
        image = _smooth_for(image, (height, width), anti_aliasing_sigma)
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
    """Scale an image with its aspect ratio kept, and pad or crop it to what the network takes.

    Args:
        image: (H, W, C).
        min_dim: the shorter side is enlarged to this many pixels; it is never shrunk for this. None or 0: off.
        max_dim: in "square" mode the longer side is at most this many pixels, which wins over `min_dim`.
        min_scale: least scale factor, may give more than `min_dim`. None or 0: off.
        mode: "none": leave the image as it is. "square": pad with zeros to (max_dim, max_dim). "pad64": pad each side
            with zeros to a multiple of 64; `max_dim` has no effect. "crop": scale by `min_dim` and `min_scale`, then
            take (min_dim, min_dim) at a random place.

    Returns:
        The image in its own type; `window` (y1, x1, y2, x2), where the picture lies in it; the scale factor; `padding`
        [(top, bottom), (left, right), (0, 0)]; `crop` (y, x, height, width), None unless cropped.

    Raises:
        ValueError: unknown mode, or a size that the mode needs is missing or does not fit.
    """
    _check_resize_mode(mode, min_dim, max_dim)
    height, width = image.shape[:2]
    if mode == "none":
        return image, (0, 0, height, width), 1, [(0, 0), (0, 0), (0, 0)], None
    dtype = image.dtype
    scale = _scale_of(height, width, min_dim, max_dim if mode == "square" else None, min_scale)
    if scale != 1:
        size = (round(height * scale), round(width * scale))
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
    """Bring masks to the geometry that `resize_image` gave their image; the nearest pixel decides.

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
    """Cut each mask out at its box and shrink it, to save memory; `expand_mask` undoes it, with some loss at the edge.

    Unlike the original under scikit-image 0.15 or newer, masks are not smoothed before they shrink: smoothing truncates
    bool masks to nothing (a mask of 35x15 pixels does not survive `minimize_mask` and `expand_mask` there).

    Args:
        bbox: int (N, 4), y1, x1, y2, x2.
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
    """Put masks made by `minimize_mask` back into their boxes.

    Args:
        bbox: int (N, 4), y1, x1, y2, x2.
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
    """Masks (H, W, N) in the form that `config` asks for: cut out and shrunk with USE_MINI_MASK, else as they are."""
    from mrcnn.matterport.boxes import extract_bboxes

    return minimize_mask(extract_bboxes(mask), mask, config.MINI_MASK_SHAPE) if config.USE_MINI_MASK else mask


def unmold_mask(mask: NDArray[np.floating], bbox: NDArray[Any], image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Turn the mask that the network gives for a box into a mask of the whole image.

    Args:
        mask: float (h, w), typically (28, 28), probabilities 0 … 1 on a grid stretched over the box.
        bbox: int y1, x1, y2, x2, inside the image.
        image_shape: (H, W) or (H, W, C).

    Returns:
        bool (H, W), true where the probability is 0.5 or more.
    """
    y1, x1, y2, x2 = bbox
    full_mask = np.zeros(image_shape[:2], bool)
    full_mask[y1:y2, x1:x2] = resize(mask, (y2 - y1, x2 - x1), anti_aliasing=True) >= 0.5
    return full_mask


def _check_resize_mode(mode: str, min_dim: int | None, max_dim: int | None) -> None:
    if mode not in ("none", "square", "pad64", "crop"):
        raise ValueError(f'resize_image knows the modes "none", "square", "pad64" and "crop", got {mode!r}')
    if mode == "square" and not max_dim:
        raise ValueError(f'resize_image needs max_dim in mode "square", got {max_dim!r}')
    if mode == "pad64" and min_dim and min_dim % 64:
        raise ValueError(f'resize_image needs a min_dim that is a multiple of 64 in mode "pad64", got {min_dim}')
    if mode == "crop" and not min_dim:
        raise ValueError(f'resize_image needs min_dim in mode "crop", got {min_dim!r}')


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
    """Nearest-neighbor zoom in which the centers of the first and of the last pixels coincide (scipy.ndimage.zoom)."""
    count = array.shape[axis]
    new_count = round(count * scale)
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
    """Cut `resized`, in place, to the range of `image`; the 0 of the outside stays, also where the image has no 0."""
    least, most = image.min(), image.max()
    outside = None if least <= 0 <= most else resized == 0
    np.clip(resized, least, most, out=resized)
    if outside is not None:
        resized[outside] = 0


# --- bilinear interpolation


def _positions(old_count: int, new_count: int) -> NDArray[np.float64]:
    """Where the center of each new pixel lies between the centers of the old ones: (i + 1/2) old / new - 1/2.

    Taken as one division of whole numbers, so that a position that is a whole number comes out as one on every
    processor.
    """
    return ((2 * np.arange(new_count) + 1) * old_count - new_count) / (2 * new_count)


def _neighbors(
    count: int, new_count: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[Any]]:
    """For each new pixel the two old ones beside its center, and their weights, 0 for those outside the image."""
    position = _positions(count, new_count).astype(dtype)
    low, high = np.floor(position).astype(np.intp), np.ceil(position).astype(np.intp)
    high_weight = position - low.astype(dtype)
    low_weight = 1 - high_weight.astype(np.float64)  # float64 here also for float32 images, as scikit-image has it
    low_weight[(low < 0) | (low >= count)] = 0
    high_weight[(high < 0) | (high >= count)] = 0
    return np.clip(low, 0, count - 1), np.clip(high, 0, count - 1), low_weight, high_weight


def _interpolate(rows: NDArray[Any], channels: int, height: int, width: int) -> NDArray[Any]:
    """Bilinear interpolation of rows (H, W * C) to (height, width * C): along each row first, then between rows."""
    dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
    old_height, old_width = rows.shape[0], rows.shape[1] // channels
    left, right, left_weight, right_weight = _neighbors(old_width, width, dtype)
    left, right = ((index[:, None] * channels + np.arange(channels)).ravel() for index in (left, right))
    left_weight, right_weight = (np.repeat(weight, channels) for weight in (left_weight, right_weight))
    stretched = np.empty((rows.shape[0], width * channels), np.float64)
    for block in _blocks(rows.shape[0], width * channels):
        stretched[block] = rows[block][:, left] * left_weight + rows[block][:, right] * right_weight
    top, bottom, top_weight, bottom_weight = _neighbors(old_height, height, dtype)
    result = np.empty((height, width * channels), dtype)
    for block in _blocks(height, width * channels):
        upper = stretched[top[block]] * top_weight[block, None]
        upper += stretched[bottom[block]] * bottom_weight[block, None]
        result[block] = upper
    return result


def _blocks(count: int, row_elements: int) -> list[slice]:
    step = max(1, BLOCK_ELEMENTS // row_elements)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


# --- smoothing before shrinking


def _smooth_for(
    image: NDArray[Any], size_hw: tuple[int, int], sigma: float | tuple[float, float] | None
) -> NDArray[Any]:
    """The image, in its own type, without what is too fine for the new size."""
    for axis in (0, 1):
        if sigma is None:
            axis_sigma = max(0.0, (image.shape[axis] / size_hw[axis] - 1) / 2)
        else:
            axis_sigma = float(np.broadcast_to(sigma, 2)[axis])
        if axis_sigma > 1e-15:
            image = _smooth(image, axis_sigma, axis)
    return image


def _smooth(image: NDArray[Any], sigma: float, axis: int) -> NDArray[Any]:
    """Gaussian along an axis, zeros outside, computed in float64 and truncated to the image's own type."""
    radius = int(TRUNCATE_SIGMAS * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * offsets**2)
    weights /= weights.sum()
    pad = [(0, 0)] * image.ndim
    pad[axis] = (radius, radius)
    padded = np.pad(image.astype(np.uint8) if image.dtype == bool else image, pad)
    channels = 1 if image.ndim == 2 else image.shape[2]
    padded = padded.reshape(padded.shape[0], -1)
    height, row_elements = image.shape[0], image.shape[1] * channels
    smoothed = np.empty((height, row_elements), image.dtype)
    for block in _blocks(height, row_elements):

        def shifted(offset: int, block: slice = block) -> NDArray[Any]:
            if axis == 0:
                return padded[block.start + radius + offset : block.stop + radius + offset]
            start = (radius + offset) * channels
            return padded[block, start : start + row_elements]

        total = shifted(0) * weights[radius]
        for offset in range(-radius, 0):
            total += np.add(shifted(offset), shifted(-offset), dtype=np.float64) * weights[radius + offset]
        # A bool is what a C cast makes of the sum: 1 only where nothing is missing from it.
        smoothed[block] = total >= 1 if image.dtype == bool else total.astype(image.dtype)
    return smoothed.reshape(image.shape)
