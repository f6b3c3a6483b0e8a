"""Stored answers are what the network reported, to the bit."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.batch.stored_answers import AnswerWriter, checksum_of, read_answers
from pipeline.batch.stretches import SeamError
from pipeline.records import Frame, Instances

RANDOM = np.random.default_rng(3)


def answer(count, side=28):
    return Instances(
        RANDOM.uniform(0, 100, (count, 4)).astype(np.float32),
        RANDOM.integers(1, 80, count).astype(np.int32),
        RANDOM.uniform(0, 1, count).astype(np.float32),
        RANDOM.uniform(0, 1, (count, side, side)).astype(np.float32),
    )


def frame(pts):
    return Frame("a", 0, pts, Fraction(1, 90000), 0.0, RANDOM.integers(0, 256, (5, 7, 3), np.uint8))


def test_everything_comes_back_in_order(tmp_path):
    given = [(frame(pts), answer(count, side)) for pts, count, side in ((-3, 2, 28), (0, 0, 28), (2**40, 100, 14))]
    with AnswerWriter(tmp_path / "answers") as writer:
        for one, instances in given:
            writer.add(one, instances)
    found = list(read_answers(tmp_path / "answers"))
    assert [one.pts for one in found] == [-3, 0, 2**40]
    assert [one.checksum for one in found] == [checksum_of(one.image_bgr) for one, _ in given]
    for one, (_, instances) in zip(found, given, strict=True):
        for name in ("boxes_xyxy", "class_ids", "scores", "mask_probs"):
            array, expected = getattr(one.instances, name), getattr(instances, name)
            assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
            assert array.tobytes() == expected.tobytes()


def test_a_checksum_covers_every_pixel_and_the_size():
    image = RANDOM.integers(0, 256, (6, 4, 3), np.uint8)
    other = image.copy()
    other[5, 3, 2] ^= 1
    different = [other, image.reshape(4, 6, 3), np.ascontiguousarray(image[:5]), image[:, ::-1]]
    assert checksum_of(image) == checksum_of(image.copy()) == checksum_of(image[:, ::-1][:, ::-1])
    assert checksum_of(image) not in [checksum_of(one) for one in different]


@pytest.mark.parametrize("cut", [3, 30, 200])
def test_a_file_that_is_cut_short_is_noticed(tmp_path, cut):
    path = tmp_path / "answers"
    with AnswerWriter(path) as writer:
        writer.add(frame(1), answer(3))
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(SeamError, match="answers is damaged"):
        list(read_answers(path))


def test_no_file_is_written_over(tmp_path):
    (tmp_path / "answers").touch()
    with pytest.raises(FileExistsError):
        AnswerWriter(tmp_path / "answers")
