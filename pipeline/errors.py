"""The errors that a user may see: the command line prints their text as one line and exits with their code."""


class StreamSegmentError(Exception):
    """Base of every error that this program raises on purpose; its text is one line for the user."""

    exit_code = 1


class InputError(StreamSegmentError):
    """What the user gave (setting, path, codec, weights) cannot be used. Nothing was written. Exit code 2."""

    exit_code = 2


class RunError(StreamSegmentError):
    """Something failed while running (source lost, encoder failed, disk full). Exit code 1."""


class StageStuckError(RunError):
    """A stage's thread did not end within its deadline."""
