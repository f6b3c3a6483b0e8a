"""The structure of annotation files: what is read, and every way in which it can be wrong."""

import json

import pytest

from mrcnn.coco.annotation_errors import AnnotationError
from mrcnn.coco.annotation_file import CocoImage, read_annotation_file


def document():
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 30, "width": 50}],
        "categories": [{"id": 3, "name": "cup"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 100, "image_id": 7, "category_id": 1, "iscrowd": 1},
            {"image_id": 7.0, "category_id": 3},
        ],
    }


def read(folder, content):
    (folder / "a.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_annotation_file(folder / "a.json")


def test_everything_in_the_order_of_the_file(tmp_path):
    file = read(tmp_path, b"\xef\xbb\xbf" + json.dumps(document()).encode())  # a byte order mark, as Windows writes it
    assert file.images == {7: CocoImage(7, "a.png", 30, 50)}
    assert list(file.categories.items()) == [(3, "cup"), (1, "person")]
    crowd, other = file.annotations
    assert (crowd.image_id, crowd.category_id, crowd.is_crowd, crowd.record["id"]) == (7, 1, True, 100)
    assert (other.image_id, other.category_id, other.is_crowd) == (7, 3, False)
    assert crowd.label == f"{tmp_path / 'a.json'}: annotation 100"
    assert other.label == f"{tmp_path / 'a.json'}: annotation number 2"
    assert file.warnings == {}


def test_an_image_that_is_listed_again_with_the_same_file_and_size_is_taken_once(tmp_path):
    content = document()
    content["images"].append(dict(content["images"][0], license=3))
    file = read(tmp_path, content)
    assert list(file.images) == [7]
    assert file.warnings == {"image listed more than once, taken once": [7]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("categories"), "has no categories: expected COCO's instances format"),
        (lambda d: d.update(images={}), "has no images"),
        (lambda d: d["images"].clear(), "lists no images"),
        (lambda d: d["images"].append(dict(d["images"][0], width=51)), "image id 7 is used twice"),
        (lambda d: d["images"].append(3), "image number 2 must have a whole number 'id', got None"),
        (lambda d: d["images"][0].update(id="1"), "image number 1 must have a whole number 'id', got '1'"),
        (lambda d: d["images"][0].update(id=float("nan")), "image number 1 must have a whole number 'id', got nan"),
        (lambda d: d["images"][0].update(id=True), "image number 1 must have a whole number 'id', got True"),
        (lambda d: d["images"][0].update(width=0), "image 7 has the width 0"),
        (lambda d: d["images"][0].pop("height"), "image 7 must have a whole number 'height', got None"),
        (lambda d: d["images"][0].update(height=30.5), r"image 7 must have a whole number 'height', got 30\.5"),
        (lambda d: d["images"][0].pop("file_name"), "image 7 has no file_name"),
        (lambda d: d["categories"][0].pop("name"), "category 3 has no name"),
        (lambda d: d["categories"].append({"id": 3, "name": "dog"}), "category id 3 is used twice"),
        (lambda d: d["categories"].append({"id": 4, "name": "cup"}), "two categories are named 'cup'"),
        (lambda d: d["annotations"][0].update(category_id=99), "annotation 100 has category 99, which the file does"),
        (lambda d: d["annotations"][0].update(image_id=8), "annotation 100 belongs to image 8, which the file does"),
        (lambda d: d["annotations"][0].pop("category_id"), "annotation 100 must have a whole number 'category_id'"),
        (lambda d: d["annotations"].append(3), "annotation number 3 must have a whole number 'image_id', got None"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path, change, message):
    content = document()
    change(content)
    with pytest.raises(AnnotationError, match=rf"a\.json:? .*{message}") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON: maximum recursion depth"),
        (b"[]", "has no images, annotations, categories"),
    ],
)
def test_files_that_are_no_annotations(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=rf"a\.json .*{message}"):
        read(tmp_path, content)


def test_files_that_do_not_exist(tmp_path):
    with pytest.raises(AnnotationError, match=r"annotation file .*gone\.json does not exist"):
        read_annotation_file(tmp_path / "gone.json")
    with pytest.raises(AnnotationError, match=r"annotation file .* is a folder"):
        read_annotation_file(tmp_path)
