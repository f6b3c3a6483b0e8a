"""Every setting with its type, default, unit and range, as frozen pydantic models. `config.yaml` mirrors the defaults.

Reading YAML and the command line is `settings_file.py`'s and `stream_segment.py`'s work; nothing here touches a file.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, SecretStr, field_validator

from pipeline.settings.kiosk import (
    AttractSettings,
    BackgroundSettings,
    EngineSettings,
    PrivacySettings,
    SlateSettings,
    VirtualCameraSettings,
)
from pipeline.settings.section import Seconds
from pipeline.settings.section import Section as Section  # this module is where others look for it


class Policy(Enum):
    """What happens when a stage cannot keep up."""

    AUTO = "auto"
    """LIVE for cameras, network streams and --realtime; RECORDED for files and images."""
    LIVE = "live"
    """The newest frame wins; older ones are dropped and counted."""
    RECORDED = "recorded"
    """Every frame is processed, in order; the reader waits."""


class PresentationMode(Enum):
    """Which frames are shown, and with which masks."""

    AUTO = "auto"
    """SMOOTH when the policy is live, EXACT when it is recorded."""
    EXACT = "exact"
    """Each inferred frame with the masks that were computed on it."""
    SMOOTH = "smooth"
    """Every captured frame with the newest masks there are, carried onto it (see `MotionSettings`)."""


class Device(Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class EngineKind(Enum):
    """What computes the network."""

    AUTO = "auto"
    """Keras on a GPU that it sees, else the fastest that is installed: OpenVINO, ONNX Runtime, Keras on the CPU."""
    KERAS = "keras"
    OPENVINO = "openvino"
    ONNX = "onnx"


class Precision(Enum):
    """In what the convolutions and matrix products of the network are computed."""

    AUTO = "auto"
    """The fastest that the engine has here: int8 only if `stream_segment.py optimize` has prepared it."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class Backend(Enum):
    """Which Keras backend runs the network."""

    AUTO = "auto"
    """The environment variable KERAS_BACKEND if set, else the first installed of tensorflow, jax, torch."""
    TENSORFLOW = "tensorflow"
    JAX = "jax"
    TORCH = "torch"


class Canvas(Enum):
    """What a frame is padded to before the network sees it."""

    TIGHT = "tight"
    """Same scale as Matterport's, padded only to the next multiple of 32 on each side."""
    PAD64 = "pad64"
    """The same to multiples of 64, as Matterport's mode of that name: then the picture lies on the cells of all levels
    up to P5 as it would on the square."""
    SQUARE = "square"
    """Matterport's max_dim x max_dim square."""


class WindowMode(Enum):
    """Whether a window is opened."""

    AUTO = "auto"
    """If the machine has a screen."""
    ON = "on"
    """An error if it has none."""
    OFF = "off"


class X264Preset(Enum):
    """How long the H.264 encoder takes to save bits, fastest first."""

    ULTRAFAST = "ultrafast"
    SUPERFAST = "superfast"
    VERYFAST = "veryfast"
    FASTER = "faster"
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"
    SLOWER = "slower"
    VERYSLOW = "veryslow"
    PLACEBO = "placebo"


class AudioMode(Enum):
    """What happens to the source's sound."""

    COPY = "copy"
    """Copied without loss where the container can hold it, else re-encoded to AAC."""
    OFF = "off"


class RtspTransport(Enum):
    """How RTSP video travels."""

    TCP = "tcp"
    UDP = "udp"


class ProgressMode(Enum):
    """How a recorded file's progress is shown."""

    AUTO = "auto"
    """A bar on a terminal, plain lines elsewhere."""
    BAR = "bar"
    LINES = "lines"
    OFF = "off"


class ReconnectSettings(Section):
    """A live source that goes away is opened again, for ever, with growing pauses."""

    enabled: bool = True
    at_start: bool = False
    read_timeout_s: Annotated[float, Field(ge=0.5, le=600.0)] = 5.0
    first_delay_s: Annotated[float, Field(ge=0.05, le=60.0)] = 0.5
    longest_delay_s: Annotated[float, Field(ge=0.05, le=3600.0)] = 30.0


class SourceSettings(Section):
    """Where frames come from."""

    uri: str = "0"
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    fps: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    realtime: bool = False
    policy: Policy = Policy.AUTO
    start_s: Seconds = 0.0
    duration_s: Annotated[float, Field(gt=0.0)] | None = None
    max_frames: Annotated[int, Field(ge=1)] | None = None
    rtsp_transport: RtspTransport = RtspTransport.TCP
    reconnect: ReconnectSettings = ReconnectSettings()


class ModelSettings(Section):
    """The network and what is kept of its results. None: what the weights file says, else the original's default."""

    weights: str | None = None
    labels: str | None = None
    max_dim: Annotated[int, Field(ge=128, le=4096, multiple_of=64)] | None = None
    canvas: Canvas = Canvas.TIGHT
    engine: EngineKind = EngineKind.AUTO
    precision: Precision = Precision.AUTO
    device: Device = Device.AUTO
    backend: Backend = Backend.AUTO
    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    workers: Annotated[int, Field(ge=1, le=16)] | None = None
    proposals: Annotated[int, Field(ge=1, le=6000)] | None = None
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    nms_threshold: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    max_instances: Annotated[int, Field(ge=1, le=1000)] | None = None
    classes: tuple[str, ...] = ()


class ColorBy(Enum):
    """What the color of an object tells."""

    CLASS = "class"
    TRACK = "track"
    """Which object it is; objects without an id have the color of their class."""


class OverlaySettings(Section):
    """What is drawn on a frame."""

    masks: bool = True
    boxes: bool = True
    labels: bool = True
    scores: bool = True
    status: bool = True
    ids: bool = False
    counts: bool = True
    places: bool = True
    color_by: ColorBy = ColorBy.CLASS
    mask_alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    mask_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    line_width: Annotated[int, Field(ge=1, le=64)] | None = None
    font_scale: Annotated[float, Field(gt=0.0, le=20.0)] | None = None


class CarryMode(Enum):
    """What becomes of masks on the frames between two results."""

    FLOW = "flow"
    """They follow the motion of their objects."""
    HOLD = "hold"
    """They stay where they were."""


class MotionSettings(Section):
    """Frames that are shown but not inferred, and the masks on them."""

    carry: CarryMode = CarryMode.FLOW
    infer_every: Annotated[int, Field(ge=1, le=1000)] = 1
    infer_fps: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    flow_width: Annotated[int, Field(ge=64, le=1280)] = 320
    max_age_s: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    blend_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.15
    fade_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.2

    @property
    def infers_all(self) -> bool:
        """Whether every frame is to be inferred."""
        return self.infer_every == 1 and self.infer_fps is None


class TrackingSettings(Section):
    """Which object of a frame is which of an earlier one. Single images are never tracked."""

    enabled: bool = True
    max_lost_s: Annotated[float, Field(ge=0.0, le=60.0)] = 2.0
    hold_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.4
    steady: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    confirm_score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    unsure_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = 0.4


class Anchor(Enum):
    """The point that stands for an object on lines and in zones."""

    BOTTOM = "bottom"
    """The middle of its box's lower edge: where it stands."""
    CENTER = "center"
    """The middle of its box."""


Coordinate = Annotated[float, Field(ge=0.0, le=16384.0, allow_inf_nan=False)]


class PlaceSettings(Section):
    """A line or zone: points (x, y), relative to the frame if none of their numbers is above 1, else in pixels."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    classes: tuple[str, ...] = ()
    anchor: Anchor = Anchor.BOTTOM


class LineSettings(PlaceSettings):
    """A line whose crossings are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=2, max_length=100)]


class ZoneSettings(PlaceSettings):
    """A zone, as a polygon, in which objects and the time that they stay are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=100)]


Place = TypeVar("Place", bound=PlaceSettings)


def _named_apart(places: tuple[Place, ...]) -> tuple[Place, ...]:
    names = [place.name for place in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the name {twice!r} is given twice")
    return places


class RecorderSettings(Section):
    """The annotated video (or images, for a source of stills)."""

    path: str | None = None
    crf: Annotated[int, Field(ge=0, le=51)] = 23
    preset: X264Preset = X264Preset.SUPERFAST
    audio: AudioMode = AudioMode.COPY
    fragment_s: Annotated[float, Field(ge=0.1, le=60.0)] = 1.0
    segment_s: Annotated[float, Field(ge=1.0, le=86400.0)] | None = None
    keep_bytes: Annotated[int, Field(ge=1_000_000)] | None = None
    keep_s: Annotated[float, Field(ge=1.0)] | None = None
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000


class DetectionsSettings(Section):
    """The machine-readable results: one JSON line a frame."""

    path: str | None = None
    masks: bool = True
    events: bool = False


class WindowSettings(Section):
    """The window on this machine's screen."""

    mode: WindowMode = WindowMode.AUTO
    fullscreen: bool = False
    monitor: Annotated[int, Field(ge=0, le=63)] | None = None
    cursor: bool = True
    title: str = "stream_segment"
    stills_dir: str = "."


class ServeSettings(Section):
    """The page on which a run is watched in a browser. It is served when there is an address."""

    address: str | None = None
    token: Annotated[SecretStr, Field(min_length=12, max_length=256)] | None = None
    allowed_hosts: tuple[str, ...] = ()
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 80
    max_width: Annotated[int, Field(ge=64, le=16384)] | None = 1280
    max_viewers: Annotated[int, Field(ge=1, le=1000)] = 32
    stalled_after_s: Annotated[float, Field(ge=0.1, le=3600.0)] = 10.0
    record_dir: str = "."

    @field_validator("address")
    @classmethod
    def _address_has_a_port(cls, address: str | None) -> str | None:
        if address is not None:
            split_address(address)
        return address


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "8080", "0.0.0.0:8080" or "[::1]:8080"; without a host, this machine. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or (colon and not bare):
        raise ValueError("expected [HOST:]PORT such as 8080 or 0.0.0.0:8080")
    if ":" in bare and host == bare:
        raise ValueError("an IPv6 address goes in brackets, such as [::1]:8080")
    return bare or "127.0.0.1", int(port)


class Settings(Section):
    """All settings of a run."""

    source: SourceSettings = SourceSettings()
    model: ModelSettings = ModelSettings()
    presentation: PresentationMode = PresentationMode.AUTO
    motion: MotionSettings = MotionSettings()
    tracking: TrackingSettings = TrackingSettings()
    lines: Annotated[tuple[LineSettings, ...], AfterValidator(_named_apart)] = ()
    zones: Annotated[tuple[ZoneSettings, ...], AfterValidator(_named_apart)] = ()
    privacy: PrivacySettings = PrivacySettings()
    background: BackgroundSettings = BackgroundSettings()
    overlay: OverlaySettings = OverlaySettings()
    output: RecorderSettings = RecorderSettings()
    detections: DetectionsSettings = DetectionsSettings()
    window: WindowSettings = WindowSettings()
    virtual_camera: VirtualCameraSettings = VirtualCameraSettings()
    slate: SlateSettings = SlateSettings()
    attract: AttractSettings = AttractSettings()
    engine: EngineSettings = EngineSettings()
    serve: ServeSettings = ServeSettings()
    progress: ProgressMode = ProgressMode.AUTO
