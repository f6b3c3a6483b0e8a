"""COCO mask and box AP of a weight file on annotated photographs, through the same code that segments video.

    python tools/evaluate_coco.py --images DIR --annotations instances.json \\
        --weights weights/stream_segment_person.h5

Photographs go through the pipeline's segmenter one by one; masks are pasted as they are drawn; pycocotools counts. The
classes of the weight file are matched with the categories of the annotations by name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.maskrcnn_segmenter import MaskRCNNSegmenter
from pipeline.masks import paste_mask
from pipeline.settings import ModelSettings

AREAS = {"all": (0, 1e10), "below 32²": (0, 32**2), "32² to 64²": (32**2, 64**2), "above 64²": (64**2, 1e10)}
MOST_DETECTIONS = 100


def main() -> int:
    """Evaluate and print a table; with --json also write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--annotations", type=Path, required=True, help="COCO instances file")
    parser.add_argument("--weights", required=True, help="weight file that carries its class names")
    parser.add_argument("--max-dim", type=int, default=None, help="longer side that the network sees, pixels")
    parser.add_argument("--min-score", type=float, default=0.03, help="least score that counts (default %(default)s)")
    parser.add_argument("--json", type=Path, default=None, help="write the numbers here too")
    arguments = parser.parse_args()
    settings = ModelSettings(weights=arguments.weights, max_dim=arguments.max_dim, min_score=arguments.min_score)
    segmenter = MaskRCNNSegmenter(settings)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(arguments.annotations))
    names = {category["name"]: category["id"] for category in truth.loadCats(truth.getCatIds())}
    category_ids = {index: names[label] for index, label in enumerate(segmenter.labels) if label in names}
    if not category_ids:
        print(f"none of the classes {', '.join(segmenter.labels)} is a category of the annotations", file=sys.stderr)
        return 2
    segmenter.open()
    results = [
        row for image in truth.loadImgs(truth.getImgIds()) for row in _detect(segmenter, arguments.images, image)
    ]
    results = [
        dict(row, category_id=category_ids[row["category_id"]]) for row in results if row["category_id"] in category_ids
    ]
    table = {kind: evaluate(truth, results, kind, list(category_ids.values())) for kind in ("segm", "bbox")}
    print(f"{segmenter.description}\n{len(truth.getImgIds())} photographs, {len(results)} detections")
    for kind, title in (("segm", "mask"), ("bbox", "box")):
        for area, numbers in table[kind].items():
            ap, ap50, recall = (numbers[name] for name in ("AP", "AP50", "AR50"))
            print(f"{title:5} {area:11} AP {ap:.3f}  AP50 {ap50:.3f}  recall50 {recall:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _detect(segmenter, folder: Path, image) -> list[dict]:
    """The detections of one photograph as COCO results, class ids in the place of category ids."""
    picture = cv2.imread(str(folder / image["file_name"]))
    if picture is None:
        raise SystemExit(f"{folder / image['file_name']} cannot be read as an image")
    found = segmenter.segment(picture)
    rows = []
    for box, class_id, score, mask_probs in zip(
        found.boxes_xyxy, found.class_ids, found.scores, found.mask_probs, strict=True
    ):
        mask, top, left = paste_mask(mask_probs, box, *picture.shape[:2], 0.5)
        full = np.zeros(picture.shape[:2], np.uint8, order="F")
        full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        x1, y1, x2, y2 = (float(value) for value in box)
        row = {"image_id": image["id"], "category_id": int(class_id), "score": float(score)}
        rows.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": coco_mask.encode(full)})
    return rows


def evaluate(truth: COCO, results: list[dict], kind: str, category_ids: list[int]) -> dict[str, dict[str, float]]:
    """AP over IoU 0.5 … 0.95, AP at 0.5 and recall at 0.5 by area of the annotated object.

    Args:
        truth: the annotations.
        results: COCO results.
        kind: "segm" or "bbox".
        category_ids: what is evaluated.

    Returns:
        {area: {"AP", "AP50", "AR50"}}, each 0 … 1, NaN where there is no object.
    """
    areas = {area: {"AP": float("nan"), "AP50": float("nan"), "AR50": float("nan")} for area in AREAS}
    # pycocotools takes a result's area from its box if it has one, and an object of masks must not be sorted by its box
    unused = "bbox" if kind == "segm" else "segmentation"
    rows = [{key: value for key, value in row.items() if key != unused} for row in results]
    if not rows:
        return {area: dict.fromkeys(numbers, 0.0) for area, numbers in areas.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(rows), kind)
        evaluation.params.catIds = category_ids
        evaluation.params.maxDets = [1, 10, MOST_DETECTIONS]
        evaluation.params.areaRng = [list(limits) for limits in AREAS.values()]
        evaluation.params.areaRngLbl = list(AREAS)
        evaluation.evaluate()
        evaluation.accumulate()
    for index, area in enumerate(AREAS):
        precision = evaluation.eval["precision"][:, :, :, index, -1]  # (thresholds, recalls, categories)
        recall = evaluation.eval["recall"][0, :, index, -1]
        areas[area] = {"AP": _mean(precision), "AP50": _mean(precision[0]), "AR50": _mean(recall)}
    return areas


def _mean(values: np.ndarray) -> float:
    """Mean of what is known; COCOeval writes -1 where there is no object."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


if __name__ == "__main__":
    sys.exit(main())
