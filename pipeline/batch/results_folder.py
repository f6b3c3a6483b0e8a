"""The folder of results that several drivers and all workers share: what is done, what failed, who does what.

    results/.stream_segment/
        batch.json                       what the results depend on (`provenance.py`)
        records/ab/<id>-<version>.json   one for each recording that is done: its commit, and what it gave
        failures/ab/<id>-<version>.json  one for each that was set aside
        claims/ab/<id>.<fence>           who works on a recording; the highest fence holds
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.inputs import Recording
from pipeline.batch.leases import Drivers
from pipeline.batch.shared_files import (
    Record,
    bytes_of,
    entries_in,
    flush,
    link_new,
    names_in,
    path_in,
    read_record,
    write_record,
)
from pipeline.errors import InputError
from pipeline.sinks.paths import replace_file

STATE = ".stream_segment"
PARTIAL_BYTES = 65536
"""How much of the beginning and of the end of a recording its hash covers."""


def recording_id(recording: Recording) -> str:
    """Identifies a recording in the folder: a hash of its name."""
    return hashlib.sha256(os.fsencode(recording.name)).hexdigest()[:24]


def version_of(recording: Recording) -> str:
    """Identifies the content of a recording without opening it: a hash of its size and time."""
    return hashlib.sha256(f"{recording.size} {recording.mtime_ns}".encode()).hexdigest()[:12]


def partial_hash(path: str) -> str:
    """SHA-256 of the size, the first and the last bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(f"{size} ".encode())
        digest.update(file.read(PARTIAL_BYTES))
        if size > PARTIAL_BYTES:
            file.seek(max(PARTIAL_BYTES, size - PARTIAL_BYTES))
            digest.update(file.read(PARTIAL_BYTES))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a recording, until somebody holds a higher fence.

    Attributes:
        recording: the recording.
        fence: 1 for the first attempt of anybody, then one more for each.
        work: the folder for what the attempt writes; never used by another one.
    """

    recording: Recording
    fence: int
    work: Path

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
        self.drivers = self.state / "drivers"
        self.work = self.state / "work"
        self.logs = self.state / "logs"

    def make(self) -> None:
        """Create what is missing. Raises InputError."""
        try:
            for folder in (self.records, self.failures, self.claims, self.drivers, self.work, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {self.root} cannot be created: {error.strerror or error}") from None

    def depends_on(self) -> Record | None:
        """What the results in this folder depend on; None before the first batch."""
        return read_record(self.state / "batch.json")

    def keep_depends_on(self, made_with: Record) -> Record:
        """Keep what the results depend on; of two drivers that do, both get what the first one kept."""
        path, part = self.state / "batch.json", self.state / f"batch.{uuid.uuid4().hex}.part"
        write_record(part, made_with)
        link_new(part, path)
        part.unlink(missing_ok=True)
        return read_record(path) or made_with

    # -- what is done -------------------------------------------------------------------------------------------------

    def done(self) -> set[str]:
        """The keys, `<id>-<version>`, of everything that is done; a few megabytes for 100,000."""
        return set(names_in(self.records))

    def failed(self) -> set[str]:
        """The same for what was set aside."""
        return set(names_in(self.failures))

    def record_of(self, recording: Recording) -> Record | None:
        """What a recording gave, if it is done."""
        return read_record(path_in(self.records, key_of(recording)))

    def is_done(self, recording: Recording) -> bool:
        """Whether a recording is done, as far as its size and time tell."""
        return path_in(self.records, key_of(recording)).exists()

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
        """An output that exists already and that no record of this recording names: somebody else's file."""
        there = [name for name in outputs.values() if (self.root / name).exists()]
        if not there:
            return None
        records = filter(None, map(read_record, self._record_paths(recording)))
        own = {name for record in records for name in record["outputs"].values()}
        return next((name for name in there if name not in own), None)

    def commit(self, claim: Claim, record: Record) -> bool:
        """Make what an attempt wrote the result of its recording; False if another attempt was first.

        Args:
            claim: the attempt; its folder holds the outputs, see `Claim.output`.
            record: with `outputs`, the names by kind.

        Raises:
            OSError: the folder cannot be written.
        """
        key = key_of(claim.recording)
        path = path_in(self.records, key)
        try:
            for kind, name in record["outputs"].items():
                flush(claim.output(kind, name))
            part = claim.work / "record.json"
            write_record(part, {**record, "key": key, "work": claim.work.name})
            flush(claim.work)
            flush(self.work)
            path.parent.mkdir(exist_ok=True)
            is_first = link_new(part, path)
        except FileNotFoundError:  # somebody has taken the attempt for dead and removed it
            return False
        if is_first:
            flush(path.parent)
            self._move_outputs(claim.work, record)
            for other in self._record_paths(claim.recording):
                if other != path:
                    other.unlink(missing_ok=True)
        shutil.rmtree(claim.work, ignore_errors=True)
        return is_first

    def _move_outputs(self, work: Path, record: Record) -> None:
        for kind, name in record["outputs"].items():
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # moved before an interruption, or by another driver
                os.replace(output_in(work, kind, name), target)

    def _record_paths(self, recording: Recording) -> Iterator[Path]:
        """The records of all versions of a recording."""
        number = recording_id(recording)
        return (self.records / number[:2]).glob(f"{number}-*.json")

    # -- recovering ---------------------------------------------------------------------------------------------------

    def recover(self, drivers: Drivers) -> None:
        """Put outputs of interrupted commits into place, and remove what dead drivers left behind."""
        for work in entries_in(self.work):
            self._put_in_place(work)
            if work.exists() and drivers.is_gone(work.name.rpartition(".")[2].partition("-")[0]):
                shutil.rmtree(work, ignore_errors=True)
        for claim in (claim for part in entries_in(self.claims) for claim in entries_in(part)):
            if drivers.is_gone(_owner(claim)):
                claim.unlink(missing_ok=True)
        drivers.remove_ended()

    def _put_in_place(self, work: Path) -> None:
        """Finish a commit that was interrupted between its record and its outputs, if this is one."""
        key = (read_record(work / "record.json") or {}).get("key")
        record = read_record(path_in(self.records, str(key))) if key else None
        if record is not None and record.get("work") == work.name:
            self._move_outputs(work, record)
            shutil.rmtree(work, ignore_errors=True)

    # -- claiming -----------------------------------------------------------------------------------------------------

    def claim(self, recording: Recording, drivers: Drivers) -> Claim | None:
        """Claim a recording for a driver, or claim it again for another attempt.

        None while another driver that is alive holds it, and once it is done.
        """
        number = recording_id(recording)
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
            earlier.unlink(missing_ok=True)
        if self.is_done(recording):  # by somebody whose claim was gone before this one was made
            path.unlink(missing_ok=True)
            return None
        work = self.work / f"{path.name}.{drivers.token}-{uuid.uuid4().hex[:8]}"
        return Claim(recording, fence + 1, work)

    def discard(self, claim: Claim) -> None:
        """Remove what an attempt wrote, unless it has committed that; the claim holds on."""
        self._put_in_place(claim.work)
        shutil.rmtree(claim.work, ignore_errors=True)

    def release(self, claim: Claim) -> None:
        """Give a claim up, and remove what was written under it."""
        number = recording_id(claim.recording)
        (self.claims / number[:2] / f"{number}.{claim.fence}").unlink(missing_ok=True)
        self.discard(claim)


def key_of(recording: Recording) -> str:
    """What names the record of a recording: who it is and which content it had."""
    return f"{recording_id(recording)}-{version_of(recording)}"


def _owner(claim: Path) -> str:
    """The token of the driver that made a claim; of no driver if the claim has just been given up."""
    try:
        return claim.read_text(encoding="ascii") or "nobody"
    except OSError:
        return "nobody"
