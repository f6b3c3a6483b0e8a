"""What no line of our code may do, since it fails on other systems only: found in the syntax trees."""

import ast

import pytest

from tests.syntax_trees import ROOT, tree_of

CODE = ("pipeline", "mrcnn")

# In Windows these open no path outside the code page.
NARROW = {
    "imread",
    "imreadmulti",
    "imwrite",
    "imwritemulti",
    "imcount",
    "haveImageReader",
    "haveImageWriter",
    "VideoCapture",
}
MAY = {("pipeline/sources/camera.py", "VideoCapture")}
"""Cameras, by number or device."""


def sources(*tops):
    paths = [
        path for top in tops for path in ([ROOT / top] if top.endswith(".py") else sorted((ROOT / top).rglob("*.py")))
    ]
    assert len(paths) > len(tops)
    return [(path.relative_to(ROOT).as_posix(), tree_of(path)) for path in paths]


def narrow_names(name, tree):
    return {
        (name, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in NARROW and ast.unparse(node.value) == "cv2"
    }


def test_no_image_is_read_or_written_by_what_refuses_other_letters_under_windows():
    assert narrow_names("x", ast.parse("a = cv2.imread(str(p))")) == {("x", "imread")}
    found = set().union(*(narrow_names(name, tree) for name, tree in sources(*CODE)))
    assert found == MAY


def without_encoding(name, tree):
    """Calls whose text would have the encoding of the system."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if "encoding" not in keywords and _is_text(node, called, keywords):
            found.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    return found


def _is_text(node, called, keywords):
    if called in ("read_text", "write_text", "TextIOWrapper", "FileHandler"):
        return True
    if called == "open":
        is_method = isinstance(node.func, ast.Attribute)
        given = node.args[0 if is_method else 1 :][:1]
        mode = keywords.get("mode", ast.unparse(given[0]) if given else "''")
        builtin_or_path = not is_method or "path" in ast.unparse(node.func.value).lower() or bool(given)
        owner_name = ast.unparse(node.func.value) if is_method else ""
        return builtin_or_path and owner_name not in ("av", "Image") and mode[:1] in "'\"" and "b" not in mode
    return keywords.get("text", keywords.get("universal_newlines")) == "True"


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("open(path)", 1),
        ("open(path, 'w')", 1),
        ("path.open()", 1),
        ("path.open('a')", 1),
        ("path.read_text()", 1),
        ("path.write_text(text)", 1),
        ("subprocess.run(x, text=True)", 1),
        ("open(path, 'rb')", 0),
        ("path.open('rb')", 0),
        ("path.read_text(encoding='utf-8')", 0),
        ("subprocess.run(x, encoding='utf-8')", 0),
        ("segmenter.open()", 0),
    ],
)
def test_text_without_an_encoding_is_found(code, count):
    assert len(without_encoding("x", ast.parse(code))) == count


def test_every_text_file_and_pipe_names_its_encoding():
    trees = sources(*CODE, "tools", "benchmarks", "examples", "stream_segment.py", "setup.py")
    assert [line for name, tree in trees for line in without_encoding(name, tree)] == []
