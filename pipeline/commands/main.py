"""The command line: runs a command, and turns errors and signals into exit codes.

Imports little, so that Ctrl-C works while the rest is imported.
"""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.commands import COMMANDS
from pipeline.commands.signals import Terminated, handled, leave, unwind
from pipeline.errors import OutputClosedError, RunError, StreamSegmentError, is_broken_pipe
from pipeline.sinks.screen import start_probe

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_PRINTABLE = "stream_segment.printable"
_ASCII = {"…": "...", "²": "^2"}
"""Replacements for the other characters of our own texts."""


def program() -> NoReturn:
    """Run `main`, then end the process, which a thread that is stuck in a driver cannot keep alive."""
    with handled(leave, signal.SIGINT, signal.SIGTERM):
        arguments = sys.argv[1:]
        if "--no-window" not in arguments and not (arguments and arguments[0] in COMMANDS):
            start_probe()  # while the rest is imported
        importlib.import_module("pipeline.commands.run")
        from pipeline.threads.stage import any_stuck

        code = main()
        is_lost = code == OutputClosedError.exit_code
        try:
            if sys.stdout is not None:  # None where it is closed, and under pythonw
                sys.stdout.flush()
        except OSError as error:
            is_lost = True
            if is_broken_pipe(error):
                code = OutputClosedError.exit_code
        if sys.stderr is not None:
            sys.stderr.flush()
        if is_lost or any_stuck():
            from mrcnn.weights.user_cache import remove_temporary

            remove_temporary()
            os._exit(code)  # the interpreter's own end would flush standard output once more, or wait for the thread
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130 or 143 interrupted, 141 nobody reads standard
    output.
    """
    print_any_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    try:
        with handled(unwind, signal.SIGINT, signal.SIGTERM):
            code = int(importlib.import_module(f"pipeline.commands.{name}").run(arguments))
        return _flushed(code)
    except OutputClosedError:
        return OutputClosedError.exit_code
    except StreamSegmentError as error:
        print(f"stream_segment: error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if is_broken_pipe(error) and error.filename is None:
            return OutputClosedError.exit_code
        if error.errno not in _FULL or error.filename is not None:
            raise
        return _not_written(error)
    except Terminated:
        print("stream_segment: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("stream_segment: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _flushed(code: int) -> int:
    """The exit code once what was printed has been written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return OutputClosedError.exit_code if is_broken_pipe(error) else _not_written(error)
    return code


def _not_written(error: OSError) -> int:
    text = f"cannot write: {error.strerror}; is the disk of standard output, or of the temporary folder, full?"
    print(f"stream_segment: error: {text}", file=sys.stderr)
    return RunError.exit_code


def print_any_text() -> None:
    """Make printing succeed in every locale and to every output.

    Bytes of a file name that the locale cannot decode are written unchanged; other characters that the output's
    encoding lacks become an ASCII spelling or an escape.
    """
    codecs.register_error(_PRINTABLE, _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None under pythonw
            stream.reconfigure(errors=_PRINTABLE)


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in _ASCII:
        return _ASCII[character], error.start + 1
    first = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    try:
        return codecs.lookup_error("surrogateescape")(first)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(first)
