"""Errors and exit codes, printing in any locale, and the program as a process of its own.

Signals during a run are in tests/test_stream_segment.py.
"""

import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial

import pytest

from pipeline.commands.main import main, print_any_text
from pipeline.runtime.stream import Stream
from tests.pipeline.fakes import FakeSegmenter, FakeSource
from tests.syntax_trees import ROOT

INTERRUPTED = textwrap.dedent(
    """
    import os, runpy, signal, sys

    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == sys.argv[1]:
                os.kill(os.getpid(), int(sys.argv[2]))

    sys.meta_path.insert(0, Interrupting())
    program, sys.argv[1:] = sys.argv[3], [*sys.argv[1:3], "--print-config"]
    runpy.run_path(program, run_name="__main__")
    """
)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no EPIPE")
def test_detections_that_nobody_reads_end_the_run_without_a_word(capsys, monkeypatch):
    source = FakeSource(500)
    monkeypatch.setattr("pipeline.commands.run.Stream", partial(Stream, source=source, segmenter=FakeSegmenter()))
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["--no-window", "--detections", "-"])
    assert code == 141
    assert capsys.readouterr().err == "stream_segment: source: fake\n"
    assert source.given < 500


def test_a_command_whose_reader_goes_away(capsys, monkeypatch):
    def run(_):
        raise BrokenPipeError

    monkeypatch.setattr("pipeline.commands.weights.run", run)
    assert main(["weights"]) == 141
    assert capsys.readouterr().err == ""


def test_a_command_whose_reader_goes_away_under_windows(capsys, monkeypatch):
    """The C runtime says so only sometimes, see CPython's `subprocess.Popen._stdin_write`."""

    def run(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("pipeline.commands.weights.run", run)
    with pytest.raises(OSError, match="Invalid argument"):
        main(["weights"])
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["weights"]) == 141
    assert capsys.readouterr().err == ""


def test_a_finished_run_of_a_file_whose_name_is_not_utf_8(monkeypatch):
    class Named(FakeSource):
        def open(self):
            return replace(super().open(), source_id="cl\udcffip.mp4")

    fakes = partial(Stream, source=Named(3), segmenter=FakeSegmenter())
    monkeypatch.setattr("pipeline.commands.run.Stream", fakes)
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert main(["--no-window"]) == 0
    assert stdout.buffer.getvalue().startswith(b"cl\xffip.mp4: finished after ")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"\\xe4 \\u89c6 512 ... 32^2 \xc3\xa4.mp4\n"),
        ("latin-1", b"\xe4 \\u89c6 512 ... 32\xb2 \xc3\xa4.mp4\n"),
        ("utf-8", "ä 视 512 … 32² ä.mp4\n".encode()),
    ],
)
def test_what_the_output_cannot_hold_is_written_all_the_same(monkeypatch, encoding, expected):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline=""))
    print_any_text()
    for stream in (sys.stdout, sys.stderr):
        print("ä 视 512 … 32² \udcc3\udca4.mp4", file=stream, flush=True)
        assert stream.buffer.getvalue() == expected


def test_without_any_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    print_any_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sh")
@pytest.mark.parametrize("arguments", [["weights", "list"], ["--print-config"]])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_without_an_output_the_exit_code_is_that_of_the_command(closed, arguments):
    program = [sys.executable, str(ROOT / "stream_segment.py"), *arguments]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *program], cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_detections_without_a_standard_output(capsys, monkeypatch):
    fakes = partial(Stream, source=FakeSource(3), segmenter=FakeSegmenter())
    monkeypatch.setattr("pipeline.commands.run.Stream", fakes)
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--no-window", "--detections", "-"]) == 2
    expected = "stream_segment: error: --detections -: standard output is closed: give a file instead\n"
    assert capsys.readouterr().err.endswith(expected)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
@pytest.mark.parametrize("module", ["cv2", "av", "pydantic"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_leaves_no_traceback(module, number):
    command = [sys.executable, "-c", INTERRUPTED, module, str(int(number)), str(ROOT / "stream_segment.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode in (128 + number, -number)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def written_to(stdout, arguments, unbuffered=""):
    """The program's end with this standard output."""
    command = [sys.executable, str(ROOT / "stream_segment.py"), *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no EPIPE")
@pytest.mark.parametrize("arguments", [["--print-config"], ["--version"], ["report", "--help"]])
def test_a_standard_output_that_nobody_reads_ends_the_program_without_a_word(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = written_to(writing, arguments)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a file that is a full disk")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["weights", "list"], ["--print-config"], ["--version"], ["report", "--help"], ["cameras", "--json"]]
)
def test_a_standard_output_on_a_full_disk_is_an_error_of_one_line(arguments, unbuffered):
    with open("/dev/full", "w") as full:
        done = written_to(full, arguments, unbuffered)
    expected = "stream_segment: error: cannot write: No space left on device; is the disk of standard output, "
    assert (done.returncode, done.stderr) == (1, expected + "or of the temporary folder, full?\n")


def test_an_error_of_the_system_that_nothing_foresaw_is_not_taken_for_a_full_disk(monkeypatch):
    def run(_):
        raise FileNotFoundError(2, "No such file", "x")

    monkeypatch.setattr("pipeline.commands.weights.run", run)
    with pytest.raises(FileNotFoundError):
        main(["weights"])
