"""The drawing functions that users of Matterport's package import from `mrcnn.visualize`."""

from mrcnn.matterport.diagnostics import (
    display_differences,
    display_table,
    display_weight_stats,
    draw_boxes,
    draw_rois,
    plot_overlaps,
    plot_precision_recall,
)
from mrcnn.matterport.display import (
    apply_mask,
    display_images,
    display_instances,
    display_top_masks,
    draw_box,
    random_colors,
)

__all__ = [
    "apply_mask",
    "display_differences",
    "display_images",
    "display_instances",
    "display_table",
    "display_top_masks",
    "display_weight_stats",
    "draw_box",
    "draw_boxes",
    "draw_rois",
    "plot_overlaps",
    "plot_precision_recall",
    "random_colors",
]
