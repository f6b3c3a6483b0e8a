"""Folders that may not be read or written, whoever runs the tests."""

import errno
import os


def refuse_below(folder, monkeypatch):
    """Make the system refuse to look at what lies in a folder."""
    stat = os.stat

    def refuses(path, **options):
        if str(path).startswith(str(folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuses)


class Refusals:
    """In place of a function that makes something in a folder: refuses, as Windows where a user may not write.

    `tempfile` takes each refusal there for a name that is taken, and tries the next, for hours.

    Attributes:
        count: number of calls.
    """

    def __init__(self, most: int = 2):
        """More than `most` calls fail the test."""
        self.count, self._most = 0, most

    def __call__(self, path, *_, **__):
        self.count += 1
        assert self.count <= self._most, "it tries name after name"
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
