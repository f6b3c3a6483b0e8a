"""No module needs what only some systems have."""

import sys

from tests.portable_program import CODE, ROOT, SYSTEMS, check_clean, start

IMPORT_ALL = (
    SYSTEMS
    + """
modules = sys.argv[1:]
for name in modules:
    importlib.import_module(name)
hide()
for name in modules:
    importlib.import_module(name)
import stream_segment
from pipeline.commands import COMMANDS

assert not hasattr(signal, "SIGHUP")
for flag in ("--help", "--version", "--print-config"):
    with contextlib.suppress(SystemExit):
        assert stream_segment.main([flag]) == 0
for command in COMMANDS:
    with contextlib.suppress(SystemExit):
        assert stream_segment.main([command, "--help"]) == 0
"""
)


def modules():
    paths = [path for top in CODE for path in sorted((ROOT / top).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [*names, "stream_segment", "tools.demo", "benchmarks.__main__"]


def test_every_module_is_imported_without_those_of_one_system(tmp_path):
    names = modules()
    assert {"pipeline.runtime.stream", "mrcnn.network.compiled", "pipeline.commands.train", "mrcnn"} <= set(names)
    done = start(
        [sys.executable, "-c", IMPORT_ALL, *names], cwd=ROOT, PATH="", HOME=str(tmp_path), TF_CPP_MIN_LOG_LEVEL="3"
    )
    check_clean(done)
    for expected in (
        b"usage: python stream_segment.py [",
        b"stream_segment 0.",
        b"source:\n",
        b"usage: python stream_segment.py train",
    ):
        assert expected in done.stdout
