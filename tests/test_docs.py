"""The documentation says what the program is: links, anchors, options, examples, docstrings."""

import importlib.util
import re
from pathlib import Path

import pytest

import stream_segment
from pipeline.settings.schema import Settings
from tools.options_table import PAGE, options_table, with_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "weights" / "README.md",
    ROOT / "benchmarks" / "README.md",
]


@pytest.fixture(scope="module")
def conf():
    """docs/conf.py as a module; Sphinx is not needed to import it."""
    spec = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Pages


def prose(path):
    """A page without its code blocks and code spans."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<=\n\n)(?: {4}.*\n|\n)+", "", text)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The ids that GitHub and MyST give the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    """Links to files that do not exist, and to headings that the page does not have; external ones are not checked."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(path)):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path.name}: {link}")
    return broken


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A title, with `code`\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md#a-title-with-code) [b](#here) [c](https://example.org/x) `[d](code.md)`\n\n"
        "    [e](block.md)\n\n[f](missing.md) [g](other.md#missing) [h](#there)\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["page.md: missing.md", "page.md: other.md#missing", "page.md: #there"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


def test_the_readme_is_short_and_lists_every_page(conf):
    assert README.count("\n") <= 130
    listed = set(re.findall(r"^(\S+)$", conf.contents(README), re.MULTILINE))
    pages = [*PAGES, *(ROOT / "docs" / "api").glob("*.rst")]
    assert listed - {"```", "```{toctree}", ":hidden:"} == {
        path.relative_to(ROOT).with_suffix("").as_posix() for path in pages if path != ROOT / "README.md"
    }


def test_pages_that_fetch_something_are_found(conf):
    font = '<link rel="stylesheet" href="https://fonts.example.org/a.css">'
    script, badge = '<script async src="//cdn.example.org/x.js">', '<img alt="" src="http://example.org/badge.svg">'
    fine = '<a href="https://example.org"></a><script src="_static/x.js"></script><link rel="icon" href="data:image/x">'
    assert conf.external_resources(f"{fine}{font}<p>{script}</script>{badge}") == [font, script, badge]


def test_nothing_is_left_to_fill_in():
    assert [path.name for path in PAGES if re.search(r"@@|TODO|FIXME", path.read_text(encoding="utf-8"))] == []


# Options and examples


def test_the_table_of_options_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run: python tools/options_table.py --write"
    assert options_table().count("\n") > 30


def test_the_settings_in_the_python_example_are_valid():
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    example = re.search(r"model_validate\(\s*(\{.*?\})\s*\)\n", text, re.DOTALL)
    assert example is not None
    settings = Settings.model_validate(eval(example.group(1), {"__builtins__": {}}))
    assert settings.source.uri.reveal() == "clip.mp4"


# API reference and docstrings


def test_stars_and_underscores_in_docstrings_are_no_markup(conf):
    assert conf.plain("IMAGE_* and val_… of (*SHAPE, N)") == r"IMAGE\_\* and val\_… of (\*SHAPE, N)"
    assert conf.plain("a_name, `*args` and `x_`, __init__") == r"a_name, `*args` and `x_`, __init_\_"


def test_the_api_reference_has_every_public_name():
    page = (ROOT / "docs" / "api" / "stream_segment.rst").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)(?:\(\))?$", page, re.MULTILINE)
    assert sorted(names) == sorted(stream_segment.__all__)


def test_a_missing_docstring_is_found(conf, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "base.py").write_text(
        '"""Module."""\nclass Base:\n    """Class."""\n    def run(self):\n        """Method."""\n', encoding="utf-8"
    )
    (tmp_path / "package" / "bare.py").write_text(
        "from package import base\nclass Bare(base.Base):\n    def run(self): ...\n    def more(self): ...\n"
        "    def _private(self): ...\ndef function(): ...\nasync def other():\n    '''Text.'''\nclass _Hidden: ...\n",
        encoding="utf-8",
    )
    assert conf.undocumented(tmp_path, ("package",)) == [
        "package/bare.py:1 module",
        "package/bare.py:2 Bare",
        "package/bare.py:4 Bare.more",
        "package/bare.py:6 function",
    ]


def test_every_public_name_has_a_docstring(conf):
    assert conf.undocumented(ROOT, conf.CODE) == []
