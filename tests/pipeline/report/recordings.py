"""Recordings that are added up from lines made by hand."""

from __future__ import annotations

import json

from pipeline.report.detection_lines import StoredFrame
from pipeline.report.statistics import RecordingStatistics
from tests.pipeline.report.stored import RUN, line, one

NASTY = '<script>alert("1")</script>&\'$\\frac{'
"""As the name of a class, a line, a zone, a file: markup, quotes, and Matplotlib's own markup."""


def recording(*lines, name="clip"):
    """The sums of these lines."""
    frames = [StoredFrame.model_validate_json(json.dumps(line)) for line in lines]
    statistics = RecordingStatistics(name, frames[0])
    for frame in frames:
        statistics.add(frame)
    return statistics.result()


def eventful(name="clip", label="person", line_name="door", zone_name="desk", **run):
    """Ten seconds: a track all along, one in between, six crossings of a line, five stays in a zone."""
    places = {
        "lines": [{"name": line_name, "points": [[0.5, 0.0], [0.5, 1.0]]}],
        "zones": [{"name": zone_name, "points": [[8, 8], [32, 8], [32, 32], [8, 32]]}],
    }
    lines = []
    for i in range(101):
        objects = [one(track_id=1, label=label)] + [one((30, 5, 40, 25), 2, "bus", track_id=2)] * (20 <= i < 50)
        events = []
        if i % 15 == 5:
            where = {"line": line_name, "direction": "in" if i % 2 else "out"}
            events.append({"event": "crossed", "pts": i / 10, "track_id": 1, "class_id": 1, "label": label, **where})
        if i % 20 == 19:
            where = {"zone": zone_name, "dwell_s": i / 20}
            events.append({"event": "left", "pts": i / 10, "track_id": 1, "class_id": 1, "label": label, **where})
        first = {"run": RUN | places | run} if i == 0 else {}
        lines.append(line(i, *objects, events=events, **first))
    return recording(*lines, name=name)
