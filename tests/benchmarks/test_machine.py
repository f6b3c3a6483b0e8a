import subprocess
from pathlib import Path

import numpy as np

from benchmarks import machine


def test_description_says_where_and_with_what():
    found = machine.describe()
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["versions"]["numpy"] == np.__version__
    assert found["date"][:2] == "20"
    assert set(found["cpu_flags"]) <= set(machine.CPU_FLAGS)


def test_flags_name_and_memory_are_read_from_proc(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512_bf16 xyz\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1953125 kB\n")
    monkeypatch.setattr(machine, "PROC", tmp_path)
    assert machine.processor() == "Some CPU @ 2 GHz"
    assert machine.processor_flags() == ["avx2", "avx512_bf16"]
    assert machine.memory_gb() == 2.0


def test_commit_of_a_clone_and_outside(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.commit() == ""

    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x@y", *arguments], check=True)

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    assert len(machine.commit()) == 12
    (tmp_path / "file").write_text("2")
    assert machine.commit().endswith(" + changes")
