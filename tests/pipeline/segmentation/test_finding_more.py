"""With privacy on, the segmenter finds more than is shown; what is shown stays the same."""

from dataclasses import replace

import numpy as np

from pipeline.segmentation.mask_rcnn import MaskRCNNSegmenter
from pipeline.settings.model_settings import ModelSettings
from tests.pipeline.fakes import make_instances


def test_what_was_asked_for_is_the_same_and_the_rest_is_found_besides(seeded_small_weights):
    image = np.random.default_rng(2).integers(0, 255, (100, 150, 3)).astype(np.uint8)
    asked = ModelSettings(weights=str(seeded_small_weights), device="cpu", min_score=0.5, max_instances=3)
    plain, wide = MaskRCNNSegmenter(asked), MaskRCNNSegmenter(asked, find_from=0.2)
    none_of_them = MaskRCNNSegmenter(asked.model_copy(update={"classes": ("dog",)}), find_from=0.2)
    results = []
    for segmenter in (plain, wide, none_of_them):
        segmenter.open()
        results.append(segmenter.segment(image))
        segmenter.close()
    shown, found, found_too = results
    assert len(shown) == 3
    assert len(found) > 3
    chosen = wide.chosen(found)
    np.testing.assert_allclose(chosen.boxes_xyxy, shown.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(chosen.mask_probs, shown.mask_probs, atol=1e-3)
    assert chosen.class_ids.tolist() == shown.class_ids.tolist()
    assert plain.chosen(shown) is shown
    assert len(found_too) == len(found)
    assert len(none_of_them.chosen(found_too)) == 0


def test_a_tracker_is_given_what_was_asked_for_and_more_down_to_its_own_score(seeded_small_weights):
    settings = ModelSettings(weights=str(seeded_small_weights), device="cpu", min_score=0.5)
    plain, wide = MaskRCNNSegmenter(settings), MaskRCNNSegmenter(settings, find_from=0.2)
    scores = np.array([0.9, 0.55, 0.45, 0.35, 0.25], np.float32)
    found = replace(make_instances(5), scores=scores)
    assert (plain.sure_score, wide.sure_score) == (0.0, 0.5)
    assert plain.candidates(found, 0.4) is found
    assert wide.candidates(found, 0.4).scores.tolist() == scores[:3].tolist()
    assert wide.candidates(found, 1.0).scores.tolist() == scores[:2].tolist()
    few = MaskRCNNSegmenter(settings.model_copy(update={"max_instances": 1, "classes": ("dog",)}), find_from=0.2)
    assert len(few.candidates(found, 0.4)) == 0
