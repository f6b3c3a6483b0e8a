"""Text never becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from pipeline.report.markup import Markup, element, joined, legend, note, numbers, section, table
from tests.pipeline.report.recordings import NASTY


class Reader(HTMLParser):
    """Collects what a browser makes of HTML: tags with their attributes, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_elements():
    assert element("p", "a < b", None, element("br"), class_="x", data_y=None, http_equiv="z") == (
        '<p class="x" http-equiv="z">a &lt; b<br></p>'
    )
    assert joined("&", Markup("&")) == "&amp;&"


@pytest.mark.parametrize("name", [NASTY, '" onmouseover="x', "'><img src=x>", "</style></title><b>", "]]><!--"])
def test_names_stay_text(name):
    parts = (
        element("p", name, title=name),
        section(name, note(name)),
        legend([(name, "#ffffff")]),
        numbers({name: name}),
        table([name], [[name]]),
    )
    read = Reader(joined(*parts))
    allowed = {"p", "section", "h2", "ul", "li", "span", "dl", "div", "dt", "dd", "table", "tr", "th", "td"}
    assert {tag for tag, _ in read.tags} <= allowed
    assert {key for _, given in read.tags for key in given} <= {"title", "class", "style"}
    assert read.tags[0][1]["title"] == name
    assert read.text == name * 8


def test_what_is_no_text_is_replaced():
    assert element("p", "a\0b\x1b[0m\ud800\u202e") == "<p>a\ufffdb\ufffd[0m?\ufffd</p>"
    assert element("p", "人 é") == "<p>人 é</p>"
