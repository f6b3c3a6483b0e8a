import numpy as np

from benchmarks.rows import drawing


def test_supervision_gets_the_same_objects_as_full_frames():
    instances = drawing.twenty_objects()
    detections = drawing.full_frame_detections(instances)
    assert len(instances) == len(detections) == 20
    assert detections.mask.shape == (20, 1080, 1920)
    np.testing.assert_array_equal(detections.xyxy, instances.boxes_xyxy)
    for mask, (x1, y1, x2, y2) in zip(detections.mask, instances.boxes_xyxy.astype(int), strict=True):
        share = mask.sum() / ((x2 - x1) * (y2 - y1))
        assert 0.5 < share < 0.9  # an ellipse
        assert mask.sum() == mask[y1:y2, x1:x2].sum()


def test_both_sides_draw_the_same_objects():
    image = drawing.blurred_noise()
    theirs, ours = ((draw() != image).any(axis=2) for draw in drawing.drawers(image).values())
    assert 0.1 < theirs.mean() < 0.9
    assert np.mean(theirs == ours) > 0.95  # letters and the places of labels differ
