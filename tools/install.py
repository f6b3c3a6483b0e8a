"""Makes a virtual environment with exactly the packages of locks/, each checked against its hash.

    python tools/install.py                     # .venv, what runs the program: locks/run.txt
    python tools/install.py light               # what runs it without TensorFlow: locks/light.txt
    python tools/install.py test                # what the tests need as well: locks/test.txt
    python tools/install.py test --venv DIR --lock FILE

`make` calls it; where there is no make (Windows), call it by hand. An environment that is up to date is left alone, one
that is not is made anew. Proxies, mirrors and certificates are those of pip's own configuration.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.python_check import EXPECTED, fault  # noqa: E402 - the path is set above

LOCKS = ROOT / "locks"
BUILD_LOCK = LOCKS / "build.txt"
NEEDED_BYTES = {"light": 1_400_000_000, "run": 3_500_000_000, "test": 5_000_000_000}
FRESH = {
    "light": "0.3 GB to fetch, 1 GB on disk",
    "run": "0.9 GB to fetch, 3 GB on disk",
    "test": "1.2 GB to fetch, 4 GB on disk",
}
BEAT_S = 5.0
TAIL_LINES = 25
PIP_FLAGS = ("--disable-pip-version-check", "--no-input", "--progress-bar=off")
# Without dependencies: the lock lists them all, but for trackeval's opencv-python. imutils alone has no wheel; it is
# built with the setuptools of locks/build.txt. Modules are compiled when they are first imported.
EXACTLY = ("--require-hashes", "--no-deps", "--no-compile", "--no-build-isolation")
WHEELS = ("--only-binary=:all:", "--no-binary=imutils")


class InstallError(Exception):
    """What the user is told, in one line."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 installed, 1 failed, 2 this Python or this place cannot be used, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=tuple(FRESH), default="run")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment's folder (.venv)")
    parser.add_argument("--lock", type=Path, help="another list of exact versions with hashes")
    options = parser.parse_args(arguments)
    unusable = fault()
    if unusable is not None:
        print(f"error: expected {EXPECTED}, found {unusable} ({sys.executable})", file=sys.stderr)
        return 2
    try:
        install(options.what, options.venv, options.lock or LOCKS / f"{options.what}.txt")
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next call begins again with what pip has kept in its cache", file=sys.stderr)
        return 130
    return 0


def install(what: str, venv: Path, lock: Path) -> None:
    """Make `venv` hold the packages of `lock`. Raises InstallError."""
    stamp = venv / f".installed-{what}"
    if _holds(stamp, lock):
        print(f"{venv} is up to date", flush=True)
        return
    if not (what == "test" and _holds(venv / ".installed-run", LOCKS / "run.txt")):
        _check_is_ours(venv)
        if not venv.exists():  # an older one is removed first, which makes room
            _check_room(venv, NEEDED_BYTES[what])
        print(f"== making {venv} with Python {sys.version.split()[0]}", flush=True)
        print(f"   {FRESH[what]}, once: about a minute on a fast network", flush=True)
        _make_venv(venv)
    stamp.unlink(missing_ok=True)
    _pip(venv, BUILD_LOCK, *EXACTLY, "--only-binary=:all:")
    began_s = time.monotonic()
    _pip(venv, lock, *EXACTLY, *WHEELS)
    stamp.write_text(_digest(lock), encoding="utf-8")
    print(f"   installed in {time.monotonic() - began_s:.0f} s", flush=True)


def _digest(lock: Path) -> str:
    content = hashlib.sha256(BUILD_LOCK.read_bytes() + lock.read_bytes()).hexdigest()
    return f"Python {sys.version_info.major}.{sys.version_info.minor} {content}\n"


def _holds(stamp: Path, lock: Path) -> bool:
    try:
        return _python(stamp.parent).exists() and stamp.read_text(encoding="utf-8") == _digest(lock)
    except OSError:
        return False


def _python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _check_is_ours(venv: Path) -> None:
    """Making an environment anew deletes everything in its folder, which must not be somebody's work."""
    if not venv.is_dir() or not any(venv.iterdir()):
        return
    is_environment = (venv / "pyvenv.cfg").is_file() or venv.name.startswith(".venv")
    if not is_environment or ROOT.is_relative_to(venv.resolve()):
        raise InstallError(f"--venv {venv}: expected a new folder or an environment, found one with other files")


def _check_room(venv: Path, needed: int) -> None:
    folder = next(parent for parent in venv.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InstallError(f"expected {needed / 1e9:.1f} GB of free disk space in {folder}, found {free / 1e9:.1f} GB")


def _make_venv(venv: Path) -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason was given"]
        raise InstallError(f"{venv} cannot be made: {lines[-1]}")


def _pip(venv: Path, lock: Path, *flags: str) -> None:
    """Install a lock with the environment's own pip; say what it does at least every `BEAT_S`."""
    command = [str(_python(venv)), "-m", "pip", "install", *PIP_FLAGS, *flags, "-r", str(lock)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    )
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    progress = PipProgress()
    reader = threading.Thread(target=_read, args=(process, tail, progress), daemon=True)
    reader.start()
    try:
        while True:
            try:
                process.wait(BEAT_S)
                break
            except subprocess.TimeoutExpired:
                print(f"   {progress}", flush=True)
    except BaseException:
        process.kill()
        raise
    reader.join()
    if process.returncode != 0:
        print("".join(tail), end="", file=sys.stderr)
        raise InstallError(
            f"pip could not install {lock} (exit code {process.returncode}; its last lines are above). It needs a "
            "connection to PyPI or, in pip's configuration, a mirror or folder that has these packages"
        )


class PipProgress:
    """What pip is at, from the lines that it prints."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._fetched = 0
        self._now = "asking for packages"

    def take(self, line: str) -> None:
        words = line.split()
        if line.startswith(("Collecting", "Processing")) and len(words) > 1:
            self._fetched += 1
            self._now = f"package {self._fetched}, {Path(words[1].partition('==')[0]).name}"
        elif words[:1] == ["Downloading"] and words[-1].endswith(")"):
            self._now = f"{self._now.partition(' (')[0]} ({' '.join(words[-2:]).strip('()')})"
        elif line.startswith("Installing collected packages"):
            self._now = f"unpacking {self._fetched} packages"

    def __str__(self) -> str:
        return f"{time.monotonic() - self._began_s:3.0f} s: {self._now}"


def _read(process: subprocess.Popen[str], tail: collections.deque[str], progress: PipProgress) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            tail.append(line)
            progress.take(line)


if __name__ == "__main__":
    sys.exit(main())
