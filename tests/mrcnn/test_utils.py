"""`mrcnn.utils` offers what the original's module of this name offers, and computes the same."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrcnn import utils
from tests.data.make_utils_expected import cases

DATA = Path(__file__).parents[1] / "data"
ROOT = DATA.parents[1]

# Parameter names in the original's release 0.2.
SIGNATURES = {
    "apply_box_deltas": "boxes deltas",
    "batch_slice": "inputs graph_fn batch_size names",
    "box_refinement": "box gt_box",
    "box_refinement_graph": "box gt_box",
    "compute_ap": "gt_boxes gt_class_ids gt_masks pred_boxes pred_class_ids pred_scores pred_masks iou_threshold",
    "compute_ap_range": "gt_box gt_class_id gt_mask pred_box pred_class_id pred_score pred_mask iou_thresholds verbose",
    "compute_iou": "box boxes box_area boxes_area",
    "compute_matches": "gt_boxes gt_class_ids gt_masks pred_boxes pred_class_ids pred_scores pred_masks iou_threshold "
    "score_threshold",
    "compute_overlaps": "boxes1 boxes2",
    "compute_overlaps_masks": "masks1 masks2",
    "compute_recall": "pred_boxes gt_boxes iou",
    "denorm_boxes": "boxes shape",
    "download_trained_weights": "coco_model_path verbose",
    "expand_mask": "bbox mini_mask image_shape",
    "extract_bboxes": "mask",
    "generate_anchors": "scales ratios shape feature_stride anchor_stride",
    "generate_pyramid_anchors": "scales ratios feature_shapes feature_strides anchor_stride",
    "minimize_mask": "bbox mask mini_shape",
    "mold_mask": "mask config",
    "non_max_suppression": "boxes scores threshold",
    "norm_boxes": "boxes shape",
    "resize_image": "image min_dim max_dim min_scale mode",
    "resize_mask": "mask scale padding crop",
    "trim_zeros": "x",
    "unmold_mask": "mask bbox image_shape",
    "Dataset": "class_map",
}

# Where the exact value is a whole number (0.5 for masks), the original falls either way: see
# mrcnn/matterport/molding.py.
SHARE_OF_TIES = {"resize_image": 0.01, "minimize_mask": 0.01, "expand_mask": 0.01}
ABSOLUTE_TOLERANCE = {"apply_box_deltas": 1e-5, "box_refinement": 1e-6}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_parameters_are_those_of_the_original(name):
    assert " ".join(inspect.signature(getattr(utils, name)).parameters) == SIGNATURES[name]


@pytest.mark.parametrize(("key", "arguments"), cases().items(), ids=cases())
def test_same_results_as_the_original(key, arguments):
    function = key.split("/")[0]
    value = getattr(utils, function)(*arguments)
    with np.load(DATA / "utils_expected.npz") as file:
        expected = {name: file[name] for name in file.files if name.startswith(f"{key}/")}
    parts = value if isinstance(value, tuple) else (value,)
    compared = [(f"{key}/{i}", np.asarray(part)) for i, part in enumerate(parts) if part is not None]
    assert [name for name, _ in compared] == list(expected)
    for name, part in compared:
        assert part.dtype == expected[name].dtype
        assert part.shape == expected[name].shape
        if function in SHARE_OF_TIES:
            difference = np.abs(part.astype(float) - expected[name])
            assert difference.max(initial=0) <= 1
            assert np.mean(difference > 0) <= SHARE_OF_TIES[function]
        else:
            np.testing.assert_allclose(part, expected[name], rtol=0, atol=ABSOLUTE_TOLERANCE.get(function, 0))


def test_import_is_light():
    program = (
        "import sys, mrcnn.config, mrcnn.utils, mrcnn.visualize; "
        "print([name for name in ('cv2', 'keras', 'tensorflow', 'matplotlib', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
