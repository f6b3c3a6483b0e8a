"""Draws a heat map over a frame of the video, or on a plain ground."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Image
from pipeline.report.heat_map import Grid
from pipeline.report.pictures import jpeg_uri

WIDTH_PX = 900
_MOST_OPAQUE = 0.8
_COLORS = cv2.COLORMAP_INFERNO


def heat_uri(shares: Grid, frame_bgr: Image | None) -> str:
    """A data: URI of the heat map: over the frame in gray, or transparent where nothing was if there is no frame.

    Args:
        shares: float32 (GH, GW), 0 … 1.
        frame_bgr: uint8 (H, W, 3) of the same scene.
    """
    rows, columns = shares.shape
    height = max(1, round(WIDTH_PX * rows / columns))
    smooth = cv2.resize(cv2.GaussianBlur(shares, (0, 0), 1.0), (WIDTH_PX, height), interpolation=cv2.INTER_CUBIC)
    level = np.clip(smooth / max(float(shares.max()), 1e-6), 0, 1)
    colors = np.asarray(cv2.applyColorMap(np.asarray(level * 255, np.uint8), _COLORS), np.uint8)
    opacity: NDArray[np.float32] = np.asarray(_MOST_OPAQUE * np.sqrt(level), np.float32)[..., None]
    if frame_bgr is None:
        rgba = np.concatenate([colors, np.asarray(opacity * 255, np.uint8)], axis=2)
        png = cv2.imencode(".png", rgba)[1]
        return f"data:image/png;base64,{base64.b64encode(png.tobytes()).decode('ascii')}"
    gray = cv2.cvtColor(cv2.resize(frame_bgr, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    ground = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.float32) * 0.75
    return jpeg_uri(np.asarray(ground * (1 - opacity) + colors * opacity, np.uint8), WIDTH_PX)


def heat_scale() -> str:
    """The colors from 0 to the largest share, as a CSS gradient over gray."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colors = cv2.applyColorMap(levels, _COLORS).reshape(-1, 3)
    opacities = [_MOST_OPAQUE * (level / 255) ** 0.5 for level in levels.tolist()]
    stops = [f"rgb({r} {g} {b} / {opacity:.2f})" for (b, g, r), opacity in zip(colors.tolist(), opacities, strict=True)]
    return f"linear-gradient(90deg, {', '.join(stops)})"
