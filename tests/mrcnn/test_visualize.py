"""`mrcnn.visualize` offers what the original's module of this name offers."""

import inspect

import pytest

from mrcnn import visualize

# Parameter names in the original's release 0.2; `save_to` may follow.
SIGNATURES = {
    "apply_mask": "image mask color alpha",
    "display_differences": "image gt_box gt_class_id gt_mask pred_box pred_class_id pred_score pred_mask class_names "
    "title ax show_mask show_box iou_threshold score_threshold",
    "display_images": "images titles cols cmap norm interpolation",
    "display_instances": "image boxes masks class_ids class_names scores title figsize ax show_mask show_bbox colors "
    "captions",
    "display_table": "table",
    "display_top_masks": "image mask class_ids class_names limit",
    "display_weight_stats": "model",
    "draw_box": "image box color",
    "draw_boxes": "image boxes refined_boxes masks captions visibilities title ax",
    "draw_rois": "image rois refined_rois mask class_ids class_names limit",
    "plot_overlaps": "gt_class_ids pred_class_ids pred_scores overlaps class_names threshold",
    "plot_precision_recall": "AP precisions recalls",
    "random_colors": "N bright",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_parameters_are_those_of_the_original(name):
    parameters = list(inspect.signature(getattr(visualize, name)).parameters)
    assert " ".join(parameters).removesuffix(" save_to") == SIGNATURES[name]


def test_everything_offered_is_known():
    assert sorted(visualize.__all__) == sorted(SIGNATURES)
