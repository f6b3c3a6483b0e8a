"""What the page says about one recording."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.report.pictures import PictureSource
from pipeline.report.sections import answer, counts_text, facts, sections
from tests.pipeline.report.recordings import eventful, recording
from tests.pipeline.report.stored import RUN, line, one
from tests.pipeline.report.test_markup import Reader

NO_PICTURES = PictureSource(None, text="no video of this run")


class Pictures:
    """Gives the same picture at all times, and keeps the times."""

    text = "pictures: out.mp4, which the run recorded"

    def __init__(self):
        self.times = []

    def picture(self, at):
        self.times.append(at)
        return np.full((40, 64, 3), 90, np.uint8)


def test_the_answer_comes_first():
    text = Reader(answer(eventful())).text
    assert text == (
        "1 person and 1 bus seen."
        "At most 2 at once, at 0:02.0. The first in view at 0:00.0, the last at 0:10.0."
        "door: 7 crossed, 4 in and 3 out."
        "desk: 0 entered, stayed 3.0 s on average, 5.0 s at most."
    )


def test_nothing_was_found():
    found = recording(line(0), line(1))
    assert Reader(answer(found)).text == "Nothing was found."
    assert [Reader(part).text[:6] for part in sections(found, NO_PICTURES, 12) if part is not None] == ["Frames"]


def test_without_tracks_objects_are_counted_by_frame():
    found = recording(line(0, one()), line(1, one(), one()))
    assert Reader(answer(found)).text.startswith(
        "3 people found in 2 frames; nothing was tracked, so that each frame counts its own."
    )


def test_images_have_numbers_and_no_times():
    images = recording(line(0, run=RUN | {"kind": "stills"}), line(1, one(), one()), line(2, one()))
    assert facts(images) == "3 images"
    assert Reader(answer(images)).text == "3 people in 3 images.At most 2 in one image, the first of them image 2."
    headings = [Reader(part).text[:7] for part in sections(images, NO_PICTURES, 12) if part is not None]
    assert headings == ["In view", "Framesi"]


@pytest.mark.parametrize(
    ("counts", "most", "text"),
    [
        ({}, 6, ""),
        ({"person": 0}, 6, ""),
        ({"person": 1}, 6, "1 person"),
        ({"bus": 1, "person": 3}, 6, "3 people and 1 bus"),
        ({"a": 5, "b": 4, "c": 3}, 6, "5 as, 4 bs and 3 cs"),
        ({"a": 5, "b": 4, "c": 3}, 2, "5 as, 4 bs and 1 more class"),
        ({"a": 5, "b": 4, "c": 3, "d": 1}, 2, "5 as, 4 bs and 2 more classes"),
    ],
)
def test_counts(counts, most, text):
    assert counts_text(Counter(counts), most) == text


def test_all_sections_with_pictures():
    pictures = Pictures()
    found = eventful()
    html = "".join(part for part in sections(found, pictures, 3) if part is not None)
    headings = [part.partition("<")[0] for part in html.split("<h2>")[1:]]
    assert headings == ["In view", "Moments", "Where", "Lines", "Zones", "Tracks", "Frames"]
    assert html.count("<figure>") == 3
    assert pictures.times[-1] == found.fewest_at
    assert html.count("data:image/jpeg") == 4
    assert "pictures: out.mp4, which the run recorded" in html


def test_without_pictures_a_line_says_why():
    html = "".join(part for part in sections(eventful(), NO_PICTURES, 3) if part is not None)
    assert "No pictures: no video of this run." in html
    assert "<figure>" not in html
    assert html.count("data:image/png") == 1


def test_lines_and_zones_lie_over_the_heat_map():
    where = sections(eventful(), NO_PICTURES, 3)[2]
    assert 'points="32.0,0.0 32.0,40.0"' in where
    assert 'points="8.0,8.0 32.0,8.0 32.0,32.0 8.0,32.0 8.0,8.0"' in where
    assert 'viewBox="0 0 64 40"' in where


def cells(section):
    """The rows of the first table of a section."""
    rows = section.partition("</table>")[0].split("<tr>")[1:]
    return [[Reader(cell).text for cell in row.replace("</th>", "</td>").split("</td>")[:-1]] for row in rows]


def test_the_tables_of_lines_and_zones():
    parts = sections(eventful(), NO_PICTURES, 3)
    assert cells(parts[3]) == [["line", "in", "out", "first", "last"], ["door", "4", "3", "0:00.5", "0:09.5"]]
    assert cells(parts[4])[1] == ["desk", "0", "0", "3.0 s", "3.0 s", "5.0 s", "0:09.9"]


def test_frames_rate_and_latency():
    lines = [line(i, latency_ms=50.0) for i in (0, 1, 4)]
    text = Reader(sections(recording(*lines), NO_PICTURES, 3)[-1]).text
    assert text == "Framesframes3frame rate5.0 fpsmissing frames2latency, median50 mslatency, 95 % within50 ms"
