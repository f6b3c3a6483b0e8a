"""The folder of the user's cache, by the custom of each system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.weights.user_cache import user_cache
from tests.syntax_trees import ROOT

HOME = Path("/home/me")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": "/fast/cache", "LOCALAPPDATA": "/other"}, "/fast/cache"),
        ("darwin", {"XDG_CACHE_HOME": "/fast/cache"}, "/home/me/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/app/data"}, "/app/data"),
        ("win32", {"XDG_CACHE_HOME": "/fast/cache"}, "/home/me/AppData/Local"),
    ],
)
def test_by_system(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: HOME)
    assert user_cache() == Path(expected) / "stream_segment"


def test_without_a_home(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", unknown)
    assert user_cache() == Path("/.cache/stream_segment")


@pytest.mark.parametrize("end", ["", "user_cache.remove_temporary(); os._exit(0)"])
def test_temporary_folders_are_removed_at_the_end(tmp_path, end):
    script = (
        f"import os\nfrom mrcnn.weights import user_cache\nprint(user_cache.temporary_cache('x-'), flush=True)\n{end}"
    )
    variables = {**os.environ, "TMPDIR": str(tmp_path), "TMP": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert Path(done.stdout.strip()).parent == tmp_path, done.stderr
    assert not list(tmp_path.iterdir())
