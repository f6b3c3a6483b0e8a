"""Annotation files: masks as drawn, crowd regions, and every way in which a file can be wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrcnn.coco.annotation_file import AnnotationError
from mrcnn.training.annotated_images import (
    AnnotatedImage,
    AnnotatedImages,
    EmptyClass,
    Instance,
    concatenate,
    load_coco,
    split,
)

HEIGHT, WIDTH = 30, 50


def document(*annotations, file_name="a.png"):
    return {
        "images": [{"id": 7, "file_name": file_name, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "cup"}, {"id": 1, "name": "person"}],
        "annotations": [{"id": 100 + index, "image_id": 7} | one for index, one in enumerate(annotations)],
    }


def square(category_id=1, x=10, y=4, width=20, height=8, **more):
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"category_id": category_id, "segmentation": [polygon], "iscrowd": 0} | more


@pytest.fixture
def folder(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path


def load(folder, content, **settings):
    (folder / "a.json").write_text(json.dumps(content))
    return load_coco(folder, folder / "a.json", **settings)


def test_polygon_becomes_box_and_mask(folder):
    data = load(folder, document(square(), square(category_id=3, x=30, y=10, width=6, height=15)))
    assert data.class_names == ("BG", "cup", "person")
    person, cup = data.images[0].instances
    assert (person.class_id, cup.class_id) == (2, 1)
    assert person.box.tolist() == [4, 10, 12, 30]
    assert cup.box.tolist() == [10, 30, 25, 36]
    assert person.mask.shape == (8, 20)
    assert person.mask.dtype == np.uint8
    assert (person.mask == 255).all()


def test_run_lengths_crowds_and_other_categories(folder):
    counts = [0, HEIGHT * 2, HEIGHT * (WIDTH - 2)]  # the two leftmost columns
    rle = {"size": [HEIGHT, WIDTH], "counts": counts}
    data = load(
        folder,
        document(square(category_id=3), square(), {"category_id": 1, "segmentation": rle, "iscrowd": 1}),
        classes=["person"],
    )
    assert data.class_names == ("BG", "person")
    assert data.category_names == ("cup", "person")
    assert [(one.class_id, one.category) for one in data.images[0].instances] == [(0, 1), (1, 2)]
    assert data.images[0].crowd_boxes.tolist() == [[0, 0, HEIGHT, 2]]


def test_objects_without_area_are_left_out_and_counted(folder):
    outside = square(x=WIDTH + 10)
    data = load(folder, document(square(), outside, {"category_id": 1, "segmentation": [[]], "iscrowd": 0}))
    assert len(data.images[0].instances) == 1
    assert data.warnings == {
        "object outside its image, left out": [101],
        "object without area, left out": [102],
        "category that no annotation has, left out of the classes": ["cup"],
    }


def test_a_box_over_the_edge_is_cut_and_counted(folder):
    data = load(folder, document(square(x=40, y=20, width=30, height=30), square(x=30, y=4, width=20.5)))
    assert data.images[0].instances[0].box.tolist() == [20, 40, HEIGHT, WIDTH]
    assert data.images[0].instances[1].box.tolist() == [4, 30, 12, WIDTH]
    assert data.warnings["object that extends beyond its image, clipped"] == [100]  # half a pixel is none


def test_tiny_objects_and_empty_classes_are_counted(folder):
    data = load(folder, document(square(), square(height=2), square(category_id=3, x=70)))
    assert data.class_names == ("BG", "person")
    assert data.warnings == {
        "object less than 4 pixels high or wide, too small to learn": [101],
        "object outside its image, left out": [102],
        "class without a usable object, left out of the classes": ["cup"],
    }


def test_what_is_listed_twice_in_the_same_words_is_taken_once(folder):
    content = document(square(), square(), square(x=11))
    content["images"].append(dict(content["images"][0], license=3))
    data = load(folder, content)
    assert len(data.images) == 1
    assert len(data.images[0].instances) == 2
    assert data.warnings["image listed more than once, taken once"] == [7]
    assert data.warnings["identical object annotated twice, taken once"] == [101]


def test_a_class_that_another_file_lacks_is_counted_where_that_is_asked_for(folder):
    data = load(folder, document(square()), classes=["dog", "person"], empty_class=EmptyClass.WARN)
    assert data.class_names == ("BG", "dog", "person")
    assert data.images[0].instances[0].class_id == 2
    assert data.warnings["class without a usable object"] == ["dog"]
    with pytest.raises(AnnotationError, match="no usable object of the class dog"):
        load(folder, document(square()), classes=["dog"], empty_class=EmptyClass.WARN)


def test_crowds_keep_class_and_mask(folder):
    data = load(folder, document(square(), square(x=30, iscrowd=1)))
    (crowd,) = data.images[0].crowds
    assert (crowd.class_id, crowd.box.tolist(), crowd.mask.shape) == (1, [4, 30, 12, 50], (8, 20))
    assert data.warnings["region marked iscrowd, neither object nor background"] == [101]


def test_objects_that_are_all_marked_as_crowds_are_an_error_that_says_so(folder):
    with pytest.raises(AnnotationError, match=r"no usable object at all.* \(1 regions are marked iscrowd, as CVAT"):
        load(folder, document(square(iscrowd=1)))
    with pytest.raises(AnnotationError, match=r"no usable object of the class cup \(1 regions are marked iscrowd"):
        load(folder, document(square(), square(category_id=3, iscrowd=1)), classes=["person", "cup"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].pop("segmentation"), "annotation 100 has no segmentation"),
        (
            lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3]]),
            "annotation 100 has an unreadable segmentation",
        ),
        (
            lambda d: d["annotations"][0].update(segmentation={"size": [9, 9], "counts": [81]}),
            "annotation 100 has an unreadable segmentation",
        ),
        (lambda d: d["images"][0].update(file_name="gone.png"), "gone.png does not exist"),
        (lambda d: d["annotations"].clear(), "no usable object"),
        (lambda d: d["annotations"].append(dict(square(x=3), id=100, image_id=7)), "annotation id 100 is used twice"),
        (lambda d: d["annotations"][0].update(id="x"), "annotation number 1 must have a whole number 'id', got 'x'"),
        (lambda d: d["images"][0].update(width=51), "a.png, is 50 x 30 pixels, the annotations say 51 x 30"),
    ],
)
def test_errors_name_the_annotation(folder, change, message):
    content = document(square())
    change(content)
    with pytest.raises(AnnotationError, match=message):
        load(folder, content)


def test_errors_of_classes(folder):
    with pytest.raises(AnnotationError, match="no category dog"):
        load(folder, document(square()), classes=["dog"])
    with pytest.raises(AnnotationError, match="no usable object of the class cup"):
        load(folder, document(square()), classes=["cup"])
    with pytest.raises(AnnotationError, match="different names"):
        load(folder, document(square()), classes=["person", "person"])


def images(*class_ids_per_image):
    made = []
    for index, class_ids in enumerate(class_ids_per_image):
        instances = tuple(Instance(c, c + 1, np.array([0, 0, 2, 3]), np.ones((2, 3), np.uint8)) for c in class_ids)
        made.append(AnnotatedImage(index, f"{index}.png", 20, 30, instances, np.zeros((0, 4), np.float32)))
    return AnnotatedImages(("BG", "cup", "dog"), ("cup", "dog"), tuple(made))


def ids(data):
    return [image.image_id for image in data.images]


def test_a_tenth_is_set_aside_and_nothing_is_lost():
    data = images(*[[1]] * 40)
    train, validation = split(data, seed=1)
    assert len(validation.images) == 4
    assert sorted(ids(train) + ids(validation)) == list(range(40))
    assert ids(train) == sorted(ids(train))
    assert train.class_names == validation.class_names == data.class_names
    assert ids(split(data, seed=1)[1]) == ids(validation)
    assert ids(split(data, seed=2)[1]) != ids(validation)


@pytest.mark.parametrize("seed", range(20))
def test_the_last_image_of_a_class_and_empty_ones_stay_with_the_training(seed):
    data = images([2], [], *[[1, 1]] * 9, [])
    validation = split(data, seed)[1]
    assert len(validation.images) == 1
    assert ids(validation)[0] in range(2, 11)


def test_few_images_are_not_split():
    data = images(*[[1]] * 9)
    assert split(data, seed=1) == (data, data)
    alone = images(*[[2]], *[[]] * 11)
    assert split(alone, seed=1) == (alone, alone)


def test_sets_are_concatenated_in_order_and_repeated_where_named_twice():
    parts = [
        AnnotatedImages(
            ("BG", "cup"),
            ("dog", "cup"),
            tuple(AnnotatedImage(number, Path(f"{number}.png"), 9, 9, (), np.zeros((0, 4))) for number in numbers),
        )
        for numbers in ((4, 2), (9,))
    ]
    found = concatenate([parts[0], parts[1], parts[0]])
    assert [image.image_id for image in found.images] == [4, 2, 9, 4, 2]
    assert (found.class_names, found.category_names) == (("BG", "cup"), ("dog", "cup"))


def test_sets_of_other_categories_are_not_concatenated():
    one = AnnotatedImages(("BG", "cup"), ("dog", "cup"), ())
    with pytest.raises(ValueError, match="same classes and categories in the same order"):
        concatenate([one, AnnotatedImages(("BG", "cup"), ("cup", "dog"), ())])
