"""What the README says of the program is what the program is."""

import re
from pathlib import Path

from pipeline.settings.schema import Settings
from tools.options_table import options_table, with_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_options_is_up_to_date():
    assert with_table(README) == README, "run: python tools/options_table.py --write"
    assert options_table().count("\n") > 30


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []


def test_headings_that_are_linked_exist():
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-")
                for line in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_the_settings_in_the_python_example_are_valid():
    example = re.search(r"model_validate\(\s*(\{.*?\})\s*\)\n", README, re.DOTALL)
    assert example is not None
    settings = Settings.model_validate(eval(example.group(1), {"__builtins__": {}}))
    assert settings.source.uri == "clip.mp4"


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README
