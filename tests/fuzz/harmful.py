"""Targets that do harm, by which the campaign itself is tested."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable

from tests.fuzz.targets import Bench, Target


def _raise(bench: Bench) -> None:
    raise KeyError("x")


def _hang(bench: Bench) -> None:
    while True:
        pass


def _write_elsewhere(bench: Bench) -> None:
    (bench.folder.parent / "x").write_bytes(b"")


def _leave_a_file(bench: Bench) -> None:
    (bench.folder / "x").write_bytes(b"")


def _change_an_input(bench: Bench) -> None:
    bench.input("a", b"1").write_bytes(b"2")


def _read_the_bait(bench: Bench) -> None:
    (bench.bait / "bait.txt").read_bytes()


def _read_the_bait_in_c(bench: Bench) -> None:
    import h5py

    h5py.File(bench.bait / "bait.h5").close()


def _move_an_input(bench: Bench) -> None:
    os.rename(bench.input("a", b"1"), bench.folder.parent / "x")


def _connect(bench: Bench) -> None:
    socket.create_connection(("127.0.0.1", bench.port)).close()


def _target(do: Callable[[Bench], object]) -> Target:
    return lambda bench: lambda random: do(bench)


HARMFUL: dict[str, tuple[Callable[[Bench], object], str]] = {
    "error": (_raise, "KeyError: 'x'"),
    "exit": (lambda bench: os._exit(7), "the process ended with 7"),
    "crash": (lambda bench: os.abort(), "Fatal Python error: Aborted"),
    "hang": (_hang, "Timeout"),
    "memory": (lambda bench: bytearray(8 << 30), "MemoryError"),
    "file": (_write_elsewhere, "open "),
    "left": (_leave_a_file, "x was left"),
    "changed": (_change_an_input, "a was changed"),
    "read": (_read_the_bait, "open "),
    "read in C": (_read_the_bait_in_c, "the bait was opened"),
    "moved": (_move_an_input, "os.rename "),
    "command": (lambda bench: subprocess.run(["true"], check=True), "subprocess.Popen"),
    "connection": (_connect, "the bait's port was called"),
}
"""What each does, and what the campaign says of it."""
TARGETS: dict[str, Target] = {name: _target(do) for name, (do, _) in HARMFUL.items()}
