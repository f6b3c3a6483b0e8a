"""Folders that may not be read, whoever runs the tests."""

import os


def refuse_below(folder, monkeypatch):
    """Make the system refuse to look at what lies in a folder."""
    stat = os.stat

    def refuses(path, **options):
        if str(path).startswith(str(folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuses)
