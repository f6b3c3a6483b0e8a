"""Errors meant for users: the command line prints their one-line message and exits with their code."""

import errno
import re
import sys

_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")


class StreamSegmentError(Exception):
    """Base class of the program's own errors, each with a one-line message for the user."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; line breaks and other control characters, as in names of files, are escaped."""
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().__str__())


class InputError(StreamSegmentError):
    """Invalid input: a setting, path, codec or weights file. Nothing was written. Exit code 2."""

    exit_code = 2


class RunError(StreamSegmentError):
    """A failure during the run: source lost, encoder failed, disk full. Exit code 1."""


class OutputClosedError(RunError):
    """Nobody reads standard output any more, as after `| head -1`: the program ends without a word. Exit code 141."""

    exit_code = 128 + 13  # what a shell reports for SIGPIPE, which Windows lacks


def is_broken_pipe(error: OSError) -> bool:
    """Whether a write has failed because nobody reads the pipe; under Windows, that may be an "Invalid argument"."""
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


class StageStuckError(RunError):
    """A thread did not end before its deadline."""
