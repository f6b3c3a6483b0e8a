"""Image files: found under the names that exporters write, and looked at without being decoded."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mrcnn.training.findings import AnnotationError
from mrcnn.training.image_files import check_image_files, fault_of, locate

SIZE = (50, 30)  # width, height


def photo():
    return np.random.default_rng(4).integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)


@pytest.fixture
def jpeg(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), photo())
    return tmp_path / "a.jpg"


@pytest.mark.parametrize("name", ["a.jpg", "images/a.jpg", "C:\\data\\a.jpg", "deep/er/a.jpg"])
def test_a_file_is_found_by_its_path_or_its_name(jpeg, name):
    assert locate(jpeg, jpeg.parent, {7: name}) == {7: jpeg}


def test_the_annotated_path_comes_before_the_bare_name(jpeg):
    inner = jpeg.parent / "b" / "a.jpg"
    inner.parent.mkdir()
    inner.write_bytes(jpeg.read_bytes())
    assert locate(jpeg, jpeg.parent, {7: "b/a.jpg", 8: "a.jpg"}) == {7: inner, 8: jpeg}


def test_missing_files_and_one_file_for_two_images_are_errors(jpeg):
    with pytest.raises(AnnotationError, match=r"image 3 is 'x.jpg', but .*x.jpg does not exist \(and 2 more: 4, 5\)"):
        locate(jpeg, jpeg.parent, {7: "a.jpg", 3: "x.jpg", 4: "y.jpg", 5: "z.jpg"})
    with pytest.raises(AnnotationError, match="the images 7 and 8 are the same file"):
        locate(jpeg, jpeg.parent, {7: "a.jpg", 8: "images/a.jpg"})


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_whole_files_of_every_format_have_no_fault(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(file), photo())
    assert fault_of(file, SIZE) is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_file_that_is_cut_off_is_found(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(file), photo())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "is cut off or damaged" in fault_of(file, SIZE)


def test_other_faults_are_named(jpeg):
    assert fault_of(jpeg, (30, 50)) == "is 50 x 30 pixels, the annotations say 30 x 50"
    (jpeg.parent / "empty.jpg").touch()
    assert fault_of(jpeg.parent / "empty.jpg", SIZE) == "is empty (0 bytes)"
    (jpeg.parent / "text.jpg").write_text("hello, this is no picture")
    assert "is not readable as an image" in fault_of(jpeg.parent / "text.jpg", SIZE)


def test_bytes_behind_the_end_are_no_fault(jpeg):
    jpeg.write_bytes(jpeg.read_bytes() + bytes(1000))
    assert fault_of(jpeg, SIZE) is None


def test_a_picture_that_is_stored_turned_gets_a_hint(jpeg):
    with Image.open(jpeg) as picture:
        exif = picture.getexif()
        exif[274] = 6
        picture.save(jpeg.parent / "turned.jpg", exif=exif)
    assert "stored turned: save it upright" in fault_of(jpeg.parent / "turned.jpg", (30, 50))


def test_the_first_fault_is_told_with_the_number_of_the_others(jpeg):
    files, sizes = {7: jpeg, 8: jpeg, 9: jpeg}, {7: SIZE, 8: (1, 1), 9: (2, 2)}
    with pytest.raises(AnnotationError, match=r"image 8, .* is 50 x 30 pixels.* 1 x 1 \(and 1 more: images 9\)"):
        check_image_files(jpeg, files, sizes)
