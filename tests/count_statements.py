"""Counts the statements of the program, docstrings and comments aside: a size that formatting does not change.

python -m tests.count_statements          # by folder
python -m tests.count_statements REV      # beside those of another revision of git
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable

from tests.syntax_trees import ROOT

PROGRAM = ("pipeline/", "mrcnn/", "commands/", "stream_segment.py")
"""`commands/` is where the subcommands were before they moved into `pipeline/`."""


def statements(text: str) -> int:
    """Statements in Python code; a string that stands alone documents something and does not count."""
    return sum(
        isinstance(node, ast.stmt)
        and not (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        for node in ast.walk(ast.parse(text))
    )


def by_folder(files: Iterable[tuple[str, str]]) -> Counter[str]:
    """Statements by folder, two levels deep, of those (path, text) that are the program's."""
    counts: Counter[str] = Counter()
    for path, text in files:
        if path.startswith(PROGRAM) and path.endswith(".py"):
            counts["/".join(path.split("/")[:-1][:2]) or path] += statements(text)
    return counts


def working_tree() -> Counter[str]:
    """Those of the files as they are."""
    paths = [
        ROOT / "stream_segment.py",
        *(path for top in ("pipeline", "mrcnn") for path in (ROOT / top).rglob("*.py")),
    ]
    return by_folder((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def revision(name: str) -> Counter[str]:
    """Those of a revision. Raises CalledProcessError when git has none of that name."""
    archive = subprocess.run(["git", "archive", name], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [entry for entry in tar if entry.isfile() and entry.name.endswith(".py")]
        return by_folder((entry.name, tar.extractfile(entry).read().decode()) for entry in files)


def main(arguments: list[str]) -> int:
    """Print the counts; exit code 2 without such a revision."""
    if not arguments:
        now = working_tree()
        for folder, count in sorted(now.items()):
            print(f"{count:6} {folder}")
        print(f"{now.total():6} in all")
        return 0
    try:
        before = revision(arguments[0])
    except subprocess.CalledProcessError:
        return 2
    now = working_tree()
    for folder in sorted(before | now):
        print(f"{before[folder]:6} -> {now[folder]:6} {folder}")
    change = now.total() / before.total() - 1
    print(f"{before.total():6} -> {now.total():6} in all ({change:+.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
