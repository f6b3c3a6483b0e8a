"""Shaping and direction: compared with the glyphs of parts of the text, and with the shapes that they must have."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from pipeline.drawing.font_faces import FontFaces
from pipeline.drawing.text import render_text, text_width

SIZE = 48.0


ALONE = FontFaces(lambda: ())
"""As on a machine without any fonts."""


def ink(text, faces=ALONE):
    """The letters without the margins around them."""
    coverage = render_text(text, SIZE, faces).coverage
    rows, columns = np.nonzero(coverage)
    return coverage[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def blobs(text):
    """Number of connected columns of ink: joined letters are one."""
    columns = ink(text).any(axis=0)
    return 1 + np.count_nonzero(np.diff(columns.astype(int)) == 1)


def test_latin_letters_stand_on_the_baseline():
    line = render_text("Handed", SIZE)
    assert line.coverage.shape[1] == text_width("Handed", SIZE)
    rows = np.flatnonzero(line.coverage.any(axis=1))
    assert abs(rows.max() + 1 - line.baseline) <= 1
    cap_height = line.baseline - rows.min()
    assert 0.7 * SIZE < cap_height < 0.8 * SIZE
    assert line.emoji_bgra is None


def test_all_digits_are_equally_wide():
    assert len({text_width(f"person {10 + i}%", SIZE) for i in range(90)}) == 1


def test_arabic_runs_from_right_to_left_with_joined_letters():
    assert blobs("بيت") == 1  # house: three letters, joined
    assert blobs("ب ي ت") == 3
    # The first letter is at the right: what stands left of it is what the rest alone looks like.
    house, rest = ink("بيت د"), ink("د")
    np.testing.assert_allclose(house[-rest.shape[0] :, : rest.shape[1]].mean(), rest.mean(), rtol=0.5)
    gap = np.flatnonzero(~ink("بيت د").any(axis=0))
    assert gap.max() < ink("بيت د").shape[1] / 2


def test_numbers_and_latin_words_keep_their_direction_in_hebrew():
    # In a paragraph from right to left: the Hebrew word at the right, then "abc 12" as it is written.
    mixed, latin, hebrew = ink("שלום abc 12"), ink("abc 12"), ink("שלום")
    np.testing.assert_array_equal(mixed[-latin.shape[0] :, : latin.shape[1]] > 128, latin > 128)
    right = mixed[:, -hebrew.shape[1] + 1 :]
    assert abs(int((right > 128).sum()) - int((hebrew > 128).sum())) < 0.1 * (hebrew > 128).sum()


@pytest.mark.parametrize("start", "\u2066\u2067\u2068\u202a\u202b")
def test_marks_of_direction_around_a_word_are_invisible(start):
    end = "\u2069" if start in "\u2066\u2067\u2068" else "\u202c"
    np.testing.assert_array_equal(ink(f"כלב {start}שלום{end}"), ink("כלב שלום"))


def test_devanagari_reorders_vowels_and_joins_conjuncts():
    # The vowel sign i is written after its consonant and stands before it.
    alone, with_vowel = ink("क"), ink("कि")
    tall = np.flatnonzero((with_vowel > 128).sum(axis=0) > 0.8 * with_vowel.shape[0])
    assert tall.min() < with_vowel.shape[1] / 3
    assert with_vowel.shape[1] > alone.shape[1]
    assert text_width("क्ष", SIZE, ALONE) < text_width("कष", SIZE, ALONE)


@pytest.mark.parametrize(
    "text", ["Человек 98%", "άνθρωπος", "người", "شخص 98%", "אדם", "व्यक्ति", "ব্যক্তি", "நபர்", "บุคคล"]
)
def test_the_shipped_font_has_it(text, caplog):
    assert ink(text).any()
    assert caplog.text == ""


def test_a_script_without_a_font_is_named_once_with_what_to_install(caplog):
    faces = FontFaces(lambda: ())
    with caplog.at_level(logging.WARNING):
        for text in ("人 98%", "中文", "犬", "😀"):
            assert ink(text, faces).any()
    assert [record.getMessage() for record in caplog.records] == [
        "no font on this machine has the script Cjk, drawing boxes: install one (Debian and Ubuntu: fonts-noto-cjk)",
        "no font on this machine has emoji and symbols, drawing boxes: install one (Debian and Ubuntu: "
        "fonts-noto-color-emoji)",
    ]


def test_control_characters_are_spaces():
    np.testing.assert_array_equal(render_text("a\nb", SIZE).coverage, render_text("a b", SIZE).coverage)
    assert text_width("", SIZE) == 2


def red_square_font(path):
    """A font whose only character, a smiley, is a red square from the baseline to half an em (COLR version 0)."""
    pen = TTGlyphPen(None)
    nothing = pen.glyph()
    pen.moveTo((100, 0))
    for point in ((100, 500), (600, 500), (600, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "smile", "layer"])
    builder.setupCharacterMap({0x1F600: "smile"})
    builder.setupGlyf({".notdef": nothing, "smile": square, "layer": square})
    builder.setupHorizontalMetrics({name: (700, 100) for name in (".notdef", "smile", "layer")})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupOS2()
    builder.setupPost()
    builder.setupCOLR({"smile": [("layer", 0)]})
    builder.setupCPAL([[(1.0, 0.0, 0.0, 1.0)]])
    builder.save(path)


def test_emoji_have_their_colors(tmp_path):
    red_square_font(tmp_path / "emoji.ttf")
    line = render_text("😀 x", SIZE, FontFaces(lambda: [tmp_path / "emoji.ttf"]))
    y, x = np.nonzero(line.emoji_bgra[:, :, 3] > 128)
    assert (y.max() + 1, y.min()) == (line.baseline, line.baseline - 24)
    assert abs(x.min() - 1 - 4.8) <= 1
    assert abs(x.max() - 1 - 28.8) <= 1
    np.testing.assert_array_equal(line.emoji_bgra[line.baseline - 10, 15], [0, 0, 255, 255])
    assert not line.coverage[:, : x.max()].any()
    assert line.coverage.any()  # the letter


def test_it_needs_no_library_of_the_system():
    """Neither fribidi nor raqm nor FreeType is loaded: HarfBuzz's wheel holds everything."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs Linux's list of loaded libraries")
    code = (
        "from pipeline.drawing.text import render_text; render_text('شخص', 20.0); print(open('/proc/self/maps').read())"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "uharfbuzz" in loaded
    assert not any(name in loaded for name in ("libfribidi", "libraqm", "libfontconfig"))
