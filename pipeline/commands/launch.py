"""Starts the command line as a program of its own. Imports little, so that Ctrl-C works while the rest is imported."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import NoReturn

from pipeline.commands.signals import handled, leave


def program() -> NoReturn:
    """Run `main`, then end the process, which a thread that is stuck in a driver cannot keep alive."""
    with handled(leave, signal.SIGINT, signal.SIGTERM):
        for name in ("main", "run"):
            importlib.import_module(f"pipeline.commands.{name}")
        code = _main_code()
    sys.exit(code)


def _main_code() -> int:
    from pipeline.commands.main import main
    from pipeline.errors import OutputClosedError
    from pipeline.runtime.stream import Stream

    code = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = OutputClosedError.exit_code
    sys.stderr.flush()
    if code == OutputClosedError.exit_code or Stream.any_stuck():
        os._exit(code)  # the interpreter's own end would flush standard output once more, or wait for the thread
    return code
