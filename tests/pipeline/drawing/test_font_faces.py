"""Which font a character is written in; a copy of the shipped font serves as one of the system."""

from pipeline.drawing.font_faces import SHIPPED_FONT, FontFaces, system_fonts


def test_the_shipped_font_is_small():
    assert SHIPPED_FONT.stat().st_size < 1_000_000
    assert "SIL OPEN FONT LICENSE" in (SHIPPED_FONT.parent / "LICENSE.txt").read_text(encoding="utf-8")


def test_fonts_lie_in_the_folders_of_the_system_that_there_are(tmp_path):
    (tmp_path / "Fonts" / "deep").mkdir(parents=True)
    (tmp_path / "Fonts" / "deep" / "OnlySans.ttc").touch()
    assert [path.name for path in system_fonts("win32", {"WINDIR": str(tmp_path)})] == ["OnlySans.ttc"]
    assert system_fonts("win32", {"LOCALAPPDATA": str(tmp_path)}) == []


def test_the_order_of_system_fonts(tmp_path):
    folder = tmp_path / ".fonts"
    folder.mkdir()
    for name in ("AMono.ttf", "BSans-Bold.ttf", "NotoColorEmoji.ttf", "ZSans.ttf", "readme.txt"):
        (folder / name).touch()
    names = [path.name for path in system_fonts("linux", {"HOME": str(tmp_path)}) if path.parent == folder]
    assert names == ["NotoColorEmoji.ttf", "ZSans.ttf", "AMono.ttf", "BSans-Bold.ttf"]


def test_fonts_of_the_system_fill_in(tmp_path):
    """Fonts of emoji come first where a character is to be an emoji; what is no font is skipped."""
    (tmp_path / "NoSans-Regular.ttf").write_bytes(b"no font")
    emoji = tmp_path / "OnlyEmoji.ttc"
    emoji.write_bytes(SHIPPED_FONT.read_bytes())
    searches = []

    def find_others():
        searches.append("")
        return [tmp_path / "absent.ttf", tmp_path / "NoSans-Regular.ttf", emoji]

    faces = FontFaces(find_others)
    shipped = faces.face_for("a")
    assert not searches  # the system may have thousands
    other = faces.face_for("a", as_emoji=True)
    assert shipped is not other
    assert faces.face_for("b") is shipped
    assert faces.face_for("b", as_emoji=True) is other
    assert len(searches) == 1
