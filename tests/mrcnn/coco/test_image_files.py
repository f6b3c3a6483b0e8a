"""Image files: found under the names that exporters write, checked without being decoded, read as they are stored."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mrcnn.coco.annotation_file import AnnotationError, CocoImage
from mrcnn.coco.image_files import check_image_files, fault_of, locate, read_image_bgr

HEIGHT, WIDTH = 30, 50


def image(name="a.jpg", image_id=7, height=HEIGHT, width=WIDTH):
    return CocoImage(image_id, name, height, width)


def images(names):
    """{id: file name} as images of the annotation file."""
    return {image_id: image(name, image_id) for image_id, name in names.items()}


def photo():
    return np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def save_with_orientation(path, orientation):
    picture = Image.fromarray(photo()[..., ::-1])
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(path, exif=exif)


@pytest.fixture
def jpeg(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), photo())
    return tmp_path / "a.jpg"


@pytest.mark.parametrize("name", ["a.jpg", "images/a.jpg", "C:\\data\\a.jpg", "deep/er/a.jpg"])
def test_a_file_is_found_by_its_path_or_its_name(jpeg, name):
    assert locate(jpeg, jpeg.parent, images({7: name})) == {7: jpeg}


@pytest.mark.parametrize("name", ["x" * 5000, "x\0.jpg"])
def test_a_name_that_no_file_can_have_is_missing(jpeg, name):
    with pytest.raises(AnnotationError, match=r"image 7 is 'x.* does not exist$"):
        locate(jpeg, jpeg.parent, images({7: name}))


def test_the_annotated_path_comes_before_the_bare_name(jpeg):
    inner = jpeg.parent / "b" / "a.jpg"
    inner.parent.mkdir()
    inner.write_bytes(jpeg.read_bytes())
    assert locate(jpeg, jpeg.parent, images({7: "b/a.jpg", 8: "a.jpg"})) == {7: inner, 8: jpeg}


def test_missing_files_and_folders_and_one_file_for_two_images_are_errors(jpeg):
    missing = images({7: "a.jpg", 3: "x.jpg", 4: "y.jpg", 5: "z.jpg"})
    with pytest.raises(AnnotationError, match=r"image 3 is 'x.jpg', but .*x.jpg does not exist \(and 2 more: 4, 5\)"):
        locate(jpeg, jpeg.parent, missing)
    with pytest.raises(AnnotationError, match=r"the image folder .*elsewhere does not exist"):
        locate(jpeg, jpeg.parent / "elsewhere", missing)
    with pytest.raises(AnnotationError, match=r"the image folder .*a\.jpg is a file"):
        locate(jpeg, jpeg, missing)
    with pytest.raises(AnnotationError, match="the images 7 and 8 are the same file"):
        check_image_files(jpeg, {7: jpeg, 8: jpeg}, images({7: "a.jpg", 8: "images/a.jpg"}))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_whole_files_of_every_format_have_no_fault(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(file), photo())
    assert fault_of(file, image()) is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_file_that_is_cut_off_is_found(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(file), photo())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "is cut off or damaged" in fault_of(file, image())


def test_other_faults_are_named(jpeg):
    assert fault_of(jpeg, image(height=50, width=30)) == "is 50 x 30 pixels, the annotations say 30 x 50"
    (jpeg.parent / "empty.jpg").touch()
    assert fault_of(jpeg.parent / "empty.jpg", image()) == "is empty (0 bytes)"
    (jpeg.parent / "text.jpg").write_text("hello, this is no picture")
    assert "is not readable as an image" in fault_of(jpeg.parent / "text.jpg", image())


def test_bytes_behind_the_end_are_no_fault(jpeg):
    jpeg.write_bytes(jpeg.read_bytes() + bytes(1000))
    assert fault_of(jpeg, image()) is None


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_that_is_stored_rotated_counts_as_it_is_displayed(tmp_path, suffix):
    file = tmp_path / f"turned.{suffix}"
    save_with_orientation(file, 6)
    assert fault_of(file, image(height=WIDTH, width=HEIGHT)) is None
    assert read_image_bgr(file, upright=True).shape == (WIDTH, HEIGHT, 3)
    fault = fault_of(file, image())
    assert fault.startswith("is 30 x 50 pixels, the annotations say 50 x 30, as it is stored, without its rotation tag")


def test_the_first_fault_is_told_with_the_number_of_the_others(jpeg):
    paths = {7: jpeg}
    for number in (8, 9):
        paths[number] = jpeg.with_name(f"{number}.jpg")
        paths[number].write_bytes(jpeg.read_bytes())
    listed = {7: image(), 8: image("8.jpg", 8, 1, 1), 9: image("9.jpg", 9, 2, 2)}
    with pytest.raises(AnnotationError, match=r"image 8, .* is 50 x 30 pixels.* 1 x 1 \(and 1 more: images 9\)"):
        check_image_files(jpeg, paths, listed)


def test_name_with_letters_of_no_code_page(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imread", None)
    path = tmp_path / "Füße 视频.png"
    path.write_bytes(cv2.imencode(".png", photo())[1].tobytes())
    assert (read_image_bgr(path) == photo()).all()
    assert (read_image_bgr(str(path)) == photo()).all()


def test_rotation_tag_and_alpha_do_not_count(tmp_path):
    save_with_orientation(tmp_path / "turned.jpg", 6)  # a quarter to the right
    assert read_image_bgr(tmp_path / "turned.jpg").shape == (HEIGHT, WIDTH, 3)
    Image.fromarray(photo()[..., ::-1]).convert("RGBA").save(tmp_path / "alpha.png")
    assert (read_image_bgr(tmp_path / "alpha.png") == photo()).all()


def test_what_is_no_image(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"not a picture")
    assert read_image_bgr(tmp_path / "empty.png") is None
    assert read_image_bgr(tmp_path / "text.png") is None
    with pytest.raises(FileNotFoundError):
        read_image_bgr(tmp_path / "missing.png")
