"""The command line: runs a command, and turns errors and signals into exit codes."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from pipeline.commands import COMMANDS
from pipeline.commands.program import print_any_text
from pipeline.commands.signals import Terminated, handled, unwind
from pipeline.errors import OutputClosedError, StreamSegmentError


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130 or 143 interrupted, 141 nobody reads standard
    output.
    """
    print_any_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with handled(unwind, signal.SIGINT, signal.SIGTERM):
            return _dispatch(arguments)
    except (OutputClosedError, BrokenPipeError):
        return OutputClosedError.exit_code
    except StreamSegmentError as error:
        print(f"stream_segment: error: {error}", file=sys.stderr)
        return error.exit_code
    except Terminated:
        print("stream_segment: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("stream_segment: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _dispatch(arguments: list[str]) -> int:
    is_command = bool(arguments) and arguments[0] in COMMANDS
    command = importlib.import_module(f"pipeline.commands.{arguments[0] if is_command else 'run'}")
    return int(command.run(arguments[1:] if is_command else arguments))
