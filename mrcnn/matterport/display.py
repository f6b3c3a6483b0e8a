"""Draws instances on images with Matplotlib, which is imported on first use and needs no screen.

Shape letters: H, W image height and width in pixels; N instances. Boxes are (y1, x1, y2, x2) in pixels, colors
(r, g, b), 0 … 1.
"""

from __future__ import annotations

import colorsys
import logging
import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Color = Sequence[float]


def random_colors(N: int, bright: bool = True) -> list[tuple[float, float, float]]:
    """N colors with evenly spaced hues, in random order (seeded by `random.seed`).

    Args:
        N: number of colors.
        bright: brightness 1 instead of 0.7.
    """
    brightness = 1.0 if bright else 0.7
    colors = [colorsys.hsv_to_rgb(i / N, 1, brightness) for i in range(N)]
    random.shuffle(colors)
    return colors


def apply_mask(image: NDArray[Any], mask: NDArray[Any], color: Color, alpha: float = 0.5) -> NDArray[Any]:
    """Blend a color over the pixels of a mask.

    Args:
        image: (H, W, 3), 0 … 255, modified in place.
        mask: (H, W), bool or 0 and 1.
        color: 0 … 1, in the order of the image's channels.
        alpha: opacity of the color, 0 … 1.

    Returns:
        The same image.
    """
    covered = mask == 1
    pixels = image[covered]
    for channel in range(3):
        pixels[:, channel] = pixels[:, channel] * (1 - alpha) + alpha * float(color[channel]) * 255
    image[covered] = pixels
    return image


def draw_box(image: NDArray[Any], box: Sequence[int], color: Any) -> NDArray[Any]:
    """Draw the outline of a box, two pixels wide, on an image (H, W, 3) in place; returns the image.

    `color` has the range of the image's pixels.
    """
    y1, x1, y2, x2 = box
    image[y1 : y1 + 2, x1:x2] = color
    image[y2 : y2 + 2, x1:x2] = color
    image[y1:y2, x1 : x1 + 2] = color
    image[y1:y2, x2 : x2 + 2] = color
    return image


def display_images(
    images: Sequence[NDArray[Any]],
    titles: Sequence[Any] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: str | None = None,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show images in a grid.

    Args:
        images: (H, W), (H, W, 3) or (H, W, 4) each.
        titles: one per image.
        cols: images per row.
        cmap, norm, interpolation: passed to Matplotlib's `imshow`.
        save_to: write the figure to this file instead of showing it.
    """
    plt = pyplot()
    titles = titles if titles is not None else [""] * len(images)
    rows = len(images) // cols + 1
    figure = plt.figure(figsize=(14, 14 * rows // cols))
    for i, (image, title) in enumerate(zip(images, titles, strict=False)):
        axes = figure.add_subplot(rows, cols, i + 1)
        axes.set_title(title, fontsize=9)
        axes.axis("off")
        axes.imshow(np.asarray(image).astype(np.uint8), cmap=cmap, norm=norm, interpolation=interpolation)
    finish(figure, save_to)


def display_instances(
    image: NDArray[Any],
    boxes: NDArray[Any],
    masks: NDArray[Any],
    class_ids: Sequence[int] | NDArray[Any],
    class_names: Sequence[str],
    scores: Sequence[float] | NDArray[Any] | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Any = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Color] | None = None,
    captions: Sequence[str] | None = None,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show an image with the masks, boxes and names of its instances.

    Args:
        image: (H, W, 3), 0 … 255, RGB.
        boxes: (N, 4), y1, x1, y2, x2 in pixels. Instances whose box is all zeros are skipped.
        masks: (H, W, N), bool or 0 and 1.
        class_ids: (N,).
        class_names: names by class id.
        scores: (N,), shown after the name.
        title: title of the figure.
        figsize: size of the figure, inches.
        ax: Matplotlib axes to draw on; if None, a new figure is created and shown.
        show_mask: fill the masks; their outlines are always drawn.
        show_bbox: draw the boxes.
        colors: one per instance; None for random colors.
        captions: one per instance, shown instead of name and score.
        save_to: write the figure to this file (png, jpg, pdf …) instead of showing it; needs no screen.

    Raises:
        ValueError: boxes, masks and class_ids differ in number.
    """
    count = len(boxes)
    if not count == masks.shape[-1] == len(class_ids):
        raise ValueError(
            f"display_instances needs as many masks and class_ids as boxes, got {count} boxes, masks of shape "
            f"{masks.shape} and {len(class_ids)} class_ids"
        )
    if not count:
        print("\n*** No instances to display *** \n")
    own, ax, canvas = canvas_on(ax, image, title, figsize)
    colors = colors or random_colors(count)
    for i in np.flatnonzero(np.any(boxes, axis=1)) if count else ():
        if show_bbox:
            ax.add_patch(rectangle(boxes[i], colors[i], linewidth=2, alpha=0.7, linestyle="dashed"))
        name = class_names[class_ids[i]]
        caption = captions[i] if captions else name if scores is None else f"{name} {scores[i]:.3f}"
        ax.text(boxes[i][1], boxes[i][0] + 8, caption, color="w", size=11, backgroundcolor="none")
        if show_mask:
            apply_mask(canvas, masks[:, :, i], colors[i])
        add_outlines(ax, masks[:, :, i], colors[i])
    finish_canvas(own, ax, canvas, save_to)


def display_top_masks(
    image: NDArray[Any],
    mask: NDArray[Any],
    class_ids: NDArray[Any],
    class_names: Sequence[str],
    limit: int = 4,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show an image and the masks of the classes that cover the largest areas.

    Args:
        image: (H, W, 3), 0 … 255, RGB.
        mask: (H, W, N), bool or 0 and 1.
        class_ids: (N,).
        class_names: names by class id.
        limit: number of panels for classes; surplus panels stay empty.
        save_to: write the figure to this file instead of showing it.
    """
    class_ids = np.asarray(class_ids)
    areas = {class_id: int(mask[:, :, class_ids == class_id].sum()) for class_id in np.unique(class_ids)}
    top = sorted((class_id for class_id, area in areas.items() if area), key=lambda class_id: -areas[class_id])[:limit]
    images, titles = [image], [f"H x W={image.shape[0]}x{image.shape[1]}"]
    for class_id in top:
        of_class = mask[:, :, class_ids == class_id]
        images.append((of_class * np.arange(1, of_class.shape[-1] + 1)).sum(axis=-1))
        titles.append(class_names[class_id])
    missing = limit - len(top)
    images += [np.zeros(image.shape[:2], np.uint8)] * missing
    titles += ["-"] * missing
    display_images(images, titles, cols=limit + 1, cmap="Blues_r", save_to=save_to)


# --- Matplotlib


def pyplot() -> Any:
    """Matplotlib's pyplot, with a backend that renders to memory if the configured one finds no screen."""
    from matplotlib import pyplot as plt

    if not plt.get_fignums():  # switching closes figures
        try:
            plt.switch_backend(plt.get_backend())
        except ImportError as error:
            logger.warning("Matplotlib cannot open windows here (%s): figures are rendered to memory", error)
            plt.switch_backend("Agg")
    return plt


def canvas_on(ax: Any, image: NDArray[Any], title: str, figsize: tuple[float, float]) -> tuple[bool, Any, NDArray[Any]]:
    """Prepare axes for boxes on an image, with a margin of 10 pixels, and a copy of the image for masks.

    Args:
        ax: axes of the caller; None creates a figure.
        image: (H, W, 3), 0 … 255, RGB.
        title: title of the figure.
        figsize: size of a new figure, inches.

    Returns:
        Whether the figure is new, the axes, and the image as uint32 (H, W, 3), the arguments of `finish_canvas`.
    """
    own = ax is None
    if own:
        _, ax = pyplot().subplots(1, figsize=figsize)
    height, width = image.shape[:2]
    ax.set_ylim(height + 10, -10)
    ax.set_xlim(-10, width + 10)
    ax.axis("off")
    ax.set_title(title)
    return own, ax, image.astype(np.uint32)


def finish_canvas(own: bool, ax: Any, canvas: NDArray[Any], save_to: str | os.PathLike[str] | None) -> None:
    """Draw the image behind boxes and outlines, and show or save the figure unless it belongs to the caller."""
    ax.imshow(canvas.astype(np.uint8))
    if own or save_to is not None:
        finish(ax.figure, save_to)


def finish(figure: Any, save_to: str | os.PathLike[str] | None = None) -> None:
    """Save and close a figure, or show it. Without a screen, it stays open for a later `pyplot.savefig`."""
    from matplotlib import pyplot as plt

    if save_to is not None:
        figure.savefig(save_to, bbox_inches="tight")
        plt.close(figure)
    elif has_windows():
        plt.show()
    else:
        logger.warning("no screen to show the figure: pass save_to=FILE, or call matplotlib.pyplot.savefig(FILE)")


def has_windows() -> bool:
    """Whether Matplotlib's backend can show a window."""
    import matplotlib
    from matplotlib.backends import BackendFilter, backend_registry

    interactive = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    return matplotlib.get_backend().lower() in [name.lower() for name in interactive]


def rectangle(box: Sequence[float], color: Any, **style: Any) -> Any:
    """An unfilled matplotlib patch for a box (y1, x1, y2, x2) in pixels; `style` is passed on to it."""
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box[:4]
    return Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=color, facecolor="none", **style)


def add_outlines(ax: Any, mask: NDArray[Any], color: Any) -> None:
    """Draw the outlines of a mask (H, W)."""
    import cv2
    from matplotlib.patches import Polygon

    outlines, _ = cv2.findContours((mask == 1).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        ax.add_patch(Polygon(outline.reshape(-1, 2), facecolor="none", edgecolor=color))
