"""The report as one HTML file that needs no network: the answer first, then plots, pictures and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from pipeline.labels import plural
from pipeline.report.markup import Markup, element, note, numbers, section, table
from pipeline.report.pictures import PictureSource
from pipeline.report.plots import clock_text
from pipeline.report.sections import answer, counts_text, crossings_text, facts, sections, stays_text, when
from pipeline.report.statistics import LineCrossings, Recording, ZoneStays, summed
from pipeline.version import __version__

MOMENTS, MOMENTS_OF_SEVERAL = 12, 4
"""Most pictures of one recording, and of each of several."""
MOST_OPEN = 3
"""The details of more recordings are folded away."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page needs no script and no other file, and a browser refuses what is not needed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recording in the table of several.

    Attributes:
        name: of the recording.
        frames, duration: how many, and the seconds from the first to the last.
        counts: see `Recording.counts`.
        most, most_at: the most at once, and when, in words.
        lines, zones: by name.
    """

    name: str
    frames: int
    duration: float
    counts: Counter[str]
    most: int
    most_at: str
    lines: Mapping[str, LineCrossings]
    zones: Mapping[str, ZoneStays]

    @classmethod
    def of(cls, recording: Recording) -> Row:
        """The row of a recording."""
        return cls(
            name=recording.name,
            frames=recording.frames,
            duration=0.0 if recording.stills else recording.duration,
            counts=recording.counts,
            most=recording.most,
            most_at=when(recording, recording.most_at),
            lines=recording.lines,
            zones=recording.zones,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """A recording that "failed", was "skipped", or was "done" with a warning; and the reason."""

    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a batch was.

    Attributes:
        wall_s: seconds from its start to its end.
        frames: that were processed.
        workers: processes that shared the work; None if unknown.
        inference_p50_s: seconds of a frame in the network, the median over the recordings of their medians; None if
            unknown.
    """

    wall_s: float
    frames: int
    workers: int | None = None
    inference_p50_s: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: what was reported on.
        rows: all recordings.
        details: those that are shown in detail, with the source of their pictures.
        problems: recordings that failed, were left out, or have warnings.
        speed: of the batch; None if it is not known.
    """

    title: str
    rows: Sequence[Row]
    details: Sequence[tuple[Recording, PictureSource]]
    problems: Sequence[Problem] = ()
    speed: Speed | None = None


def page(report: Report) -> str:
    """The whole HTML file."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{report.title}: report"),
        element("style", Markup(style)),
    )
    is_single = len(report.rows) == 1 and not report.problems
    body = _of_one(report) if is_single else _of_several(report)
    footer = element("footer", f"stream_segment {__version__}")
    return f"<!doctype html>\n{element('html', head, element('body', *body, footer), lang='en')}\n"


def _of_one(report: Report) -> list[Markup | None]:
    recording, pictures = report.details[0]
    if recording.stills:
        header = _header(report.title, facts(recording))
    else:
        header = _header(recording.source, f"{report.title}: {facts(recording)}")
    return [header, answer(recording), *sections(recording, pictures, MOMENTS)]


def _of_several(report: Report) -> list[Markup | None]:
    length = clock_text(sum(row.duration for row in report.rows))
    header = _header(report.title, f"{plural(len(report.rows), 'recording')}, {length} of video")
    is_open = len(report.details) <= MOST_OPEN
    folded = [_folded(recording, pictures, is_open) for recording, pictures in report.details]
    return [header, _answer_of_several(report), _problems(report.problems), _recordings(report), *folded]


def _header(title: str, text: str) -> Markup:
    return element("header", element("h1", title), element("p", text))


def _answer_of_several(report: Report) -> Markup:
    counts: Counter[str] = Counter()
    for row in report.rows:
        counts.update(row.counts)
    where = plural(len(report.rows), "recording")
    lines = [f"{counts_text(counts)} in {where}." if counts else f"Nothing was found in {where}."]
    busiest = max(report.rows, key=lambda row: row.most, default=None)
    if busiest is not None and busiest.most:
        lines.append(f"At most {busiest.most} at once: {busiest.name} at {busiest.most_at}.")
    lines += [crossings_text(name, line) for name, line in summed(row.lines for row in report.rows).items()]
    lines += [stays_text(name, zone) for name, zone in summed(row.zones for row in report.rows).items()]
    failed = sum(problem.state == "failed" for problem in report.problems)
    warning = f"{plural(failed, 'recording')} failed; the reasons are below."
    return element(
        "section",
        *(element("p", line) for line in lines),
        element("p", warning, class_="bad") if failed else None,
        None if report.speed is None else _speed(report.speed),
        class_="answer",
    )


def _speed(speed: Speed) -> Markup:
    values = {"processed in": clock_text(speed.wall_s)}
    if speed.wall_s > 0:
        values["rate"] = f"{speed.frames / speed.wall_s:.1f} fps"
    if speed.workers is not None:
        values["workers"] = str(speed.workers)
    if speed.inference_p50_s is not None:
        values["network, a frame"] = f"{1000 * speed.inference_p50_s:.0f} ms"
    return numbers(values)


def _problems(problems: Sequence[Problem]) -> Markup | None:
    if not problems:
        return None
    rows = ([one.name, one.state, one.reason] for one in problems)
    return section("Problems", table(["recording", "state", "reason"], rows, text_columns=3))


def _recordings(report: Report) -> Markup:
    rows = (
        [
            row.name,
            counts_text(row.counts, 3) or "-",
            str(row.most),
            row.most_at if row.most else "-",
            str(row.frames),
            clock_text(row.duration),
        ]
        for row in report.rows
    )
    remark = "Those with the most objects follow in detail; `report FILE.jsonl` shows any other."
    return section(
        "Recordings",
        table(["recording", "seen", "most at once", "at", "frames", "length"], rows, text_columns=2),
        note(remark) if len(report.rows) > len(report.details) else None,
    )


def _folded(recording: Recording, pictures: PictureSource, is_open: bool) -> Markup:
    parts = sections(recording, pictures, MOMENTS_OF_SEVERAL)
    remark = note(f"{recording.source}: {facts(recording)}")
    summary = element("summary", recording.name)
    return element("details", summary, remark, answer(recording), *parts, open="" if is_open else None)
