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
import errno
import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.batch.inputs import Recording
from pipeline.errors import InputError
from pipeline.records import Clock
from pipeline.sinks.paths import replace_file

STATE = ".stream_segment"
LEASE_S = 60.0
"""The claims of a driver whose heartbeat stands still for so long may be taken over."""
BEAT_S = 10.0
CARD = ".card"
PARTIAL_BYTES = 65536
"""How much of the beginning and of the end of a recording its hash covers."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

Record = dict[str, Any]
"""What is kept of a recording, as JSON has it."""


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
        return _read(self.state / "batch.json")

    def keep_depends_on(self, made_with: Record) -> Record:
        """Keep what the results depend on; of two drivers that do, both get what the first one kept."""
        path, part = self.state / "batch.json", self.state / f"batch.{uuid.uuid4().hex}.part"
        try:
            _write(part, made_with)
            _link_new(part, path)
        finally:
            _remove(part)
        return _read(path) or made_with

    # -- what is done -------------------------------------------------------------------------------------------------

    def done(self) -> set[str]:
        """The keys, `<id>-<version>`, of everything that is done; a few megabytes for 100,000."""
        return set(_names(self.records))

    def failed(self) -> set[str]:
        """The same for what was set aside."""
        return set(_names(self.failures))

    def record_of(self, recording: Recording) -> Record | None:
        """What a recording gave, if it is done. Raises OSError if that cannot be read."""
        path = _path_in(self.records, key_of(recording))
        return _parsed(path.read_bytes()) if path.exists() else None

    def is_done(self, recording: Recording) -> bool:
        """Whether a recording is done, as far as its size and time tell."""
        return _path_in(self.records, key_of(recording)).exists()

    def adopt(self, recording: Recording, earlier_key: str) -> bool:
        """Whether only the time of a recording has changed since it was done, which is recorded then.

        Opens the recording.
        """
        record = _read(_path_in(self.records, earlier_key))
        if record is None or record.get("bytes") != recording.size:
            return False
        try:
            is_same = record.get("partial_hash") == partial_hash(recording.path)
        except OSError:
            return False
        if is_same:
            _link_new(_path_in(self.records, earlier_key), _path_in(self.records, key_of(recording)))
        return is_same

    # -- what failed --------------------------------------------------------------------------------------------------

    def failure_of(self, recording: Recording) -> Record | None:
        """Why a recording was set aside, if it was."""
        return _read(_path_in(self.failures, key_of(recording)))

    def set_aside(self, recording: Recording, reason: str, attempts: int) -> None:
        """Record that a recording failed for good."""
        path = _path_in(self.failures, key_of(recording))
        path.parent.mkdir(exist_ok=True)
        record = {"name": recording.name, "reason": reason, "attempts": attempts}
        replace_file(path, _bytes_of(record), durable=True)

    def forget_failure(self, recording: Recording) -> None:
        """Let a recording that was set aside be tried again."""
        _path_in(self.failures, key_of(recording)).unlink(missing_ok=True)

    # -- committing ---------------------------------------------------------------------------------------------------

    def foreign_output(self, recording: Recording, outputs: Mapping[str, str]) -> str | None:
        """An output that exists already and that no record of this recording names: somebody else's file."""
        there = [name for name in outputs.values() if (self.root / name).exists()]
        if not there:
            return None
        records = filter(None, map(_read, self._record_paths(recording)))
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
        path = _path_in(self.records, key)
        try:
            for kind, name in record["outputs"].items():
                _flush(claim.output(kind, name))
            part = claim.work / "record.json"
            _write(part, {**record, "key": key, "work": claim.work.name})
            _flush(claim.work)
            _flush(self.work)
            path.parent.mkdir(exist_ok=True)
            is_first = _link_new(part, path)
        except FileNotFoundError:  # somebody has taken the attempt for dead and removed it
            return False
        if is_first:
            _flush(path.parent)
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
        for work in _entries(self.work):
            self._put_in_place(work)
            if work.exists() and drivers.is_gone(work.name.rpartition(".")[2].partition("-")[0]):
                shutil.rmtree(work, ignore_errors=True)
        for claim in (claim for part in _entries(self.claims) for claim in _entries(part)):
            if drivers.is_gone(_owner(claim)):
                claim.unlink(missing_ok=True)
        drivers.remove_ended()

    def _put_in_place(self, work: Path) -> None:
        """Finish a commit that was interrupted between its record and its outputs, if this is one."""
        key = (_read(work / "record.json") or {}).get("key")
        record = _read(_path_in(self.records, str(key))) if key else None
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
        if not _link_new(drivers.card, path):
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


class Drivers:
    """Tells which drivers of a results folder are alive, and that this one is.

    A driver is gone when its heartbeat stands still for LEASE_S by this driver's own clock, so that the clocks of two
    machines need not agree; one of the same machine also when its process has ended.

    Args:
        folder: the results.
        clock: seconds, monotonic.
    """

    def __init__(self, folder: ResultsFolder, clock: Clock) -> None:
        self._folder = folder.drivers
        self._clock = clock
        self.token = uuid.uuid4().hex[:16]
        self.card = folder.drivers / f"{self.token}{CARD}"
        """A file that holds the token: claims are links to it, so that each holds its owner from the start."""
        self._beats = 0
        self._seen: dict[str, tuple[object, float]] = {}
        self._next_beat_s = -1.0

    def beat(self) -> None:
        """Show that this driver is alive, if that is due."""
        if self._clock() >= self._next_beat_s:
            self._beats += 1
            # First what tells others when this driver has ended, so that they remove the card then.
            replace_file(self._folder / self.token, _bytes_of({**_process(os.getpid()), "beat": self._beats}))
            replace_file(self.card, self.token.encode("ascii"))
            self._next_beat_s = self._clock() + BEAT_S

    def leave(self) -> None:
        """Say that this driver works no more; what cannot be removed, others remove when its process has ended."""
        _remove(self.card)
        _remove(self._folder / self.token)

    def is_gone(self, token: str) -> bool:
        """Whether a driver works no more, and neither do its workers as far as anybody can tell."""
        if token == self.token:
            return False
        # Its content, not its time: what a network drive says of a file is fresh only once the file is opened.
        process = _read(self._folder / token)
        if process is None or _has_ended(process):
            return True
        beat = process.get("beat")
        last, since_s = self._seen.get(token, (None, 0.0))
        if beat != last:
            self._seen[token] = beat, self._clock()
            return False
        return self._clock() - since_s >= LEASE_S

    def remove_ended(self) -> None:
        """Remove the heartbeats of drivers that have ended on this machine; one that only paused needs its own."""
        for path in _entries(self._folder):
            if not path.suffix and _has_ended(_read(path) or {}):
                path.with_suffix(CARD).unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def _process(pid: int) -> Record:
    """Identifies a process among all machines, as far as the system tells."""
    return {"host": _host(), "pid": pid, "started": _started(pid)}


def _has_ended(process: Record) -> bool:
    """Whether a process of this machine has ended; False for those of others."""
    if process.get("host") != _host() or os.name != "posix":
        return False
    pid = process.get("pid")
    try:
        os.kill(pid, 0)  # type: ignore[arg-type]
    except ProcessLookupError:
        return True
    except (OSError, TypeError):
        return False
    return process.get("started") is not None and _started(int(pid or 0)) != process.get("started")


def _host() -> str:
    """This machine since it was started, and this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process was started, in the system's own units; None if that is not known, "" for one that has ended.

    See proc_pid_stat(5): the name in parentheses may contain anything, the state is the field behind it.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] == "Z" else fields[19]


# -- files ------------------------------------------------------------------------------------------------------------


def _path_in(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.json"


def _names(folder: Path) -> Iterator[str]:
    """The names of the files two levels down, without their suffix."""
    for part in _entries(folder):
        with os.scandir(part) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    yield entry.name[: -len(".json")]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _owner(claim: Path) -> str:
    """The token of the driver that made a claim; of no driver if the claim has just been given up."""
    try:
        return claim.read_text(encoding="ascii") or "nobody"
    except OSError:
        return "nobody"


def _bytes_of(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=True).encode("ascii") + b"\n"


def _read(path: Path) -> Record | None:
    """A record; None if it is not there, cannot be read, or was cut short where the file system has no links."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def _parsed(text: bytes) -> Record | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _remove(path: Path) -> None:
    """Remove a file whose remains do no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def _write(path: Path, record: Record) -> None:
    with open(path, "wb") as file:
        file.write(_bytes_of(record))
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut; Windows does that for folders."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link_new(source: Path, target: Path) -> bool:
    """Give a complete file a second name; False if that exists.

    File systems without links (FAT, some network drives) copy and rename it: there, two that do this in the same
    instant both succeed.
    """
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    if target.exists():
        return False
    replace_file(target, source.read_bytes(), durable=True)
    return True
