"""Settings of the source, its pacing and its reconnection."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipeline.safe_uri import SourceUri
from pipeline.settings.section import Seconds, Section, VariableName, with_variables


class Policy(Enum):
    """What happens if a stage cannot keep up."""

    AUTO = "auto"
    """LIVE for cameras, network streams and --realtime; RECORDED for files and images."""
    LIVE = "live"
    """The newest frame wins; older ones are dropped and counted."""
    RECORDED = "recorded"
    """Every frame is processed, in order; the reader waits."""


class RtspTransport(Enum):
    """The transport protocol of RTSP video."""

    TCP = "tcp"
    UDP = "udp"


class ReconnectSettings(Section):
    """A lost live source is reopened indefinitely with exponential backoff."""

    enabled: bool = True
    at_start: bool = False
    read_timeout_s: Annotated[float, Field(ge=0.5, le=600.0)] = 5.0
    first_delay_s: Annotated[float, Field(ge=0.05, le=60.0)] = 0.5
    longest_delay_s: Annotated[float, Field(ge=0.05, le=3600.0)] = 30.0


class SourceSettings(Section):
    """The source of frames, and the part of it to use."""

    uri: SourceUri = SourceUri("0")
    uri_env: VariableName | None = None
    detect_uri: SourceUri | None = None
    detect_uri_env: VariableName | None = None
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    fps: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    realtime: bool = False
    loop: bool = False
    policy: Policy = Policy.AUTO
    start_s: Seconds = 0.0
    duration_s: Annotated[float, Field(gt=0.0)] | None = None
    max_frames: Annotated[int, Field(ge=1)] | None = None
    rtsp_transport: RtspTransport = RtspTransport.TCP
    reconnect: ReconnectSettings = ReconnectSettings()

    @model_validator(mode="before")
    @classmethod
    def _uri_from_environment(cls, values: Any) -> Any:
        return with_variables(with_variables(values, "uri"), "detect_uri")
