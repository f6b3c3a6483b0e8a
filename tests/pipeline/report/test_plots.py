"""The plots as SVG: well-formed, in the theme's colors, and what they draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from array import array
from functools import cache

import pytest

from pipeline.drawing.palette import PALETTE
from pipeline.errors import InputError
from pipeline.report import plots
from pipeline.report.plots import (
    HIGH_PX,
    LOW_PX,
    NARROW_PX,
    WIDE_PX,
    class_css_color,
    clock_text,
    crossings_plot,
    css_color,
    dwell_plot,
    in_view_plot,
    tracks_plot,
)
from pipeline.report.statistics import Track
from tests.pipeline.report.recordings import NASTY, eventful

SVG = "{http://www.w3.org/2000/svg}"


@cache
def drawn():
    """Each kind of plot in both widths, with its width."""
    return tuple(_drawn())


def _drawn():
    found = eventful(label=NASTY, line_name=NASTY, zone_name=NASTY)
    for width in (WIDE_PX, NARROW_PX):
        yield width, in_view_plot(found.in_view, NASTY, "#123456", True, HIGH_PX, width)
        yield width, in_view_plot(found.in_view, "bus", "#123456", False, LOW_PX, width)
        yield width, crossings_plot(found.crossings, {NASTY: "#123456"}, width)
        yield width, dwell_plot({NASTY: found.zones[NASTY].dwell_s}, {NASTY: "#123456"}, width)
        yield width, tracks_plot(found.tracks, found.duration, width)


def test_all_plots_are_svg_of_their_width_without_names_and_addresses():
    for width, svg in drawn():
        tree = ET.fromstring(svg)
        assert tree.tag == f"{SVG}svg"
        assert tree.attrib["viewBox"].split()[2] == str(width)
        assert "width" not in tree.attrib
        assert "script" not in svg
        assert set(re.findall(r"https?://[^\"]*", svg)) == {
            "http://www.w3.org/1999/xlink",
            "http://www.w3.org/2000/svg",
        }
        assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', svg))


def test_text_and_grid_have_the_colors_of_the_theme():
    for _, svg in drawn():
        assert "#01020" not in svg
        assert "var(--soft)" in svg
        assert "var(--line)" in svg
        fills = {text.attrib["style"].rpartition("fill: ")[2] for text in ET.fromstring(svg).iter(f"{SVG}text")}
        assert fills <= {"var(--soft)", css_color((12, 10, 8))}


def test_the_same_plot_has_the_same_bytes():
    again = _drawn()
    assert [next(again) for _ in range(5)] == list(drawn()[:5])


def test_a_class_has_the_color_that_it_has_in_the_video():
    blue, green, red = PALETTE[1]
    assert class_css_color(2) == f"#{red:02x}{green:02x}{blue:02x}"
    assert class_css_color(2) in tracks_plot([Track(1, 2, 0, 5)], 10, WIDE_PX)


def bars(svg, color):
    """left, top, right, bottom of the filled rectangles of a color, in pixels of the plot."""
    found = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        if f"fill: {color}" in path.attrib.get("style", ""):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
            xs, ys = numbers[0::2], numbers[1::2]
            found.append((min(xs), min(ys), max(xs), max(ys)))
    return found


def test_tracks_share_a_lane_only_if_they_do_not_overlap():
    tracks = [Track(1, 1, 0, 40), Track(2, 1, 30, 60), Track(3, 1, 50, 100), Track(4, 2, 70, 70)]
    svg = tracks_plot(tracks, 100, WIDE_PX)
    first, second, third = sorted(bars(svg, class_css_color(1)))
    (fourth,) = bars(svg, class_css_color(2))
    assert first[1::2] == third[1::2]
    assert second[1::2] == fourth[1::2]
    assert first[3] <= second[1]
    scale = (first[2] - first[0]) / 40
    assert third[2] - third[0] == pytest.approx(50 * scale, rel=0.01)
    assert second[0] - first[0] == pytest.approx(30 * scale, rel=0.01)
    assert fourth[2] - fourth[0] > 3  # still visible
    labels = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"1", "2", "3"} <= set(labels)


def test_lanes_are_limited(monkeypatch):
    monkeypatch.setattr(plots, "MOST_LANES", 3)
    svg = tracks_plot([Track(i, 1, 0, 10) for i in range(1, 9)], 10, WIDE_PX)
    assert len(bars(svg, class_css_color(1))) == 3


def test_stays_are_counted():
    svg = dwell_plot({"desk": array("d", [1, 1, 1, 9])}, {"desk": "#123456"}, WIDE_PX)
    heights = sorted(bottom - top for _, top, _, bottom in bars(svg, "#123456") if bottom > top)
    assert len(heights) == 2
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0, 1, "0:00"),
        (59.96, 1, "1:00"),
        (75.26, 0.5, "1:15.3"),
        (3600, 60, "1:00:00"),
        (7384.2, 0.1, "2:03:04.2"),
    ],
)
def test_times(seconds, step, text):
    assert clock_text(seconds, step) == text


def test_without_matplotlib_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"the page needs Matplotlib: pip install -e \"\.\[report\]\""):
        plots.check_library()
