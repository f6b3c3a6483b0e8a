"""Settings of the presentation: which frames are shown, propagated masks, tracking."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from pipeline.settings.section import Section


class PresentationMode(Enum):
    """Which frames are shown, with which masks."""

    AUTO = "auto"
    """SMOOTH if the policy is live, EXACT if it is recorded."""
    EXACT = "exact"
    """Each inferred frame with the masks that were computed on it."""
    SMOOTH = "smooth"
    """Every captured frame with the newest masks, propagated to it (see `MotionSettings`)."""


class CarryMode(Enum):
    """How masks are propagated to the frames between two results."""

    FLOW = "flow"
    """They follow the optical flow."""
    HOLD = "hold"
    """They stay in place."""


class MotionSettings(Section):
    """Frames that are shown without inference, and the masks on them."""

    carry: CarryMode = CarryMode.FLOW
    infer_every: Annotated[int, Field(ge=1, le=1000)] = 1
    infer_fps: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    flow_width: Annotated[int, Field(ge=64, le=1280)] = 320
    max_age_s: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    blend_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.15
    fade_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.2

    @property
    def infers_all(self) -> bool:
        """Whether every frame is inferred."""
        return self.infer_every == 1 and self.infer_fps is None


class TrackingSettings(Section):
    """Associates objects across frames. Single images are never tracked."""

    enabled: bool = True
    max_lost_s: Annotated[float, Field(ge=0.0, le=60.0)] = 2.0
    hold_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.4
    smoothing: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    confirm_score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    low_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = 0.4
