"""Which parts of `mrcnn` may import which: only those below themselves, and nothing of the program."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RANKS = {"config": 0, "weights": 1, "network": 2, "export": 3, "engines": 4, "training": 5, "matterport": 6}
NAMES = 7  # model, utils and visualize only re-export
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "openvino", "onnxruntime"}
WITH_KERAS = ROOT / "mrcnn" / "engines" / "keras_engine.py"

FILES = sorted((ROOT / "mrcnn").rglob("*.py"))


def imported(nodes) -> set[str]:
    """Modules that the import statements among the nodes name, `from mrcnn import x` as mrcnn.x."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            is_package = node.module == "mrcnn"
            found |= {f"mrcnn.{alias.name}" for alias in node.names} if is_package else {node.module}
    return found


def rank(module: str) -> int:
    return RANKS.get(module.split(".")[1], NAMES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_downwards(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    modules = imported(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    assert not [name for name in modules if name.split(".")[0] in ("pipeline", "stream_segment", "tests", "benchmarks")]
    if path.name == "__init__.py":
        assert not [name for name in modules if name.startswith("mrcnn")]
        return
    above = [name for name in modules if name.startswith("mrcnn.") and rank(name) > rank(module)]
    assert not above, f"{module} imports {above}"


@pytest.mark.parametrize("path", sorted((ROOT / "mrcnn" / "engines").glob("*.py")), ids=lambda path: path.stem)
def test_engines_load_their_frameworks_late(path):
    at_module_level = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")).body)}
    assert at_module_level & FRAMEWORKS == ({"keras"} if path == WITH_KERAS else set())
