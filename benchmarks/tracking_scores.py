"""Scores of a tracker on the synthetic sequence, by TrackEval, the reference implementation of HOTA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from trackeval.metrics import CLEAR, HOTA, Identity

from benchmarks.tracking_sequence import HEIGHT, WIDTH, TrueFrame, TrueObject
from pipeline.drawing.masks import paste_mask
from pipeline.records import Instances


@dataclass(frozen=True)
class Scores:
    """HOTA (Luiten et al. 2021) and its association part, IDF1 (Ristani et al. 2016), ID switches, MOTA; 0 … 1.

    `ids` is the number of ids assigned; `overlap` is the mean mask IoU of the true objects that were found.
    """

    hota: float
    assa: float
    idf1: float
    id_switches: int
    mota: float
    ids: int
    overlap: float


def evaluate(truth: Sequence[TrueFrame], shown: Sequence[Instances]) -> Scores:
    """Evaluates a tracker by mask IoU with the ground truth; objects without an id do not count."""
    named = [instances.select(instances.track_ids > 0) for instances in shown]
    id_numbers = {track_id: i for i, track_id in enumerate(np.unique(np.concatenate([n.track_ids for n in named])))}
    similarity = [overlaps(frame.objects, instances) for frame, instances in zip(truth, named, strict=True)]
    data = {
        "num_timesteps": len(truth),
        "num_gt_ids": max(item.id for frame in truth for item in frame.objects),
        "num_tracker_ids": len(id_numbers),
        "num_gt_dets": sum(len(frame.objects) for frame in truth),
        "num_tracker_dets": sum(len(instances) for instances in named),
        "gt_ids": [np.array([item.id - 1 for item in frame.objects], int) for frame in truth],
        "tracker_ids": [np.array([id_numbers[track_id] for track_id in n.track_ids], int) for n in named],
        "similarity_scores": similarity,
    }
    quiet = {"PRINT_CONFIG": False}
    hota, clear = HOTA().eval_sequence(data), CLEAR(quiet).eval_sequence(data)
    identity = Identity(quiet).eval_sequence(data)
    best = np.concatenate([table.max(axis=1, initial=0) for table in similarity if table.size])
    return Scores(
        hota=float(hota["HOTA"].mean()),
        assa=float(hota["AssA"].mean()),
        idf1=float(identity["IDF1"]),
        id_switches=int(clear["IDSW"]),
        mota=float(clear["MOTA"]),
        ids=len(id_numbers),
        overlap=float(best[best > 0.3].mean()),
    )


def overlaps(objects: Sequence[TrueObject], instances: Instances) -> np.ndarray:
    """float (len(objects), N): intersection over union of visible true masks and shown masks, on the frame's pixels."""
    table = np.zeros((len(objects), len(instances)))
    pasted = [
        paste_mask(instances.mask_probs[i], instances.boxes_xyxy[i], HEIGHT, WIDTH, 0.5) for i in range(len(instances))
    ]
    for row, item in enumerate(objects):
        whole = np.zeros((HEIGHT, WIDTH), bool)
        x1, y1, x2, y2 = item.box_xyxy.astype(int)
        whole[y1:y2, x1:x2] = item.mask
        area = np.count_nonzero(whole)
        for column, (mask, y0, x0) in enumerate(pasted):
            part = whole[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
            both = np.count_nonzero(part & mask)
            table[row, column] = both / max(area + np.count_nonzero(mask) - both, 1)
    return table
