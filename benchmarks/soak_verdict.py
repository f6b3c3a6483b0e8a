"""The measurements of a soak test and the checks on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from benchmarks.faulty_camera import FaultDone
from benchmarks.watchers import WatchReport

MEMORY_BOUND = 0.02
"""Largest growth of memory from the warm part to the end, as a share."""
WARM, LAST = (0.2, 0.4), (0.8, 1.0)
"""The parts of a run whose memory is compared, as shares."""
SHORTEST_FOR_MEMORY_S = 240.0
"""In a shorter run, buffers of fixed size are still filling in the warm part."""
LEAST_SEEN = 0.1
"""Least share of the presented frames that a healthy viewer receives: it gets the newest, not every one."""


@dataclass(frozen=True)
class MemorySample:
    """The memory of a process at some moment.

    Attributes:
        share: how much of the run is over.
        resident_bytes: in physical memory.
        tidy_bytes: the same after collecting garbage and returning the allocator's free pages.
        heap_bytes: allocated from the C library and not freed. The rest of what is resident are gaps between these,
            Python's objects, code and stacks.
        blocks: of memory that Python's objects take.
    """

    share: float
    resident_bytes: float
    tidy_bytes: float
    heap_bytes: float
    blocks: float


_NO_MEMORY = MemorySample(*[float("nan")] * 5)


def mean_memory(samples: Sequence[MemorySample], part: tuple[float, float]) -> MemorySample:
    """Means over a part of the run; NaN where there are no samples of it."""
    found = [astuple(sample) for sample in samples if part[0] <= sample.share < part[1]]
    return MemorySample(*(sum(column) / len(found) for column in zip(*found, strict=True))) if found else _NO_MEMORY


@dataclass(frozen=True)
class Footprint:
    """Names of threads and handles of the process, sorted, and its number of system threads."""

    threads: tuple[str, ...]
    handles: tuple[str, ...]
    system_threads: int


@dataclass(frozen=True)
class Recording:
    """One recorded file: frames that OpenCV decodes, frames that the container lists, and an error."""

    path: str
    decoded: int
    listed: int
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class ProcessMeasured:
    """How the process was during one soak test.

    Attributes:
        duration_s: from the start of the faults to the end.
        memory: samples from the whole run, in order.
        before, after: the process before and after the run.
    """

    duration_s: float
    memory: Sequence[MemorySample]
    before: Footprint
    after: Footprint


@dataclass(frozen=True, kw_only=True)
class Measured(ProcessMeasured):
    """The measurements of one soak test with one camera.

    Attributes:
        captured, presented, dropped, inferred: the run's counts; `dropped` by stage and cause.
        sink_dropped: frames that a sink could not take, by its name.
        seen: frames that the caller's loop got.
        with_ids: frames with at least one tracked object.
        reconnects: the run's count.
        reconnected_at_s: when each reconnect was noticed, seconds on `time.monotonic`.
        sizes: when a frame with another size than the one before was captured, and that size (width, height).
        planned, faults: number of planned faults, and the camera's faults.
        sent: pictures that the camera handed to the network.
        recordings: every recorded file.
        detection_lines: lines of the detections file that are whole.
        watched: the viewers' report.
        error: ended the run early; "" if none.
    """

    captured: int
    presented: int
    inferred: int
    dropped: Mapping[str, int]
    sink_dropped: Mapping[str, int]
    seen: int
    with_ids: int
    reconnects: int
    reconnected_at_s: Sequence[float]
    sizes: Sequence[tuple[float, tuple[int, int]]]
    planned: int
    faults: Sequence[FaultDone]
    sent: int
    recordings: Sequence[Recording]
    detection_lines: int
    watched: WatchReport
    error: str = ""


@dataclass(frozen=True)
class Check:
    """One check; `text` says what was expected and what was measured."""

    name: str
    passed: bool
    text: str


def verdict(measured: Measured) -> list[Check]:
    """All checks of a soak test."""
    return [
        Check("run", not measured.error, measured.error or f"ran for {measured.duration_s:.0f} s without an error"),
        *_frames(measured),
        *_recordings(measured),
        memory(measured),
        *footprint(measured),
        *_faults(measured),
        *_viewers(measured),
    ]


def _frames(measured: Measured) -> Iterator[Check]:
    dropped = sum(measured.dropped.values())
    yield Check(
        "frames",
        measured.captured == measured.presented + dropped and measured.presented == measured.seen > 0,
        f"captured {measured.captured} = presented {measured.presented} + dropped {dropped} was expected"
        f"{parts(measured.dropped)}, and {measured.presented} received by the caller: {measured.seen} came",
    )
    yield Check(
        "sent", measured.sent >= measured.captured, f"no more than the {measured.sent} sent: {measured.captured} came"
    )
    yield Check("tracking", measured.with_ids > 0, f"frames with tracked objects expected: {measured.with_ids} came")


def _recordings(measured: Measured) -> Iterator[Check]:
    bad = [recording for recording in measured.recordings if problem_of(recording)]
    text = f"all of {len(measured.recordings)} files decoded to their end"
    text = "; ".join(f"{recording.path}: {problem_of(recording)}" for recording in bad) or text
    yield Check("playable", bool(measured.recordings) and not bad, text)
    lost = measured.sink_dropped.get("recorder", 0)
    recorded = sum(recording.decoded for recording in measured.recordings)
    yield Check(
        "recorded",
        recorded == measured.presented - lost,
        f"presented {measured.presented} - {lost} that the recorder dropped = {measured.presented - lost} expected, "
        f"{recorded} came",
    )
    lost = measured.sink_dropped.get("detections", 0)
    yield Check(
        "detections",
        measured.detection_lines == measured.presented - lost,
        f"presented {measured.presented} - {lost} that the detections dropped = {measured.presented - lost} expected, "
        f"{measured.detection_lines} lines came",
    )


def problem_of(recording: Recording) -> str:
    """What is wrong with a recorded file; "" if nothing."""
    if recording.problem:
        return recording.problem
    if recording.decoded == 0 or recording.decoded != recording.listed:
        return f"{recording.listed} frames are in the file, {recording.decoded} could be decoded"
    return ""


def memory(measured: ProcessMeasured) -> Check:
    """The check of its growth."""
    warm, last = (mean_memory(measured.memory, part) for part in (WARM, LAST))
    growth = last.tidy_bytes / warm.tidy_bytes - 1.0
    text = (
        f"at most {100 * MEMORY_BOUND:+.0f} % expected: {warm.tidy_bytes / 1e6:.1f} MB when warm, "
        f"{last.tidy_bytes / 1e6:.1f} MB at the end, {100 * growth:+.2f} % (of it allocated from the C library "
        f"{warm.heap_bytes / 1e6:.1f} and {last.heap_bytes / 1e6:.1f} MB)"
    )
    if measured.duration_s < SHORTEST_FOR_MEMORY_S:
        return Check("memory", True, f"not judged, the run is shorter than {SHORTEST_FOR_MEMORY_S:g} s; {text}")
    return Check("memory", growth <= MEMORY_BOUND, text)


def footprint(measured: ProcessMeasured) -> Iterator[Check]:
    """The checks that threads and handles are back."""
    before, after = measured.before, measured.after
    for name, was, came in (("threads", before.threads, after.threads), ("handles", before.handles, after.handles)):
        text = f"{len(was)} expected, {len(came)} came"
        new = _more(came, was)
        yield Check(name, len(came) <= len(was), f"{text}; new: {', '.join(new)}" if new else text)
    text = f"{before.system_threads} expected, {after.system_threads} came"
    yield Check("system threads", after.system_threads <= before.system_threads, text)


def _faults(measured: Measured) -> Iterator[Check]:
    done = len(measured.faults)
    yield Check("faults", done == measured.planned, f"{measured.planned} planned, the camera did {done}")
    missed = [text for i in range(done) if (text := _missed(measured, i))]
    kinds = [fault.kind.value for fault in measured.faults]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    losses = sum(fault.kind.loses_connection for fault in measured.faults)
    text = "; ".join(missed) or (
        f"every fault ({counts}) seen: {measured.reconnects} reconnects for {losses} losses, "
        f"{len(measured.sizes)} changes of size"
    )
    yield Check("faults seen", not missed and measured.reconnects >= losses, text)


def _missed(measured: Measured, index: int) -> str:
    """What the run did not notice of a fault before the next one; "" if nothing."""
    fault = measured.faults[index]
    later = measured.faults[index + 1 :]
    until_s = later[0].began_s if later else float("inf")
    name = f"fault {index + 1} ({fault.kind.value})"
    if fault.kind.loses_connection and not any(fault.began_s < t <= until_s for t in measured.reconnected_at_s):
        return f"{name}: a reconnect was expected within {until_s - fault.began_s:.1f} s, none came"
    came = [size for t, size in measured.sizes if fault.began_s < t <= until_s]
    if fault.kind.changes_size and fault.size_wh not in came:
        return f"{name}: frames of {fault.size_wh} were expected, changes to {came} came"
    return ""


def _viewers(measured: Measured) -> Iterator[Check]:
    watched = measured.watched
    least = int(LEAST_SEEN * measured.presented)
    yield Check(
        "viewers",
        bool(watched.pictures) and min(watched.pictures) >= max(1, least) and set(watched.connections) == {1},
        f"at least {least} pictures each over one connection expected: {list(watched.pictures)} pictures, "
        f"{list(watched.connections)} connections came, beside {watched.stalled_connections} of the stalled one",
    )


def parts(counts: Mapping[str, int]) -> str:
    """Counts in words; "" for none."""
    return f" ({', '.join(f'{count} {cause}' for cause, count in counts.items())})" if counts else ""


def _more(came: Sequence[str], was: Sequence[str]) -> list[str]:
    left = list(was)
    return [name for name in came if name not in left or left.remove(name)]
