"""The parts of the page about one recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pipeline.drawing.palette import PALETTE
from pipeline.drawing.places import LINE_BGR, ZONE_BGR
from pipeline.labels import plural
from pipeline.report import plots
from pipeline.report.heat_picture import heat_scale, heat_uri
from pipeline.report.markup import Markup, element, joined, legend, note, numbers, section, table
from pipeline.report.moments import notable_moments
from pipeline.report.pictures import PictureSource, jpeg_uri
from pipeline.report.plots import class_css_color, clock_text, css_color
from pipeline.report.statistics import LineCrossings, Recording, ZoneStays
from pipeline.scene import Direction
from pipeline.settings.presentation_settings import PlaceSettings
from pipeline.tracking.watch import Point, closed, in_pixels

MOST_CLASSES = 6
"""So many classes have a plot of their objects over time, those with the most objects; the table has all."""
LEAST_PLOTTED = 4
"""Fewer crossings or stays stand in the table only."""
THUMBNAIL_PX = 420


def facts(recording: Recording) -> str:
    """Such as "300 frames in 0:12.0, 640x360"."""
    if recording.stills:
        return plural(recording.frames, "image")
    width, height = recording.size_wh
    return f"{plural(recording.frames, 'frame')} in {clock_text(recording.duration, 0.1)}, {width}x{height}"


def counts_text(counts: Counter[str], most: int = MOST_CLASSES) -> str:
    """Such as "3 people, 1 bus and 2 more classes"; "" for none."""
    texts = [plural(count, label) for label, count in counts.most_common(most) if count > 0]
    more = len(+counts) - most
    texts += [f"{more} more {'class' if more == 1 else 'classes'}"] if more > 0 else []
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def answer(recording: Recording) -> Markup:
    """What a reader wants to know first, in a few sentences."""
    lines = [_seen(recording)]
    if recording.most and recording.stills:
        lines.append(f"At most {recording.most} in one image, the first of them {when(recording, recording.most_at)}.")
    elif recording.most:
        first = when(recording, min(one.first for one in recording.classes))
        last = when(recording, max(one.last for one in recording.classes))
        most_at = when(recording, recording.most_at)
        lines.append(
            f"At most {recording.most} at once, at {most_at}. The first in view at {first}, the last at {last}."
        )
    lines += [crossings_text(name, line) for name, line in recording.lines.items()]
    lines += [stays_text(name, zone) for name, zone in recording.zones.items()]
    return element("section", *(element("p", line) for line in lines), class_="answer")


def sections(recording: Recording, pictures: PictureSource, moments: int) -> list[Markup | None]:
    """Plots, pictures and tables; `moments` is the most pictures."""
    return [
        _over_time(recording),
        _moments(recording, pictures, moments),
        _where(recording, pictures),
        _lines(recording),
        _zones(recording),
        _tracks(recording),
        _frames(recording),
    ]


def when(recording: Recording, at: float) -> str:
    """A time in a recording, such as "0:12.3"; of images, such as "image 12"."""
    return f"image {at + 1:.0f}" if recording.stills else clock_text(at, 0.1)


def _seen(recording: Recording) -> str:
    if not recording.classes:
        return "Nothing was found."
    text = counts_text(recording.counts)
    if recording.track_count:
        return f"{text} seen."
    if recording.stills:
        return f"{text} in {plural(recording.frames, 'image')}."
    where = plural(recording.frames, "frame")
    return f"{text} found in {where}; nothing was tracked, so that each frame counts its own."


def crossings_text(name: str, line: LineCrossings) -> str:
    """Such as "door: 3 crossed, 2 in and 1 out."."""
    inward, outward = line.counts[Direction.IN], line.counts[Direction.OUT]
    return f"{name}: {inward + outward} crossed, {inward} in and {outward} out."


def stays_text(name: str, zone: ZoneStays) -> str:
    """Such as "desk: 3 entered, stayed 4.0 s on average, 9.1 s at most."."""
    times = []
    if zone.dwell_s:
        times.append(f"{sum(zone.dwell_s) / len(zone.dwell_s):.1f} s on average")
    if zone.longest_s > 0:
        times.append(f"{zone.longest_s:.1f} s at most")
    return f"{name}: {zone.entered} entered" + (f", stayed {', '.join(times)}." if times else ".")


def _over_time(recording: Recording) -> Markup | None:
    classes = sorted(recording.classes, key=lambda one: -one.found)
    if not classes:
        return None
    height_px = plots.HIGH_PX if len(classes) == 1 else plots.LOW_PX
    parts: list[Markup] = []
    for one in classes[:MOST_CLASSES]:
        name, color = one.label, class_css_color(one.class_id)
        draw = partial(plots.in_view_plot, recording.in_view, name, color, not recording.stills, height_px)
        parts += [legend([(name, color)]), _plot(draw)]
    heads = ["class", "seen" if recording.track_count else "found", "most at once", "at", "first", "last"]
    rows = [
        [
            one.label,
            str(one.tracks if recording.track_count else one.found),
            str(one.most),
            *(when(recording, at) for at in (one.most_at, one.first, one.last)),
        ]
        for one in classes
    ]
    return section(
        "In view",
        *parts,
        note("The plots show the classes with the most objects.") if len(classes) > MOST_CLASSES else None,
        table(heads, rows) if len(classes) > 1 else None,
    )


def _moments(recording: Recording, pictures: PictureSource, most: int) -> Markup | None:
    figures = []
    for moment in notable_moments(recording, most) if not recording.stills else ():
        image = pictures.picture(moment.at)
        if image is None:
            continue
        caption = element("figcaption", element("b", when(recording, moment.at)), " ", moment.text)
        figures.append(element("figure", element("img", src=jpeg_uri(image, THUMBNAIL_PX), alt=moment.text), caption))
    if not figures:
        return None
    return section("Moments", element("div", *figures, class_="moments"), note(pictures.text))


def _where(recording: Recording, pictures: PictureSource) -> Markup | None:
    if recording.stills or recording.heat is None or not recording.heat.max() > 0:
        return None  # images show different scenes
    ground = pictures.picture(recording.fewest_at)
    image = element("img", src=heat_uri(recording.heat, ground), alt="heat map")
    most = f"{recording.heat.max():.0%} of the time"
    scale = element("div", "0 %", element("i", style=f"background: {heat_scale()}"), most, class_="scale")
    remark = None if ground is not None else note(f"No pictures: {pictures.text}.")
    return section("Where", element("div", image, _outlines(recording), class_="heat"), scale, remark)


def _outlines(recording: Recording) -> Markup | None:
    """The lines and zones, to lie over a picture of the scene."""
    if recording.run is None or not (recording.run.lines or recording.run.zones):
        return None
    width, height = recording.size_wh
    lines = [(line, in_pixels(line.points, height, width), LINE_BGR) for line in recording.run.lines]
    zones = [(zone, closed(in_pixels(zone.points, height, width)), ZONE_BGR) for zone in recording.run.zones]
    outlines = (_outline(place, points, css_color(color), width) for place, points, color in [*zones, *lines])
    return element("svg", *outlines, viewBox=f"0 0 {width} {height}")


def _outline(place: PlaceSettings, points: Sequence[Point], color: str, width: int) -> Markup:
    # Not at the top, where a recording has the name already.
    x, y = (sum(values) / len(values) for values in zip(*points, strict=True))
    size = width / 40
    return joined(
        element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), stroke=color),
        element(
            "text",
            place.name,
            x=f"{x:.1f}",
            y=f"{y:.1f}",
            font_size=f"{size:.1f}",
            stroke_width=f"{size / 6:.1f}",
            text_anchor="middle",
        ),
    )


def _lines(recording: Recording) -> Markup | None:
    if not recording.lines:
        return None
    rows = [
        [
            name,
            *(str(line.counts[direction]) for direction in Direction),
            *("-" if at is None else when(recording, at) for at in (line.first, line.last)),
        ]
        for name, line in recording.lines.items()
    ]
    parts = [table(["line", "in", "out", "first", "last"], rows)]
    if sum(line.counts.total() for line in recording.lines.values()) >= LEAST_PLOTTED:
        colors = {name: css_color(PALETTE[i % len(PALETTE)]) for i, name in enumerate(recording.lines)}
        parts += [
            element("h3", "Crossings so far: in, and out dashed"),
            legend(colors.items()),
            _plot(lambda width: plots.crossings_plot(recording.crossings, colors, width)),
        ]
    return section("Lines", *parts)


def _zones(recording: Recording) -> Markup | None:
    if not recording.zones:
        return None
    heads = ["zone", "entered", "inside at the end", "mean stay", "median", "longest", "until"]
    parts = [table(heads, ([name, *_stay_texts(recording, zone)] for name, zone in recording.zones.items()))]
    stays: dict[str, Sequence[float]] = {name: zone.dwell_s for name, zone in recording.zones.items() if zone.dwell_s}
    if sum(map(len, stays.values())) >= LEAST_PLOTTED:
        colors = {name: css_color(PALETTE[i % len(PALETTE)]) for i, name in enumerate(recording.zones)}
        parts += [
            element("h3", "Stays by length"),
            legend((name, colors[name]) for name in stays),
            _plot(lambda width: plots.dwell_plot(stays, colors, width)),
        ]
    return section("Zones", *parts)


def _stay_texts(recording: Recording, zone: ZoneStays) -> list[str]:
    texts = ["-"] * 4
    if zone.dwell_s:
        ordered = sorted(zone.dwell_s)
        median_s = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        texts[:2] = f"{sum(ordered) / len(ordered):.1f} s", f"{median_s:.1f} s"
    if zone.longest_s > 0:
        texts[2:] = f"{zone.longest_s:.1f} s", when(recording, zone.longest_until)
    return [str(zone.entered), str(len(zone.inside)), *texts]


def _tracks(recording: Recording) -> Markup | None:
    if not recording.tracks or not recording.duration > 0:
        return None
    shown = {track.class_id for track in recording.tracks}
    return section(
        "Tracks",
        legend((one.label, class_css_color(one.class_id)) for one in recording.classes if one.class_id in shown),
        _plot(lambda width: plots.tracks_plot(recording.tracks, recording.duration, width)),
        note(
            f"{plural(recording.track_count, 'track')}, the longest ones drawn from their first to their last "
            "appearance. Somebody who is lost and found again counts as a new one."
        ),
    )


def _frames(recording: Recording) -> Markup:
    values = {"images" if recording.stills else "frames": str(recording.frames)}
    if recording.fps is not None:
        values["frame rate"] = f"{recording.fps:.1f} fps"
        values["missing frames"] = str(recording.missing)
    if recording.latency_p50_s is not None and recording.latency_p95_s is not None:
        values["latency, median"] = f"{1000 * recording.latency_p50_s:.0f} ms"
        values["latency, 95 % within"] = f"{1000 * recording.latency_p95_s:.0f} ms"
    return section("Frames", numbers(values))


def _plot(draw: Callable[[int], Markup]) -> Markup:
    """A plot twice, of which the page shows the one that fits."""
    drawn = {"wide": draw(plots.WIDE_PX), "narrow": draw(plots.NARROW_PX)}
    return element("div", *(element("div", svg, class_=name) for name, svg in drawn.items()), class_="plot")
