"""The program as processes on a system that lacks things: modules, variables, rights."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[1]
CODE = ("pipeline", "mrcnn")
FRAMES = 6
NO_CHOICE = {"precision": "float32", "workers": 1}
"""Of `model`: leaves nothing to measure, which takes longer than such a run."""
DEADLINE_S = 120.0


def copy_program(target, *without):
    """What a clone holds that a run needs, but for names such as `without`."""
    for name in (*CODE, "weights", "samples"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("cache", "*.part", *without))
    for name in ("stream_segment.py", "config.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, target)


def environment(**variables):
    """Nothing but what a process cannot do without, and `variables`."""
    return {
        name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR") if name in os.environ
    } | variables


def start(command, cwd=None, **variables):
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        cwd=cwd,
        env=environment(**variables),
        timeout=DEADLINE_S,
        check=False,
    )


def without_choice():
    return [word for key, value in NO_CHOICE.items() for word in ("--set", f"model.{key}={value}")]


def segment(program, source, *more, **variables):
    """A run over the first frames of a video, as a process with these variables and no others."""
    flags = ("--source", source, "--max-frames", FRAMES, "--no-window", *without_choice(), *more)
    return start([sys.executable, program / "stream_segment.py", *flags], **variables)


def check_clean(done, code=0):
    """The exit code, and a standard error for people, which is returned."""
    told = done.stderr.decode(errors="surrogateescape")
    assert done.returncode == code, told
    assert "Traceback" not in told
    assert "Error:" not in told
    return told


def check_results(video, detections, label="person"):
    """As many frames, with people, as were read."""
    check_video(video)
    check_lines(detections.read_bytes(), label)


def check_video(path):
    """It has all frames; by another reader than the recorder's library."""
    reader, count = cv2.VideoCapture(str(path)), 0
    while reader.read()[0]:
        count += 1
    assert count == FRAMES


def check_lines(content, label="person"):
    records = [json.loads(line) for line in content.decode("ascii").splitlines()]
    assert [record["frame"] for record in records] == list(range(FRAMES))
    assert all({found["label"] for found in record["objects"]} == {label} for record in records)
    return records


AS_USER = """
import ctypes, os, struct, sys

# Of all the rights of root one is kept: to read everything. The interpreter may lie in a folder that is root's alone.
READ_ALL = 2
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, VERSION_3 = 8, 47, 2, 0x20080522
user = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        sys.exit("cannot become another user: " + os.strerror(ctypes.get_errno()))


checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
os.setgroups([])
os.setgid(user)
os.setuid(user)
bit = 1 << READ_ALL
checked(libc.capset(struct.pack("=Ii", VERSION_3, 0), struct.pack("=6I", bit, bit, bit, 0, 0, 0)))
checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, READ_ALL, 0, 0))
os.execv(sys.argv[2], sys.argv[2:])
"""


def as_user(user, command):
    """The command as another user, where this one is root; else as this one, who has no more rights either."""
    return [sys.executable, "-c", AS_USER, user, *command] if os.getuid() == 0 else list(command)


def owner(folder, user):
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, user, user)
    return folder


SYSTEMS = """
import builtins, contextlib, functools, importlib, os, select, shutil, signal, socket, sys, time, types

OURS = ("pipeline", "mrcnn", "stream_segment", "tools", "benchmarks")
ELSEWHERE = {
    "fcntl", "resource", "pwd", "grp", "spwd", "crypt", "termios", "tty", "pty", "syslog", "readline", "curses", "nis",
    "posix", "_posixsubprocess", "msvcrt", "winreg", "_winapi", "winsound", "nt", "_scproxy", "Foundation", "AppKit",
}
NOT_EVERYWHERE = {
    os: "fork forkpty getuid geteuid getgid getegid getgroups getpgid setsid killpg getlogin sched_getaffinity "
        "sched_setaffinity O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_SYNC O_DSYNC sync fdatasync posix_fadvise "
        "posix_fallocate sysconf statvfs fstatvfs uname getloadavg mkfifo nice wait4 chown fchown lchown pread pwrite "
        "sendfile pipe2 WNOHANG WIFEXITED ctermid openpty memfd_create eventfd getrandom",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGKILL SIGQUIT SIGPIPE SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGWINCH alarm "
        "pause setitimer pthread_kill pthread_sigmask sigwait sigtimedwait siginterrupt",
    socket: "AF_UNIX SO_REUSEPORT SO_PEERCRED MSG_DONTWAIT MSG_NOSIGNAL sethostname",
    select: "poll epoll devpoll kqueue",
    time: "tzset clock_gettime CLOCK_MONOTONIC CLOCK_REALTIME",
}
real_import = builtins.__import__


def ours(name):
    return name.partition(".")[0] in OURS


def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if level == 0 and name.partition(".")[0] in ELSEWHERE and ours(importer):
        raise ImportError(f"{importer} imports {name}, which is not on every system")
    return real_import(name, globals, locals, fromlist, level)


def hide():
    # What other packages need of these modules they have by now.
    for name in [name for name in sys.modules if ours(name)]:
        del sys.modules[name]
    if hasattr(socket, "AF_UNIX"):  # Windows has a socketpair that does without
        socket.socketpair = functools.partial(socket.socketpair, int(socket.AF_UNIX))
    if hasattr(os, "statvfs"):  # Windows has a shutil.disk_usage that does without
        statvfs = os.statvfs
        shutil.disk_usage = lambda path: types.SimpleNamespace(free=statvfs(path).f_bavail * statvfs(path).f_frsize)
    for module, names in NOT_EVERYWHERE.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    builtins.__import__ = guarded
    for attempt in ("import fcntl", "from pwd import getpwuid", "import curses.ascii", "import msvcrt"):
        try:
            exec(attempt, {"__name__": "pipeline.somewhere"})
        except ImportError as error:
            assert "pipeline.somewhere imports" in str(error), error
        else:
            sys.exit(f"this check cannot fail: {attempt}")
"""
