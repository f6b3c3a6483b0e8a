"""Settings of the outputs: overlay, recordings, detections, page, window, virtual camera, progress."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.safe_uri import MASK
from pipeline.settings.section import LocalPath, Section, VariableName, with_variables

MIN_TOKEN_LENGTH, MAX_TOKEN_LENGTH = 12, 256


X264Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]
"""The H.264 encoder's trade-off between speed and file size, fastest first."""


class AudioMode(Enum):
    """What happens to the source's audio."""

    AUTO = "auto"
    """Like copy, but off while privacy is on: a voice identifies people as well."""
    COPY = "copy"
    """Copied losslessly if the container supports the codec, otherwise re-encoded to AAC."""
    OFF = "off"


class ProgressMode(Enum):
    """How to show the progress of a recorded source."""

    AUTO = "auto"
    """A bar on a terminal, plain lines elsewhere."""
    BAR = "bar"
    LINES = "lines"
    OFF = "off"


class RecorderSettings(Section):
    """The annotated video, or images for a source of stills."""

    path: LocalPath | None = None
    overwrite: bool = False
    crf: Annotated[int, Field(ge=0, le=51)] = 23
    preset: X264Preset = "superfast"
    audio: AudioMode = AudioMode.AUTO
    fragment_s: Annotated[float, Field(ge=0.1, le=60.0)] = 1.0
    segment_s: Annotated[float, Field(ge=1.0, le=86400.0)] | None = None
    keep_bytes: Annotated[int, Field(ge=1_000_000)] | None = None
    keep_s: Annotated[float, Field(ge=1.0)] | None = None
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000
    record_dir: LocalPath = "."


class DetectionsSettings(Section):
    """The machine-readable results: one line of JSON per frame."""

    path: LocalPath | None = None
    masks: bool = True
    events: bool = False


class ServeSettings(Section):
    """The browser page of a run; served if `address` is set."""

    address: str | None = None
    token: Annotated[SecretStr, Field(min_length=MIN_TOKEN_LENGTH, max_length=MAX_TOKEN_LENGTH)] | None = None
    token_env: VariableName | None = None
    allowed_hosts: tuple[str, ...] = ()
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 80
    max_width: Annotated[int, Field(ge=64, le=16384)] | None = 1280
    max_viewers: Annotated[int, Field(ge=1, le=1000)] = 32
    stalled_after_s: Annotated[float, Field(ge=0.1, le=3600.0)] = 10.0
    edit_cameras: bool = False
    camera_sources: tuple[str, ...] = ()
    cameras_file: LocalPath | None = None

    @model_validator(mode="before")
    @classmethod
    def _token_from_environment(cls, values: Any) -> Any:
        return with_variables(values, "token")

    @field_validator("token")
    @classmethod
    def _token_is_not_masked(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and MASK in token.get_secret_value():
            raise ValueError(f"expected a token, not a masked one ({MASK})")
        return token

    @field_validator("address")
    @classmethod
    def _address_has_a_port(cls, address: str | None) -> str | None:
        if address is not None:
            split_address(address)
        return address


def split_address(address: str) -> tuple[str, int]:
    """Splits "8080", "0.0.0.0:8080" or "[::1]:8080" into host, by default 127.0.0.1, and port. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or (colon and not bare):
        raise ValueError("expected [HOST:]PORT such as 8080 or 0.0.0.0:8080")
    if ":" in bare and host == bare:
        raise ValueError("an IPv6 address needs brackets, such as [::1]:8080")
    return bare or "127.0.0.1", int(port)


class VirtualCameraSettings(Section):
    """A camera for other programs; created if `device` is set."""

    device: Annotated[str, Field(min_length=1)] | None = None


class WindowMode(Enum):
    """When to open a window."""

    AUTO = "auto"
    """Open one if the machine has a screen."""
    ON = "on"
    """Open one, or fail without a screen."""
    OFF = "off"


class PlaySpeed(Enum):
    """How fast the window plays a video file."""

    FILE = "file"
    """At its own speed, or slower where the machine needs longer."""
    FULL = "full"
    """As fast as it is segmented."""


class ColorBy(Enum):
    """What determines the color of an object."""

    AUTO = "auto"
    """The class where a video is segmented by a model with several classes, else the object."""
    CLASS = "class"
    TRACK = "track"
    """Its track id; objects without one are colored like INSTANCE."""
    INSTANCE = "instance"
    """The object: those in view differ as far as the palette goes."""


class Look(Enum):
    """A set of switches; the other settings of the overlay lie over it."""

    LABELS = "labels"
    """Masks and labels with scores."""
    CLEAN = "clean"
    """Masks without text; nothing but the background or the redaction where there is one."""
    DEBUG = "debug"
    """Everything: boxes, ids and the whole status line as well."""
    CALL = "call"
    """Nothing is drawn; the background is blurred, or what `background.mode` says."""
    TUTORIAL = "tutorial"
    """The drawing of examples/maskrcnn_predict.py."""


SWITCHES = ("masks", "boxes", "labels", "scores", "ids", "status", "places")
_SWITCHED_ON: dict[Look, tuple[str, ...]] = {
    Look.LABELS: ("masks", "labels", "scores", "places"),
    Look.CLEAN: ("masks", "places"),
    Look.DEBUG: SWITCHES,
    Look.CALL: (),
    Look.TUTORIAL: ("masks", "boxes", "labels", "scores"),
}


class OverlaySettings(Section):
    """What to draw on a frame. A switch that is not set is as the look has it."""

    look: Look = Look.LABELS
    masks: bool = True
    boxes: bool = False
    labels: bool = True
    scores: bool = True
    status: bool = False
    ids: bool = False
    counts: bool = True
    places: bool = True
    color_by: ColorBy = ColorBy.AUTO
    mask_alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.35
    mask_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    line_width: Annotated[int, Field(ge=1, le=64)] | None = None
    text_size: Annotated[float, Field(ge=6.0, le=400.0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _switches_of_the_look(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {key: value for key, value in values.items() if not (key in ("look", *SWITCHES) and value is None)}
        try:
            look = Look(given.get("look", Look.LABELS))
        except ValueError:
            return given  # the field says what is wrong
        switches = {name: name in _SWITCHED_ON[look] for name in SWITCHES}
        if given.get("masks") is False:
            switches["boxes"] = switches["masks"]  # boxes stand in for masks that were switched off
        return switches | given


class WindowSettings(Section):
    """The window on this machine's screen."""

    mode: WindowMode = WindowMode.AUTO
    speed: PlaySpeed = PlaySpeed.FILE
    status: bool = True
    fullscreen: bool = False
    monitor: Annotated[int, Field(ge=0, le=63)] | None = None
    cursor: bool = True
    rotate_s: Annotated[float, Field(ge=1.0, le=86400.0)] | None = None
    title: str = "stream_segment"
    stills_dir: LocalPath = "."


class SlateSettings(Section):
    """The messages shown while there is no picture. `source` None shows the program's own message."""

    source: str | None = None
    loading: str = "loading the model"
    restarting: str = "starting the model again"


class AttractSettings(Section):
    """What the window shows after nobody was seen for a while."""

    after_s: Annotated[float, Field(gt=0.0, le=86400.0)] | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("person",)
    text: str = "Come closer!"
    picture: LocalPath | None = None
    video: LocalPath | None = None
    logo: LocalPath | None = None
