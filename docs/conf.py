"""Sphinx configuration of `make docs`, which runs it on the repository's root: README.md is the front page.

The pages are plain Markdown, so that they also read well in the repository. What the site needs beyond them, a table of
contents, is made from the links in the README's section "Documentation".
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "stream_segment"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "weights/README.md", "benchmarks/README.md"]
exclude_patterns = [".*", "out"]

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"light_css_variables": {"font-size--small--2": "76%"}}  # long commands fit into a line

myst_heading_anchors = 3
default_role = "py:obj"  # `name` in a docstring is a link if the name has an entry, else code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

CODE = ("stream_segment.py", "pipeline", "mrcnn")
"""What must have docstrings: every public module, class, function and method."""


def setup(app: Sphinx) -> None:
    """Connects the functions below to the stages of a build. With `--fail-on-warning`, what they find is an error."""
    app.connect("builder-inited", _check_docstrings)
    app.connect("autodoc-process-docstring", _prepare, priority=1)
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _finish)


def _check_docstrings(_: Sphinx) -> None:
    for name in undocumented(ROOT, CODE):
        _warn(f"no docstring: {name}")


def _prepare(_: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    lines[:] = map(plain, lines)
    # napoleon takes what precedes a colon in an attribute's docstring for its type
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"


def _add_contents(_: Sphinx, document: str, source: list[str]) -> None:
    if document == root_doc:
        source[0] += contents(source[0])


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is not None:
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        for tag in external_resources(page.read_text(encoding="utf-8")):
            _warn(f"{page.name} fetches something from elsewhere when it is viewed: {tag}")
    redirect = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    Path(app.outdir, "index.html").write_text(redirect, encoding="utf-8")


def _warn(text: str) -> None:
    from sphinx.util import logging

    logging.getLogger(__name__).warning(text)


def contents(readme: str) -> str:
    """The site's table of contents: a section for each bold word in the README's list of pages."""
    pages = readme.partition("## Documentation")[2].partition("\n## ")[0]
    parts = re.findall(r"\*\*(\w+)\*\*(.+?)(?=\n- |\Z)", pages, re.DOTALL)
    trees = []
    for caption, links in parts:
        entries = re.findall(r"\]\(([^)]+)\.(?:md|rst)\)", links)
        trees.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]))
    return "\n".join(trees)


def plain(line: str) -> str:
    """A line of a docstring whose `*` and `name_` outside of code are no markup."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"(\*|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts)


def external_resources(html: str) -> list[str]:
    """The tags of a page for which a browser would contact another server; links that a reader clicks are fine."""
    return re.findall(r'<(?:script|img|iframe|source|link)\b[^>]*\s(?:src|href)="(?:https?:)?//[^>]*>', html)


def undocumented(root: Path, names: tuple[str, ...]) -> list[str]:
    """Public modules, classes, functions and methods without a docstring, as "file:line name".

    A method that overrides a documented one of a class in the same code inherits its docstring, as `help` shows it.
    """
    tops = [root / name for name in names]
    paths = sorted(path for top in tops for path in ([top] if top.suffix else top.rglob("*.py")))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {node.name: [re.sub(r"\[.*|.*\.", "", ast.unparse(base)) for base in node.bases] for node in classes}
    documented = {(node.name, part.name) for node in classes for part in _functions(node) if ast.get_docstring(part)}

    def inherits(owner: str, method: str) -> bool:
        above = [base for base in bases.get(owner, ()) if base != owner]
        return any((base, method) in documented or inherits(base, method) for base in above)

    found = []
    for path, tree in trees.items():
        where = path.relative_to(root).as_posix()
        if ast.get_docstring(tree) is None:
            found.append(f"{where}:1 module")
        for node in tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                found.append(f"{where}:{node.lineno} {node.name}")
            for method in _functions(node) if isinstance(node, ast.ClassDef) else ():
                is_public = not method.name.startswith("_")
                if is_public and ast.get_docstring(method) is None and not inherits(node.name, method.name):
                    found.append(f"{where}:{method.lineno} {node.name}.{method.name}")
    return found


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
