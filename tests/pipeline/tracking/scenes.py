"""Boxes and instances for the tests of tracking."""

from __future__ import annotations

import numpy as np

from pipeline.records import Instances


def found(*rows, mask=None):
    """Instances of rows (class id, score, x1, y1, x2, y2), in that order; full masks unless given, (M, M)."""
    count = len(rows)
    masks = np.broadcast_to(np.ones((28, 28)) if mask is None else mask, (count, 28, 28))
    return Instances(
        np.array([row[2:] for row in rows], np.float32).reshape(count, 4),
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32),
        masks.astype(np.float32),
    )


def box_at(x, y, width=40.0, height=80.0):
    """Corners of a box around a center."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
