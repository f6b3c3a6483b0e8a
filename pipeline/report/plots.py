"""Plots as SVG for a page with a light and a dark theme. They hold numbers and our own words, and no names."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.drawing.overlay import class_color
from pipeline.drawing.palette import INK, PALETTE, ColorBgr
from pipeline.errors import InputError
from pipeline.installation import install_command
from pipeline.report.markup import Markup
from pipeline.report.statistics import Track, crossing_name
from pipeline.report.time_bins import TimeSeries
from pipeline.scene import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE_PX, NARROW_PX = 1100, 330
"""Widths at which a plot is drawn once each, so that its text has the same size on a phone and on a screen."""
HIGH_PX, LOW_PX = 190, 86
"""Heights of a plot by itself, and of one of several below each other."""
MOST_LANES = 40
_TEXT, _GRID, _GAP = "#010203", "#010204", "#010205"
_THEME = {_TEXT: "var(--soft)", _GRID: "var(--line)", _GAP: "var(--card)"}
"""Colors that the plots are drawn with, and the page's variables that replace them."""
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def check_library(what: str = "the page") -> None:
    """Raises InputError if Matplotlib, which `what` needs, is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(f"{what} needs Matplotlib: {install_command('report')}") from None


def css_color(color_bgr: ColorBgr) -> str:
    """A color as #rrggbb."""
    blue, green, red = color_bgr
    return f"#{red:02x}{green:02x}{blue:02x}"


def class_css_color(class_id: int) -> str:
    """The color that the class has in the video, as #rrggbb."""
    return css_color(PALETTE[class_color(class_id)])


def in_view_plot(series: TimeSeries, name: str, color: str, is_time: bool, height_px: int, width_px: int) -> Markup:
    """Steps of the most objects at once, of one name in the series."""
    figure, axes = _figure(width_px, height_px)
    values = series.values[name]
    start = 0.0 if is_time else 0.5  # the step of image 1 is around 1
    edges = np.arange(len(values) + 1) * series.width + start
    axes.stairs(values, edges, fill=True, color=color, alpha=0.35)
    axes.stairs(values, edges, color=color, linewidth=1.6)
    if is_time:
        _time_axis(axes, series.until, width_px)
    else:
        _image_axis(axes, start, series.until + start, width_px)
    _count_axis(axes, 4 if height_px == HIGH_PX else 2)
    return _svg(figure)


def crossings_plot(series: TimeSeries, colors: Mapping[str, str], width_px: int) -> Markup:
    """Crossings so far of each line in `colors`: in, and out dashed."""
    figure, axes = _figure(width_px, HIGH_PX)
    for name, color in colors.items():
        for direction, style in ((Direction.IN, "-"), (Direction.OUT, (0, (3, 2)))):
            values = series.values.get(crossing_name(name, direction))
            if values is not None:
                edges = np.arange(len(values) + 1) * series.width
                axes.stairs(np.cumsum(values), edges, baseline=None, color=color, linewidth=2, linestyle=style)
    _time_axis(axes, series.until, width_px)
    _count_axis(axes)
    return _svg(figure)


def dwell_plot(dwell_s: Mapping[str, Sequence[float]], colors: Mapping[str, str], width_px: int) -> Markup:
    """A histogram of dwell times, with a bar for each zone."""
    figure, axes = _figure(width_px, HIGH_PX)
    axes.hist(
        [list(times) for times in dwell_s.values()],
        bins=min(20, max(map(len, dwell_s.values())) + 4),
        range=(0, max(1.0, max(max(times) for times in dwell_s.values()))),
        color=[colors[name] for name in dwell_s],
    )
    axes.set_xlabel("seconds", color=_TEXT)
    _count_axis(axes)
    return _svg(figure)


def tracks_plot(tracks: Sequence[Track], until: float, width_px: int) -> Markup:
    """A bar from the first to the last appearance of each object, as many in a lane as fit one after another."""
    least = 0.004 * until if width_px == WIDE_PX else 0.012 * until
    lanes: list[float] = []
    drawn: list[tuple[int, Track, float]] = []
    for track in tracks:
        length = max(track.last - track.first, least)
        lane = next((i for i, end in enumerate(lanes) if end + least / 2 <= track.first), len(lanes))
        if lane == MOST_LANES:
            continue
        lanes[lane : lane + 1] = [track.first + length]
        drawn.append((lane, track, length))
    figure, axes = _figure(width_px, 46 + 15 * len(lanes))
    axes.barh(
        [lane for lane, _, _ in drawn],
        [length for _, _, length in drawn],
        left=[track.first for _, track, _ in drawn],
        height=0.86,
        color=[class_css_color(track.class_id) for _, track, _ in drawn],
    )
    for lane, track, length in drawn:
        if length / until * width_px > 9 * len(str(track.track_id)):
            axes.text(
                track.first + length / 2, lane, str(track.track_id), color=css_color(INK), fontsize=9, ha="center",
                va="center_baseline",
            )  # fmt: skip
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _time_axis(axes, until, width_px)
    return _svg(figure)


def _figure(width_px: int, height_px: int) -> tuple[Figure, Axes]:
    import matplotlib
    from matplotlib.figure import Figure

    # A point of the SVG is a pixel of the page.
    with matplotlib.rc_context({"font.size": 12, "font.family": "sans-serif"}):
        figure = Figure(figsize=(width_px / 72, height_px / 72), layout="constrained")
        axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID)
    axes.tick_params(colors=_TEXT, which="both", color=_GRID)
    axes.grid(color=_GRID, linewidth=0.8, axis="x")
    axes.set_axisbelow(True)
    return figure, axes


def _time_axis(axes: Axes, until: float, width_px: int) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_xlim(0, max(until, 1e-3))
    ticks = _tick_count(width_px)
    step = next((step for step in _STEPS_S if until / step <= ticks), until / ticks)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: clock_text(at, step)))


def _image_axis(axes: Axes, first: float, last: float, width_px: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(MaxNLocator(_tick_count(width_px), integer=True))
    axes.set_xlabel("image", color=_TEXT)


def _tick_count(width_px: int) -> int:
    return 10 if width_px == WIDE_PX else 5


def clock_text(seconds: float, step: float = 1.0) -> str:
    """A time as m:ss or h:mm:ss, with tenths where the ticks are closer than a second."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    text = f"{rest // 10:02d}" + (f".{rest % 10}" if step < 1 else "")
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def _count_axis(axes: Axes, ticks: int = 4) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=True, min_n_ticks=1))
    axes.grid(color=_GRID, linewidth=0.8, axis="y")


def _svg(figure: Figure) -> Markup:
    import matplotlib

    content = io.BytesIO()
    # Text stays text, in the page's font. Ids are hashes of what they name and of the salt: a hidden plot has others.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": str(figure.get_figwidth())}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = content.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*; ", "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    for drawn, variable in _THEME.items():
        text = text.replace(drawn, variable)
    return Markup(text)
