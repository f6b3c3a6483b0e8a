"""The folder of results that several drivers and all workers share: what is done, what failed, who does what.

    results/.stream_segment/
        batch.json                       what the results depend on (`provenance.py`)
        records/ab/<id>-<version>.json   one for each recording that is done: its commit, and what it gave
        failures/ab/<id>-<version>.json  one for each that was set aside
        claims/ab/<id>.<fence>           who works on a recording, or on a stretch of one; the highest fence holds
        stretches/<id>-<version>/        of a recording that is split, until it is done:
            split.json                   where it is cut
            <number>.json, <number>.bin  of a stretch that is done: its commit, and what the network reported
        drivers/<token>                  a driver's heartbeat
        work/<id>.<fence>.<token>/       what a worker is writing
        logs/                            what processes printed that crashed

Everything rests on three operations that shared file systems have: creating a file that must not exist, linking to a
name that must not exist, renaming. A commit is the link of a complete, flushed record: of several workers that did the
same, one succeeds. The outputs are renamed into place after that, by the worker or by the next start (`recover`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.inputs import Recording, partial_hash
from pipeline.batch.leases import Drivers
from pipeline.batch.shared_files import (
    InTheWayError,
    Record,
    bytes_of,
    entries_in,
    flush,
    in_the_way,
    link_new,
    move_all,
    names_in,
    path_in,
    read_record,
    readable_record,
    remove_if_possible,
    write_record,
)
from pipeline.batch.stretches import Splitting, Stretch, Unit, recording_of, stretches_between
from pipeline.errors import InputError
from pipeline.sinks.paths import replace_file

STATE = ".stream_segment"
SPLIT = "split.json"


def recording_id(recording: Recording) -> str:
    """Identifies a recording in the folder: a hash of its name."""
    return hashlib.sha256(os.fsencode(recording.name)).hexdigest()[:24]


def unit_id(unit: Unit) -> str:
    """Identifies a recording or a stretch in the folder, whatever its content."""
    number = recording_id(recording_of(unit))
    return f"{number}-{unit.number}" if isinstance(unit, Stretch) else number


def version_of(recording: Recording) -> str:
    """Identifies the content of a recording without opening it: a hash of its size and time."""
    return hashlib.sha256(f"{recording.size} {recording.mtime_ns}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a recording or a stretch of one, until somebody holds a higher fence.

    Attributes:
        unit: the recording or stretch.
        fence: 1 for the first attempt of anybody, then one more for each.
        work: the folder for what the attempt writes; never used by another one.
        splitting: of a recording: how to split it, if it is long enough; None: not at all.
        joins: of a recording: its stretches, which are all done.
    """

    unit: Unit
    fence: int
    work: Path
    splitting: Splitting | None = None
    joins: Sequence[Stretch] = ()

    @property
    def recording(self) -> Recording:
        """The recording, also where the claim is about a stretch."""
        return recording_of(self.unit)

    def output(self, kind: str, name: str) -> Path:
        """Where the attempt writes an output, given its kind and its final name."""
        return output_in(self.work, kind, name)


def output_in(work: Path, kind: str, name: str) -> Path:
    """The file of an output in an attempt's folder: "video.mp4" for the video day1/cam1.mp4."""
    return work / f"{kind}{os.path.splitext(name)[1]}"


class ResultsFolder:
    """Finds out and records what became of each recording. Safe from several processes and machines.

    Args:
        root: the folder of the results; created by `open`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / STATE
        self.records = self.state / "records"
        self.failures = self.state / "failures"
        self.claims = self.state / "claims"
        self.stretches = self.state / "stretches"
        self.drivers = self.state / "drivers"
        self.work = self.state / "work"
        self.logs = self.state / "logs"

    def make(self) -> None:
        """Create what is missing. Raises InputError."""
        try:
            for name in ("records", "failures", "claims", "stretches", "drivers", "work", "logs"):
                (self.state / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {self.root} cannot be created: {error.strerror or error}") from None

    def depends_on(self) -> Record | None:
        """What the results in this folder depend on; None before the first batch."""
        return read_record(self.state / "batch.json")

    def keep_depends_on(self, made_with: Record) -> Record:
        """Keep what the results depend on; of two drivers that do, both get what the first one kept."""
        path, part = self.state / "batch.json", self.state / f"batch.{uuid.uuid4().hex}.part"
        try:
            write_record(part, made_with)
            link_new(part, path)
        finally:
            remove_if_possible(part)
        return read_record(path) or made_with

    # -- what is done -------------------------------------------------------------------------------------------------

    def done(self) -> set[str]:
        """The keys, `<id>-<version>`, of everything that is done; a few megabytes for 100,000."""
        return set(names_in(self.records))

    def failed(self) -> set[str]:
        """The same for what was set aside."""
        return set(names_in(self.failures))

    def record_of(self, recording: Recording) -> Record | None:
        """What a recording gave, if it is done. Raises OSError if that cannot be read."""
        return readable_record(path_in(self.records, key_of(recording)))

    def is_done(self, unit: Unit) -> bool:
        """Whether a recording, or a stretch of one, is done, as far as its size and time tell."""
        return self._record_path(key_of(unit)).exists()

    def adopt(self, recording: Recording, earlier_key: str) -> bool:
        """Whether only the time of a recording has changed since it was done, which is recorded then.

        Opens the recording.
        """
        record = read_record(path_in(self.records, earlier_key))
        if record is None or record.get("bytes") != recording.size:
            return False
        try:
            is_same = record.get("partial_hash") == partial_hash(recording.path)
        except OSError:
            return False
        if is_same:
            link_new(path_in(self.records, earlier_key), path_in(self.records, key_of(recording)))
        return is_same

    # -- what failed --------------------------------------------------------------------------------------------------

    def failure_of(self, recording: Recording) -> Record | None:
        """Why a recording was set aside, if it was."""
        return read_record(path_in(self.failures, key_of(recording)))

    def set_aside(self, recording: Recording, reason: str, attempts: int) -> None:
        """Record that a recording failed for good."""
        path = path_in(self.failures, key_of(recording))
        path.parent.mkdir(exist_ok=True)
        record = {"name": recording.name, "reason": reason, "attempts": attempts}
        replace_file(path, bytes_of(record), durable=True)

    def forget_failure(self, recording: Recording) -> None:
        """Let a recording that was set aside be tried again."""
        path_in(self.failures, key_of(recording)).unlink(missing_ok=True)

    # -- committing ---------------------------------------------------------------------------------------------------

    def foreign_output(self, recording: Recording, outputs: Mapping[str, str]) -> str | None:
        """What is in the way of an output, or is one that no record of this recording names: somebody else's."""
        blocking = next(filter(None, (in_the_way(self.root, name) for name in outputs.values())), None)
        there = [name for name in outputs.values() if os.path.lexists(self.root / name)]
        if blocking is not None or not there:
            return blocking
        records = filter(None, map(read_record, self._record_paths(recording)))
        own = {name for record in records for name in record["outputs"].values()}
        return next((name for name in there if name not in own), None)

    def commit(self, claim: Claim, record: Record) -> bool:
        """Make what an attempt wrote the result of its recording or stretch; False if another attempt was first.

        Args:
            claim: the attempt; its folder holds the outputs, see `Claim.output`.
            record: with `outputs`, the names by kind.

        Raises:
            InTheWayError: something keeps the outputs from their places; nothing is recorded.
            OSError: the folder cannot be written.
        """
        key, is_recording = key_of(claim.unit), isinstance(claim.unit, Recording)
        path = self._record_path(key)
        try:
            for kind, name in record["outputs"].items():
                flush(claim.output(kind, name))
            part = claim.work / "record.json"
            write_record(part, {**record, "key": key, "work": claim.work.name})
            flush(claim.work)
            flush(self.work)
            if is_recording:
                path.parent.mkdir(exist_ok=True)
            is_first = link_new(part, path)
        except FileNotFoundError:  # somebody has taken the attempt for dead and removed it, or is done without it
            return False
        if is_first:
            flush(path.parent)
            self._move_outputs(claim.work, record, path)
        if is_first and is_recording:
            for other in self._record_paths(claim.recording):
                if other != path:
                    other.unlink(missing_ok=True)
            self._remove_stretches(claim.recording)
        shutil.rmtree(claim.work, ignore_errors=True)
        return is_first

    def _move_outputs(self, work: Path, record: Record, path: Path) -> None:
        """Put outputs into place; if something is in the way, take the record back and raise InTheWayError."""
        try:
            move_all([(output_in(work, kind, name), self.root / name) for kind, name in record["outputs"].items()])
        except InTheWayError:
            path.unlink(missing_ok=True)
            flush(path.parent)
            raise

    def _record_paths(self, recording: Recording) -> Iterator[Path]:
        """The records of all versions of a recording."""
        number = recording_id(recording)
        return (self.records / number[:2]).glob(f"{number}-*.json")

    def _record_path(self, key: str) -> Path:
        return self.stretches / f"{key}.json" if "/" in key else path_in(self.records, key)

    # -- splitting ----------------------------------------------------------------------------------------------------

    def split_of(self, recording: Recording) -> Record | None:
        """How a recording is split: `seams_ms`, none for one piece, and `frames`; None if nobody has decided that."""
        return read_record(self.stretches / key_of(recording) / SPLIT)

    def stretches_of(self, recording: Recording) -> Sequence[Stretch]:
        """The stretches that a recording is split into; none if it is one piece, or nobody has decided that."""
        return stretches_between(recording, (self.split_of(recording) or {}).get("seams_ms", ()))

    def keep_split(self, recording: Recording, seams_ms: Sequence[int], frames: int | None) -> None:
        """Decide where a recording is cut, if nobody has. Raises OSError."""
        path = self.stretches / key_of(recording) / SPLIT
        part = path.with_suffix(f".{uuid.uuid4().hex}.part")
        path.parent.mkdir(exist_ok=True)
        write_record(part, {"seams_ms": list(seams_ms), "frames": frames})
        link_new(part, path)
        part.unlink(missing_ok=True)

    def keep_whole(self, recording: Recording, reason: str) -> None:
        """Decide that a recording is one piece, and remove what its stretches gave. Raises OSError."""
        path = self.stretches / key_of(recording) / SPLIT
        path.parent.mkdir(exist_ok=True)
        replace_file(path, bytes_of({"seams_ms": [], "frames": None, "reason": reason}), durable=True)
        for other in entries_in(path.parent):
            if other != path:
                other.unlink(missing_ok=True)

    def answers_name(self, stretch: Stretch) -> str:
        """The name of what the network reported on a stretch, as an output."""
        return f"{STATE}/{self.stretches.name}/{key_of(stretch)}.bin"

    def answers_of(self, stretch: Stretch) -> Path:
        """What the network reported on a stretch that is done."""
        path = self.root / self.answers_name(stretch)
        record = read_record(self._record_path(key_of(stretch)))
        if record is not None and not path.exists():  # its worker has ended in between
            self._put_in_place(self.work / str(record["work"]))
        return path

    def _remove_stretches(self, recording: Recording) -> None:
        """Of all versions of a recording."""
        for folder in self.stretches.glob(f"{recording_id(recording)}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    # -- recovering ---------------------------------------------------------------------------------------------------

    def recover(self, drivers: Drivers) -> set[str]:
        """Finish interrupted commits, remove what dead drivers left, and name recordings that are undone again."""
        blocked = set()
        for folder in entries_in(self.stretches):
            if self._record_path(folder.name).exists():  # an interruption between the commit and this
                shutil.rmtree(folder, ignore_errors=True)
        for work in entries_in(self.work):
            try:
                self._put_in_place(work)
            except InTheWayError:
                blocked.add(str((read_record(work / "record.json") or {}).get("name")))
            if work.exists() and drivers.is_gone(_maker(work)):
                shutil.rmtree(work, ignore_errors=True)
        for claim in (claim for part in entries_in(self.claims) for claim in entries_in(part)):
            if drivers.is_gone(_owner(claim)):
                remove_if_possible(claim)
        drivers.remove_ended()
        return blocked

    def _put_in_place(self, work: Path) -> None:
        """Finish a commit that was interrupted between its record and its outputs, if this is one."""
        path = self._record_path(str((read_record(work / "record.json") or {}).get("key")))
        record = read_record(path)
        if record is not None and record.get("work") == work.name:
            self._move_outputs(work, record, path)
            shutil.rmtree(work, ignore_errors=True)

    # -- claiming -----------------------------------------------------------------------------------------------------

    def claim(self, unit: Unit, drivers: Drivers) -> Claim | None:
        """Claim a recording or a stretch for a driver, or claim it again for another attempt.

        None while another driver that is alive holds it, and once it is done.
        """
        number = unit_id(unit)
        folder = self.claims / number[:2]
        fences = {int(path.suffix[1:]): path for path in folder.glob(f"{number}.*")}
        fence = max(fences, default=0)
        if fence and (owner := _owner(fences[fence])) != drivers.token and not drivers.is_gone(owner):
            return None
        folder.mkdir(exist_ok=True)
        path = folder / f"{number}.{fence + 1}"
        if not link_new(drivers.card, path):
            return None
        for earlier in fences.values():
            remove_if_possible(earlier)
        if self.is_done(unit):  # by somebody whose claim was gone before this one was made
            remove_if_possible(path)
            return None
        work = self.work / f"{path.name}.{drivers.token}-{uuid.uuid4().hex[:8]}"
        return Claim(unit, fence + 1, work)

    def discard(self, claim: Claim) -> None:
        """Remove what an attempt wrote, unless it has committed that; the claim holds on."""
        with contextlib.suppress(InTheWayError):
            self._put_in_place(claim.work)
        shutil.rmtree(claim.work, ignore_errors=True)

    def holds(self, claim: Claim) -> bool:
        """Whether nobody has taken a claim over."""
        return _owner(self._claim_path(claim)) == _maker(claim.work)

    def release(self, claim: Claim) -> None:
        """Give a claim up, and remove what was written under it; under Windows, a claim that is being read may stay."""
        if self.holds(claim):
            remove_if_possible(self._claim_path(claim))
        self.discard(claim)

    def _claim_path(self, claim: Claim) -> Path:
        number = unit_id(claim.unit)
        return self.claims / number[:2] / f"{number}.{claim.fence}"


def key_of(unit: Unit) -> str:
    """What names the record of a recording or stretch: who it is and which content it had."""
    recording = recording_of(unit)
    key = f"{recording_id(recording)}-{version_of(recording)}"
    return f"{key}/{unit.number}" if isinstance(unit, Stretch) else key


def _owner(claim: Path) -> str:
    """The token of the driver that made a claim; of no driver if the claim has just been given up."""
    try:
        return claim.read_text(encoding="ascii") or "nobody"
    except OSError:
        return "nobody"


def _maker(work: Path) -> str:
    """The token of the driver that made an attempt's folder."""
    return work.name.rpartition(".")[2].partition("-")[0]
