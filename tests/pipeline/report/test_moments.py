"""Which moments get a picture."""

from __future__ import annotations

from pipeline.report.moments import Moment, notable_moments
from tests.pipeline.report.recordings import eventful, recording
from tests.pipeline.report.stored import RUN, line, one


def rounded(moments):
    return [(round(moment.at, 1), moment.text) for moment in moments]


def test_first_last_most_crossings_and_stays_in_the_order_of_time():
    # Crossings at 0.5, 2.0 … 9.5 s; stays end at 1.9, 3.9 … 9.9 s, the last one is the longest and lasts 4.95 s.
    assert rounded(notable_moments(eventful(), 12)) == [
        (0.0, "first person; most at once: 1 person"),
        (0.5, "first to cross door"),
        (2.0, "most at once: 2 objects; first bus; most at once: 1 bus"),
        (4.9, "last bus"),
        (7.4, "longest stay in desk: 5.0 s"),
        (9.5, "last to cross door"),
        (10.0, "last person"),
    ]


def test_the_most_telling_ones_are_left():
    assert rounded(notable_moments(eventful(), 2)) == [
        (0.5, "first to cross door"),
        (2.0, "most at once: 2 objects; first bus; most at once: 1 bus"),
    ]


def test_nothing_happens():
    assert notable_moments(recording(line(0), line(1)), 12) == []


def test_images_do_not_share_a_picture():
    images = recording(line(0, one(), run=RUN | {"kind": "stills"}), line(1, one(), one()), line(2, one()))
    assert notable_moments(images, 12) == [
        Moment(0.0, "first person"),
        Moment(1.0, "most at once: 2 people"),
        Moment(2.0, "last person"),
    ]
