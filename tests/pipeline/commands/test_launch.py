"""The program as a process of its own: signals while it is being imported, and a standard output that nobody reads."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no EPIPE")
def test_a_standard_output_that_nobody_reads_ends_the_program_without_a_word():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / "stream_segment.py"), "--print-config"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
