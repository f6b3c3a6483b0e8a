"""Writes utils_expected.npz: what the original package computes for the seeded inputs of `cases`.

Needs the original, which is not a dependency of this project: Python 3.7, TensorFlow 1.15, Keras 2.2.5, scikit-image
0.16.2, NumPy 1.18 and `mrcnn` 0.2 from PyPI. Run it there, in this folder:

    python make_utils_expected.py

The tests make the same inputs with `cases` and compare. Keys of the file are "function/case/result".
"""

import os

import numpy as np


def random_boxes(rng, count, height, width, dtype):
    """Boxes (count, 4) with an area inside an image."""
    y = np.sort(rng.randint(0, height, (count, 2)), axis=1)
    x = np.sort(rng.randint(0, width, (count, 2)), axis=1)
    return np.stack([y[:, 0], x[:, 0], y[:, 1] + 1, x[:, 1] + 1], axis=1).astype(dtype)


def random_masks(rng, boxes, height, width):
    """An elliptic mask, bool (height, width, N), in each box."""
    rows, columns = np.mgrid[:height, :width]
    masks = np.zeros((height, width, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes.astype(float)):
        y = (rows + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
        x = (columns + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2)
        masks[:, :, i] = y**2 + x**2 <= 1.2
    return masks


def smooth_image(rng, height, width, channels):
    """uint8 (height, width, channels) with edges, gradients and noise, without a 0."""
    rows, columns = np.mgrid[:height, :width]
    layers = []
    for _ in range(channels):
        wave = np.sin(rows / rng.uniform(2, 9)) + np.cos(columns / rng.uniform(2, 9))
        layers.append(wave * 50 + 128 + 30 * (rows > columns) - rng.randint(0, 20, (height, width)))
    return np.clip(np.stack(layers, axis=2), 1, 255).astype(np.uint8)


RESIZE_IMAGE = {
    # name: (height, width), min_dim, max_dim, min_scale, mode
    "square_up": ((37, 53), 64, 96, None, "square"),
    "square_up_capped": ((37, 53), 64, 64, 0, "square"),
    "square_down": ((90, 141), 40, 64, 0, "square"),
    "square_down_tall": ((141, 67), 40, 64, 0, "square"),
    "square_down_far": ((190, 131), 0, 37, 0, "square"),
    "square_same": ((50, 64), 32, 64, None, "square"),
    "square_min_scale": ((31, 47), 20, 128, 2.3, "square"),
    "pad64_same": ((65, 130), 64, None, None, "pad64"),
    "pad64_up": ((51, 83), 64, 100, 0, "pad64"),
    "pad64_fits": ((64, 128), 64, 128, 0, "pad64"),
    "none": ((33, 21), 64, 64, 2.0, "none"),
    "crop_whole": ((48, 48), 64, None, None, "crop"),
}

RESIZE_MASK = {
    # name: (height, width, count), scale, padding, crop
    "up": ((23, 31, 3), 1.7, [(2, 3), (0, 1), (0, 0)], None),
    "down": ((40, 57, 2), 0.61, [(0, 0), (4, 5), (0, 0)], None),
    "same": ((9, 8, 1), 1, [(1, 0), (0, 0), (0, 0)], None),
    "cropped": ((30, 41, 2), 1.3, [(0, 0), (0, 0), (0, 0)], (5, 7, 20, 20)),
}

ANCHORS = {
    "one_scale": (32, [0.5, 1, 2], (3, 5), 4, 1),
    "two_scales": ([16, 24.5], [0.4, 1.7], (4, 3), 8, 2),
}


def cases():
    """The inputs, by "function/case"; the same ones each time."""
    rng = np.random.RandomState(20)
    inputs = {}
    for name, (size, min_dim, max_dim, min_scale, mode) in RESIZE_IMAGE.items():
        inputs["resize_image/" + name] = (smooth_image(rng, size[0], size[1], 3), min_dim, max_dim, min_scale, mode)
    for name, (shape, scale, padding, crop) in RESIZE_MASK.items():
        inputs["resize_mask/" + name] = (rng.rand(*shape) > 0.6, scale, padding, crop)
    for i, box in enumerate([(5, 9, 90, 60), (0, 0, 11, 97), (40, 3, 41, 80), (7, 50, 71, 51), (0, 0, 100, 110)]):
        mask = rng.rand(28, 28).astype(np.float32)
        inputs[f"unmold_mask/{i}"] = (mask, np.array(box, np.int32), (100, 110, 3))
    boxes = random_boxes(rng, 6, 70, 50, np.int32)
    # Only where masks grow: the original loses bool masks that shrink, see mrcnn/matterport/molding.py.
    inputs["minimize_mask/up"] = (boxes, random_masks(rng, boxes, 70, 50), (74, 56))
    large = np.array([[3, 5, 40, 33], [0, 0, 70, 50], [20, 10, 34, 20]])
    inputs["expand_mask/up"] = (large, rng.rand(14, 10, 3) > 0.5, (70, 50, 3))
    inputs["extract_bboxes/some"] = (np.concatenate([random_masks(rng, boxes, 70, 50), np.zeros((70, 50, 1))], 2),)
    for dtype in ("int32", "float32", "float64"):
        others = random_boxes(rng, 9, 70, 50, dtype)
        own = random_boxes(rng, 7, 70, 50, dtype)
        inputs["compute_overlaps/" + dtype] = (own, others)
        areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
        inputs["compute_iou/" + dtype] = (own[0], others, (own[0, 2] - own[0, 0]) * (own[0, 3] - own[0, 1]), areas)
        inputs["non_max_suppression/" + dtype] = (others, rng.rand(9).astype(np.float32), 0.2)
    masks = random_masks(rng, random_boxes(rng, 5, 70, 50, np.int32), 70, 50)
    inputs["compute_overlaps_masks/some"] = (masks[:, :, :3], masks[:, :, 2:])
    first, second = random_boxes(rng, 8, 70, 50, np.int32), random_boxes(rng, 8, 70, 50, np.int32)
    inputs["apply_box_deltas/some"] = (first, (rng.randn(8, 4) * 0.3).astype(np.float32))
    inputs["box_refinement/some"] = (first, second)
    inputs["norm_boxes/some"] = (first, (70, 50))
    inputs["denorm_boxes/some"] = (rng.rand(8, 4).astype(np.float32), (71, 50))
    inputs["trim_zeros/some"] = (np.array([[0, 0, 0], [1, 0, 2], [0, 0, 0], [0, -1, 0]]),)
    for name, arguments in ANCHORS.items():
        inputs["generate_anchors/" + name] = arguments
    inputs["generate_pyramid_anchors/some"] = ((12, 31), [0.5, 1.5], np.array([[5, 3], [3, 2]]), [4, 8], 1)
    inputs.update(metric_cases(rng))
    return inputs


def metric_cases(rng):
    """Six objects; predictions that are moved, of a wrong class, missing or invented; the same padded with zeros."""
    gt_boxes = random_boxes(rng, 6, 70, 50, np.int32)
    moved = np.clip(gt_boxes[1:] + rng.randint(-3, 4, (5, 4)), 0, 50)
    pred_boxes = np.concatenate([random_boxes(rng, 2, 70, 50, np.int32), moved])
    pred_boxes[:, 2:] = np.maximum(pred_boxes[:, 2:], pred_boxes[:, :2] + 1)
    gt_masks, pred_masks = random_masks(rng, gt_boxes, 70, 50), random_masks(rng, pred_boxes, 70, 50)
    gt_ids, pred_ids = np.array([1, 2, 1, 3, 2, 1]), np.array([1, 1, 2, 1, 3, 1, 1])
    scores = np.array([0.3, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5])
    arguments = (gt_boxes, gt_ids, gt_masks, pred_boxes, pred_ids, scores, pred_masks)
    padded = (
        np.pad(gt_boxes, [(0, 2), (0, 0)], mode="constant"),
        np.pad(gt_ids, (0, 2), mode="constant"),
        gt_masks,
        np.pad(pred_boxes, [(0, 3), (0, 0)], mode="constant"),
        np.pad(pred_ids, (0, 3), mode="constant"),
        np.pad(scores, (0, 3), mode="constant"),
        np.pad(pred_masks, [(0, 0), (0, 0), (0, 3)], mode="constant"),
    )
    return {
        "compute_matches/some": arguments,
        "compute_matches/strict": (*arguments, 0.7),
        "compute_matches/padded": (*padded, 0.4, 0.2),
        "compute_ap/some": arguments,
        "compute_ap/strict": (*arguments, 0.75),
        "compute_ap_range/some": (*arguments, None, 0),
        "compute_recall/some": (pred_boxes, gt_boxes, 0.5),
    }


def main():
    """Run the original on every case and write what it returns."""
    from mrcnn import utils

    results = {}
    for key, arguments in cases().items():
        value = getattr(utils, key.split("/")[0])(*arguments)
        for i, part in enumerate(value if isinstance(value, tuple) else (value,)):
            if part is not None:
                results[f"{key}/{i}"] = np.asarray(part)
    np.savez_compressed(os.path.join(os.path.dirname(os.path.abspath(__file__)), "utils_expected.npz"), **results)


if __name__ == "__main__":
    main()
