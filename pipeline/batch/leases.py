"""Which drivers of a results folder are alive: the claims of one that is gone may be taken over."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from pathlib import Path

from pipeline.batch.shared_files import Record, bytes_of, entries_in, read_record, remove_if_possible
from pipeline.records import Clock
from pipeline.sinks.paths import replace_file

LEASE_S = 60.0
"""The claims of a driver whose heartbeat stands still for so long may be taken over."""
BEAT_S = 10.0
CARD = ".card"


class Drivers:
    """Tells which drivers of a results folder are alive, and that this one is.

    A driver is gone when its heartbeat stands still for LEASE_S by this driver's own clock, so that the clocks of two
    machines need not agree; one of the same machine also when its process has ended.

    Args:
        folder: of the heartbeats.
        clock: seconds, monotonic.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self.token = uuid.uuid4().hex[:16]
        self.card = folder / f"{self.token}{CARD}"
        """A file that holds the token: claims are links to it, so that each holds its owner from the start."""
        self._beats = 0
        self._seen: dict[str, tuple[object, float]] = {}
        self._next_beat_s = -1.0

    def beat(self) -> None:
        """Show that this driver is alive, if that is due. Raises OSError."""
        if self._clock() >= self._next_beat_s:
            self._beats += 1
            try:
                # First what tells others when this driver has ended, so that they remove the card then.
                replace_file(self._folder / self.token, bytes_of({**_process(os.getpid()), "beat": self._beats}))
                replace_file(self.card, self.token.encode("ascii"))
            except PermissionError:
                if self._next_beat_s < 0:
                    raise
                return  # under Windows, while another driver reads it: the next call tries again
            self._next_beat_s = self._clock() + BEAT_S

    def leave(self) -> None:
        """Say that this driver works no more; what cannot be removed, others remove when its process has ended."""
        remove_if_possible(self.card)
        remove_if_possible(self._folder / self.token)

    def is_gone(self, token: str) -> bool:
        """Whether a driver works no more, and neither do its workers as far as anybody can tell."""
        if token == self.token:
            return False
        # Its content, not its time: what a network drive says of a file is fresh only once the file is opened.
        process = read_record(self._folder / token)
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
        for path in entries_in(self._folder):
            if not path.suffix and _has_ended(read_record(path) or {}):
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
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    except OSError:  # macOS and Windows; many machines have the name that they came with
        parts.append(f"{uuid.getnode():x}")
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
