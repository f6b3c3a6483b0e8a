"""Making an environment from a lock: a real one, of one small wheel, without a network."""

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import install

FREE_BYTES = 10**10
"""What the disk has: the tests need little of it, whatever the machine's own has."""


def write_wheel(folder, version="1.0"):
    """A wheel of one module; returns its SHA-256."""
    files = {
        "smallthing.py": f"VERSION = {version!r}\n",
        f"smallthing-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: smallthing\nVersion: {version}\n"
        "Requires-Dist: opencv-python\n",
        f"smallthing-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    path = folder / f"smallthing-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
        file.writestr(f"smallthing-{version}.dist-info/RECORD", record)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """A lock of the small wheel, which pip finds in a folder."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=FREE_BYTES))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(install, "BUILD_LOCK", tmp_path / "build.txt")
    install.BUILD_LOCK.write_text("# nothing to build with\n")
    path = tmp_path / "lock.txt"
    path.write_text(f"smallthing==1.0 --hash=sha256:{write_wheel(tmp_path)}\n")
    return path


def version_in(venv):
    code = "import smallthing; print(smallthing.VERSION)"
    return subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders have other names")
@pytest.mark.slow
def test_an_environment_is_made_left_alone_and_made_anew(tmp_path, lock, monkeypatch, capsys):
    venv = tmp_path / "a new venv"
    assert install.main(["--venv", str(venv), "--lock", str(lock)]) == 0
    assert version_in(venv) == "1.0"
    assert capsys.readouterr().out.startswith(f"== making {venv} with Python {sys.version.split()[0]}\n")

    assert install.main(["--venv", str(venv), "--lock", str(lock)]) == 0
    assert capsys.readouterr().out == f"{venv} is up to date\n"

    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "an interpreter that is gone")
    (venv / "left over").touch()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))  # it makes its own room
    lock.write_text(f"smallthing==2.0 --hash=sha256:{write_wheel(tmp_path, '2.0')}\n")
    assert install.main(["--venv", str(venv), "--lock", str(lock)]) == 0
    assert version_in(venv) == "2.0"
    assert not (venv / "left over").exists()

    shutil.copy(lock, tmp_path / "run.txt")
    monkeypatch.setattr(install, "LOCKS", tmp_path)  # what the tests need is added to it
    lock.write_text(f"smallthing==1.0 --hash=sha256:{'0' * 64}\n")
    assert install.main(["test", "--venv", str(venv), "--lock", str(lock)]) == 1
    assert not (venv / ".installed-test").exists()
    assert version_in(venv) == "2.0"
    shown = capsys.readouterr().err
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in shown
    assert shown.splitlines()[-1].startswith(f"error: pip could not install {lock} (exit code 1; ")


class FakePip:
    """A process that ends at once."""

    returncode = 0

    def __init__(self, command, **_):
        self.stdout = io.StringIO()

    def wait(self, timeout):
        return self.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders have other names")
@pytest.mark.parametrize("changed", ["nothing", "the interpreter is gone", "the lock", "the lock to build with"])
def test_when_an_environment_is_made_anew(tmp_path, lock, monkeypatch, changed):
    made, python = [], tmp_path / "venv" / "bin" / "python"

    def make(command, **_):
        made.append(Path(command[-1]))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        (tmp_path / "venv" / "pyvenv.cfg").touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(install.subprocess, "run", make)
    monkeypatch.setattr(install.subprocess, "Popen", FakePip)
    for _ in range(2):
        assert install.main(["--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 0
        assert made == [tmp_path / "venv"]
    if changed == "the interpreter is gone":
        python.unlink()
        python.symlink_to(tmp_path / "gone")
    if changed == "the lock":
        lock.write_text("# another\n")
    if changed == "the lock to build with":
        install.BUILD_LOCK.write_text("# another\n")
    assert install.main(["--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 0
    assert made == [tmp_path / "venv"] * (1 if changed == "nothing" else 2)


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders have other names")
def test_an_environment_that_could_not_be_filled_is_not_up_to_date(tmp_path, lock, monkeypatch):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    stamp = tmp_path / "venv" / ".installed-run"
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    monkeypatch.setattr(install.subprocess, "Popen", FakePip)
    assert install.main(["--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 0
    assert stamp.exists()

    monkeypatch.setattr(FakePip, "returncode", 1)
    lock.write_text("# another\n")
    assert install.main(["--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 1
    assert not stamp.exists()


def test_a_python_that_cannot_be_used_is_refused_before_anything_is_made(tmp_path, lock, monkeypatch, capsys):
    monkeypatch.setattr(install, "fault", lambda: "CPython 3.14.0, for which TensorFlow has no release yet")
    assert install.main(["--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 2
    assert not (tmp_path / "venv").exists()
    assert capsys.readouterr().err.startswith("error: expected Python 3.11, 3.12 or 3.13 (CPython")


def test_too_small_a_disk_is_refused_before_anything_is_made(tmp_path, lock, monkeypatch, capsys):
    monkeypatch.setattr(install, "NEEDED_BYTES", dict.fromkeys(install.NEEDED_BYTES, FREE_BYTES + 10**8))
    assert install.main(["test", "--venv", str(tmp_path / "venv"), "--lock", str(lock)]) == 1
    assert not (tmp_path / "venv").exists()
    free = f"error: expected 10.1 GB of free disk space in {tmp_path}, found 10.0 GB\n"
    assert capsys.readouterr().err == free


@pytest.mark.parametrize("held", ["thesis.txt", "stream_segment/tools/install.py"])
def test_a_folder_with_other_files_is_left_alone(tmp_path, lock, monkeypatch, capsys, held):
    folder = tmp_path / "home"
    (folder / held).parent.mkdir(parents=True)
    (folder / held).write_text("precious")
    if held != "thesis.txt":  # an environment that the clone lies in
        (folder / "pyvenv.cfg").touch()
        monkeypatch.setattr(install, "ROOT", folder / "stream_segment")
    assert install.main(["--venv", str(folder), "--lock", str(lock)]) == 1
    assert (folder / held).read_text() == "precious"
    message = f"error: --venv {folder}: expected a new folder or an environment, found one with other files\n"
    assert capsys.readouterr().err == message


def test_a_place_where_no_environment_can_be_made_is_one_line(tmp_path, lock, capsys):
    (tmp_path / "file").touch()
    assert install.main(["--venv", str(tmp_path / "file" / "venv"), "--lock", str(lock)]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith(f"error: {tmp_path / 'file' / 'venv'} cannot be made: ")


def test_progress_is_what_pip_says():
    progress = install.PipProgress()
    for line in (
        "Collecting absl-py==2.5.1 (from -r locks/run.txt (line 3))",
        "Processing /folder/tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (from -r locks/run.txt (line 9))",
        "Collecting av==18.1.0 (from -r locks/run.txt (line 99))",
        "  Downloading av-18.1.0-cp311-abi3-manylinux_2_28_x86_64.whl (35.0 MB)",
    ):
        progress.take(line)
    assert str(progress).endswith(" s: package 3, av (35.0 MB)")
    progress.take("Installing collected packages: absl-py, av, tensorflow")
    assert str(progress).endswith(" s: unpacking 3 packages")
