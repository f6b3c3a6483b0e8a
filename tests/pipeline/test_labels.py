"""Class names from a file, and the classes that a user selects."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.labels import class_name, is_unused, load_labels, plural, resolve_classes

COCO_LABELS = load_labels(str(Path(__file__).parents[2] / "examples" / "coco_labels.txt"), 81)


def labels_file(folder, content):
    path = folder / "labels.txt"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"BG\nperson\n", ("BG", "person")),
        (b"BG\r\nperson\r\n\r\n", ("BG", "person")),
        ("\ufeffBG\n  été  \n犬".encode(), ("BG", "été", "犬")),
    ],
)
def test_files_of_all_systems(tmp_path, content, expected):
    assert load_labels(labels_file(tmp_path, content), None) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 names"),
        (b"\n\n", "has 0 names"),
        (b"BG\n", "has 1 names"),
        (b"BG\nperson\n\ndog\n", r"labels.txt:3: blank line"),
        (b"BG\nperson\ndog\nperson\n", r"labels.txt:4: duplicate class 'person', first on line 2"),
        (b"BG\n\xff\xfe\n", "not UTF-8"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason):
        load_labels(labels_file(tmp_path, content), None)


def test_missing_files_folders_and_wrong_numbers(tmp_path):
    with pytest.raises(InputError, match="cannot read the labels file"):
        load_labels(str(tmp_path / "none.txt"), None)
    with pytest.raises(InputError, match="cannot read the labels file"):
        load_labels(str(tmp_path), None)
    with pytest.raises(InputError, match="has 3 class names including the background, but the weights have 81 classes"):
        load_labels(labels_file(tmp_path, b"BG\na\nb\n"), 81)


def test_classes_by_name_in_any_case_and_by_id():
    assert resolve_classes([" Person ", "17", "traffic light"], COCO_LABELS) == {1, 17, 10}
    assert resolve_classes([], COCO_LABELS) == frozenset()


def test_a_name_stands_for_every_class_that_has_it():
    labels = ("BG", "person", "dog", "PERSON", "Straße", "person ", "STRASSE")
    assert resolve_classes(["Person"], labels) == {1, 3, 5}
    assert resolve_classes(["strasse"], labels) == {4, 6}
    assert resolve_classes(["3"], labels) == {3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("persn", r"no class 'persn'; did you mean person\?"),
        ("xyzzy", "no class 'xyzzy'; it has person, bicycle, car"),
        ("0", "range from 1 to 80, got 0"),
        ("81", "range from 1 to 80, got 81"),
        ("-1", "no class '-1'"),
        ("bg", "no class 'bg'"),
        ("", "no class ''"),
    ],
)
def test_unknown_classes_are_reported_with_similar_names(text, reason):
    with pytest.raises(InputError, match=reason):
        resolve_classes(["car", text], COCO_LABELS)


def test_a_class_beyond_the_labels_is_named_by_its_id():
    assert class_name(1, ("BG", "person")) == "person"
    assert class_name(2, ("BG", "person")) == "class 2"


def test_an_unknown_class_names_its_setting():
    with pytest.raises(InputError, match=r"^privacy\.classes: this model has no class 'persn'; did you mean person\?"):
        resolve_classes(["persn"], COCO_LABELS, "privacy.classes")
    with pytest.raises(InputError, match=r"^privacy\.classes: the ids of this model range from 1 to 80, got 81"):
        resolve_classes(["81"], COCO_LABELS, "privacy.classes")


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "person", "1 person"),
        (3, "person", "3 people"),
        (0, "dog", "0 dogs"),
        (2, "bus", "2 buses"),
        (2, "bench", "2 benches"),
        (2, "wine glass", "2 wine glasses"),
        (2, "sheep", "2 sheep"),
        (2, "cell phone", "2 cell phones"),
        (2, "class 90", "2 class 90"),
        (2, "人", "2 人"),
    ],
)
def test_numbers_with_their_nouns(count, noun, text):
    assert plural(count, noun) == text


@pytest.mark.parametrize(("label", "is_one"), [("unused 12", True), ("unused", False), ("unused box 3", False)])
def test_a_class_without_a_meaning_is_known_by_its_name(label, is_one):
    assert is_unused(label) is is_one
