"""What a report is made of: detections files, and what a batch says of its inputs."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from pipeline.errors import InputError
from pipeline.report.page import Problem, Speed
from pipeline.settings.messages import reason

SUMMARIES = "summary*.json"
"""A batch writes summary.json; with shards, a file for each, such as summary.3-of-40.json."""


class _Outputs(BaseModel):
    video: str | None = None
    detections: str | None = None


class _Input(BaseModel):
    name: str
    state: Literal["done", "skipped", "failed"]
    reason: str = ""
    outputs: _Outputs = _Outputs()
    warnings: list[str] = []
    frames: int = 0


class _FileTimes(BaseModel):
    inference_p50_s: float | None = None


class _Timings(BaseModel):
    started: str = ""
    wall_s: float = 0.0
    workers: int | None = None
    frames: int | None = None
    files: dict[str, _FileTimes] = {}


class _Summary(BaseModel):
    frames: int = 0
    files: list[_Input]
    timings: _Timings = _Timings()


@dataclass(frozen=True, slots=True)
class Source:
    """A detections file of a report.

    Attributes:
        name: unique name of the recording.
        path: the detections file.
        video: the recording that belongs to it; None to search it.
    """

    name: str
    path: Path
    video: Path | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a report is made of; `problems` are inputs without results."""

    files: Sequence[Source]
    problems: Sequence[Problem] = ()
    speed: Speed | None = None


def find_sources(paths: Sequence[Path]) -> Sources:
    """The detections files at these paths: files, and folders with the results of a batch.

    Raises:
        InputError: one does not exist, or a folder has no detections.
    """
    found = [_of_folder(path) if path.is_dir() else Sources([Source(path.stem, path)]) for path in paths]
    files = [file for sources in found for file in sources.files]
    if len({file.name for file in files}) < len(files):
        files = [replace(file, name=str(file.path.with_suffix(""))) for file in files]
    problems = [problem for sources in found for problem in sources.problems]
    return Sources(files, problems, found[0].speed if len(found) == 1 else None)


def _of_folder(folder: Path) -> Sources:
    summaries = [(path, _read_summary(path)) for path in sorted(folder.glob(SUMMARIES))]
    summaries.sort(key=lambda one: one[1].timings.started)  # of what several list, the newest is right
    if not summaries:
        files = [
            Source(path.relative_to(folder).with_suffix("").as_posix(), path) for path in sorted(_detections(folder))
        ]
        if not files:
            raise InputError(f"{folder} holds no results: expected summary.json of a batch, or detections (.jsonl)")
        return Sources(files)
    inputs = {one.name: (path, one) for path, summary in summaries for one in summary.files}
    files = [
        Source(name, detections, _inside(folder, one.outputs.video, path))
        for name, (path, one) in inputs.items()
        if one.state == "done" and (detections := _inside(folder, one.outputs.detections, path)) is not None
    ]
    problems = [Problem(name, one.state, one.reason) for name, (_, one) in inputs.items() if one.state != "done"]
    problems += [
        Problem(name, one.state, "the batch wrote no detections (--no-detections)")
        for name, (_, one) in inputs.items()
        if one.state == "done" and one.outputs.detections is None
    ]
    problems += [Problem(name, one.state, text) for name, (_, one) in inputs.items() for text in one.warnings]
    order = {"failed": 0, "skipped": 1, "done": 2}
    problems.sort(key=lambda one: (order[one.state], one.name))
    return Sources(files, problems, _speed([summary for _, summary in summaries]))


def _read_summary(path: Path) -> _Summary:
    try:
        # pydantic's own parser refuses names that are not UTF-8, which a Linux file system may have
        return _Summary.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"])) or "the file"
        raise InputError(f"{path}: {where}: {reason(detail)}; expected the summary that `batch` writes") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}; expected the summary that `batch` writes") from None


def _inside(folder: Path, name: str | None, summary: Path) -> Path | None:
    """The path of an output. Raises InputError if it leads out of the folder."""
    if name is None:
        return None
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL, or a link to itself
        is_inside = False
    if not is_inside:
        raise InputError(f"{summary}: {name} is not below {folder}, where the batch writes its outputs")
    return path


def _speed(summaries: Sequence[_Summary]) -> Speed | None:
    """The speed of the runs that the summaries time; None if they did nothing, as when everything was done before."""
    summaries = [summary for summary in summaries if summary.timings.wall_s > 0 and summary.timings.frames != 0]
    if not summaries:
        return None
    wall_s = max(summary.timings.wall_s for summary in summaries)
    workers = [summary.timings.workers for summary in summaries if summary.timings.workers is not None]
    times = [file.inference_p50_s for summary in summaries for file in summary.timings.files.values()]
    known = [time for time in times if time is not None]
    # A summary counts the frames of all runs, its timings those of the last one.
    frames = sum(summary.frames if summary.timings.frames is None else summary.timings.frames for summary in summaries)
    return Speed(wall_s, frames, sum(workers) or None, statistics.median(known) if known else None)


def _detections(folder: Path) -> Iterator[Path]:
    """The detections files below a folder, without what is hidden, such as macOS' "._a.jsonl" on other file systems."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith(".jsonl") and not name.startswith("."))
