"""`stream_segment.py weights`: where the file goes, and what is said."""

import pytest

from pipeline.commands import weights
from pipeline.errors import InputError


def test_the_file_goes_where_it_is_asked_to(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(weights, "download_coco_weights", lambda folder: asked.append(folder) or folder / "coco.h5")
    assert weights.run(["coco", "--dir", str(tmp_path)]) == 0
    assert asked == [tmp_path]
    assert capsys.readouterr().out == f"COCO weights: {tmp_path / 'coco.h5'}\n"


@pytest.mark.parametrize("argv", [[], ["imagenet"], ["coco", "--fast"]])
def test_mistakes_are_one_line_that_names_the_help(argv):
    with pytest.raises(InputError, match=r"see python stream_segment.py weights --help"):
        weights.run(argv)
