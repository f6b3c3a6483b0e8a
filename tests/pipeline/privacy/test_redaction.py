"""What is redacted, frame by frame. `test_privacy_run.py` has whole runs."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.privacy.redaction import Anonymizer, Redactor, coarsen
from pipeline.records import Detections, Frame, Instances, SegmentedFrame, StageTimes, UnredactedFrame
from pipeline.settings.presentation_settings import PrivacySettings
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import make_frame, make_instances

NAMES = ("BG", "person", "dog")


def captured():
    frame = make_frame(60)
    return UnredactedFrame(frame, make_instances(1), 60, StageTimes(0.0), Detections(frame, make_instances(1)))


def test_without_privacy_and_background_the_frame_is_the_same():
    given = captured()
    redacted = Redactor(Settings(), NAMES).apply(given)
    assert redacted.frame is given.frame
    assert type(redacted) is SegmentedFrame


def test_with_both_the_person_is_redacted_and_the_rest_replaced():
    settings = Settings.model_validate(
        {
            "privacy": {"mode": "silhouette", "color": "#ff0000", "margin": 0.0},
            "background": {"mode": "color", "color": "#00ff00"},
        }
    )
    given = captured()
    redacted = Redactor(settings, NAMES).apply(given)
    image = redacted.frame.image_bgr
    assert (image[15, 10] == (0, 0, 255)).all()
    assert (image[45, 70] == (0, 255, 0)).all()
    assert not (image == 60).all(axis=2).any()
    assert not image.flags.writeable
    assert (redacted.frame.index, redacted.frame.pts) == (given.frame.index, given.frame.pts)
    assert (given.frame.image_bgr == np.uint8(60)).all()


@pytest.mark.parametrize("section", ["privacy", "background"])
def test_classes_that_are_not_there_are_refused_at_once(section):
    with pytest.raises(InputError, match=rf"{section}\.classes"):
        Redactor(Settings.model_validate({section: {"mode": "blur", "classes": ["horse"]}}), NAMES)


HEIGHT, WIDTH = 90, 160
LABELS = ("BG", "dog", "person")
REDACTED = "#00ff01"
REDACTED_BGR = (1, 255, 0)


def frame_at(index, height=HEIGHT, width=WIDTH, image=None):
    """A frame of noise, 10 a second."""
    if image is None:
        image = np.random.default_rng(7).integers(100, 140, (height, width, 3)).astype(np.uint8)
    return Frame("fake", index, index * 100, Fraction(1, 1000), 50.0 + index / 10, image)


def objects(*boxes, class_id=2, score=0.9):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, class_id, np.int32),
        np.full(count, score, np.float32),
        np.ones((count, 28, 28), np.float32),
    )


def shown_at(frame, finding, instances=None):
    index = finding.frame.index if finding else None
    return UnredactedFrame(frame, instances or Instances.empty(), index, StageTimes(0.0), detections=finding)


def anonymizer_with(**settings):
    base = {"mode": "silhouette", "color": REDACTED, "cover_changes": False}
    return Anonymizer(PrivacySettings(**{**base, **settings}), LABELS)


def exact(anonymizer, index, instances):
    """bool (H, W): what is redacted of a frame that was inferred itself."""
    frame = frame_at(index)
    return redacted(anonymizer.apply(shown_at(frame, Detections(frame, instances)), frame.image_bgr))


def redacted(image):
    return (image == np.array(REDACTED_BGR)).all(axis=2)


def test_the_mask_and_a_margin_are_redacted_and_nothing_else():
    frame = frame_at(0)
    before = frame.image_bgr.copy()
    image = anonymizer_with(margin=0.05).apply(
        shown_at(frame, Detections(frame, objects([60, 30, 80, 60]))), frame.image_bgr
    )
    mask = redacted(image)
    assert mask[30:60, 60:80].all()
    assert mask[45, 56:60].all()  # 4.5 pixels of margin
    assert mask[26:30, 70].all()
    assert not mask[:, :53].any()
    assert not mask[:, 87:].any()
    assert not mask[:23].any()
    assert (image[~mask] == before[~mask]).all()
    assert (frame.image_bgr == before).all()


def test_other_classes_and_low_scores_stay_visible():
    assert not exact(anonymizer_with(), 0, objects([60, 30, 80, 60], class_id=1)).any()
    assert not exact(anonymizer_with(), 0, objects([60, 30, 80, 60], score=0.29)).any()
    assert exact(anonymizer_with(), 0, objects([60, 30, 80, 60], score=0.31))[45, 70]
    assert exact(anonymizer_with(), 0, objects([60, 30, 80, 60], score=np.nan))[45, 70]
    assert exact(anonymizer_with(classes=("Dog", "person")), 0, objects([60, 30, 80, 60], class_id=1))[45, 70]


def test_a_class_that_the_model_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"privacy\.classes: this model has no class 'persn'; did you mean person"):
        anonymizer_with(classes=("persn",))
    with pytest.raises(ValueError, match="mode"):
        anonymizer_with(mode="off")


def test_before_the_first_result_everything_is_redacted():
    frame = frame_at(0)
    assert redacted(anonymizer_with().apply(shown_at(frame, None), frame.image_bgr)).all()


def test_a_result_that_is_too_old_or_of_another_size_or_from_the_future_redacts_everything():
    anonymizer = anonymizer_with(late_after_s=0.5)
    finding = Detections(frame_at(3), objects([60, 30, 80, 60]))
    at = {index: frame_at(index) for index in (2, 3, 8, 9)}
    shares = {
        index: redacted(anonymizer.apply(shown_at(at[index], finding), at[index].image_bgr)).mean() for index in at
    }
    assert shares[3] < 0.2
    assert shares[8] < 0.5  # just 0.5 s
    assert shares[9] == 1.0
    assert shares[2] == 1.0
    larger = frame_at(4, HEIGHT + 2, WIDTH)
    assert redacted(anonymizer.apply(shown_at(larger, finding), larger.image_bgr)).all()


def test_boxes_and_masks_with_nan_redact_everything():
    assert exact(anonymizer_with(), 0, objects([60, 30, np.nan, 60])).all()
    odd = objects([60, 30, 80, 60])
    probs = odd.mask_probs.copy()
    probs[0, 3, 4] = np.nan
    assert exact(anonymizer_with(), 0, Instances(odd.boxes_xyxy, odd.class_ids, odd.scores, probs)).all()


def test_on_later_frames_the_mask_grows_with_the_age():
    anonymizer = anonymizer_with(margin=0.0, spread=0.5, late_after_s=9.0)
    finding = Detections(frame_at(0), objects([60, 30, 80, 60]))
    widths = []
    for index in (0, 2, 4):
        frame = frame_at(index)
        widths.append(redacted(anonymizer.apply(shown_at(frame, finding), frame.image_bgr))[45].sum())
    # 0.5 frame heights a second of 90 pixels on both sides, and a pixel for safety.
    assert widths == [22, 40, 58]


def test_carried_masks_are_redacted_too():
    anonymizer = anonymizer_with(margin=0.0, spread=0.0)
    finding, frame = Detections(frame_at(0), objects([20, 30, 40, 60])), frame_at(2)
    mask = redacted(anonymizer.apply(shown_at(frame, finding, objects([90, 30, 110, 60])), frame.image_bgr))
    assert mask[45, 21:39].all()
    assert mask[45, 91:109].all()


def test_a_lost_object_stays_redacted_for_a_while():
    anonymizer = anonymizer_with(hold_s=0.5, spread=0.0)
    two = objects([20, 30, 40, 60], [90, 30, 110, 60])
    one = objects([21, 30, 41, 60])
    assert exact(anonymizer, 0, two)[45, [30, 100]].tolist() == [True, True]
    for index in range(1, 6):
        assert exact(anonymizer, index, one)[45, [30, 100]].tolist() == [True, True], index
    assert exact(anonymizer, 6, one)[45, [30, 100]].tolist() == [True, False]


def test_what_was_found_on_a_frame_that_is_not_presented_is_held_too():
    anonymizer = anonymizer_with(hold_s=1.0)
    results = {index: Detections(frame_at(index), objects()) for index in (0, 1, 4, 14)}
    results[1] = Detections(frame_at(1), objects([60, 30, 80, 60]))
    results[3] = Detections(replace(frame_at(3), source_id="other"), objects([10, 30, 30, 60]))
    covered = {}
    for index, seen in ((0, [0]), (4, [1, 3, 4, 14]), (14, [])):
        for each in seen:
            anonymizer.see(results[each])
        frame = results[index].frame
        covered[index] = redacted(anonymizer.apply(shown_at(frame, results[index]), frame.image_bgr))
    assert not covered[0].any()
    assert covered[4][30:60, 60:80].all()
    assert not covered[4][:, :30].any()
    assert not covered[14].any()


def test_of_two_that_cross_the_lost_one_stays_redacted():
    anonymizer = anonymizer_with(hold_s=0.5, spread=0.0, margin=0.0)
    exact(anonymizer, 0, objects([50, 20, 70, 60], [62, 30, 82, 80]))
    mask = exact(anonymizer, 1, objects([51, 20, 71, 60]))
    assert mask[70, 63:81].all()


def test_an_object_that_is_found_again_is_no_longer_held_where_it_was():
    anonymizer = anonymizer_with(hold_s=5.0, spread=0.0, margin=0.0)
    exact(anonymizer, 0, objects([50, 20, 70, 60]))
    exact(anonymizer, 1, Instances.empty())
    mask = exact(anonymizer, 2, objects([58, 20, 78, 60]))
    assert mask[40, 59:77].all()
    assert not mask[40, :54].any()


def test_a_frame_that_the_network_lost_is_redacted_and_what_was_found_before_stays_held():
    anonymizer = anonymizer_with(hold_s=0.5)
    exact(anonymizer, 0, objects([50, 20, 70, 60]))
    frame = frame_at(1)
    assert redacted(anonymizer.apply(shown_at(frame, None), frame.image_bgr)).all()
    assert exact(anonymizer, 2, Instances.empty())[20:60, 50:70].all()
    assert not exact(anonymizer, 6, Instances.empty()).any()


def test_nothing_is_held_between_still_images():
    anonymizer = anonymizer_with()
    exact(anonymizer, 0, objects([50, 20, 70, 60]))
    other = Frame("b.png", 1, 0, Fraction(1), 0.0, frame_at(1).image_bgr)
    assert not redacted(anonymizer.apply(shown_at(other, Detections(other, Instances.empty())), other.image_bgr)).any()


@pytest.mark.parametrize("name", ["b.png", "a.png"])  # in another folder, another picture may have the same name
def test_what_was_found_on_a_picture_says_nothing_about_another(name):
    """Pictures all have pts 0, so that no result of one ever becomes too old for another."""
    anonymizer = anonymizer_with(hold_s=60.0, late_after_s=60.0)
    first, other = (
        Frame(text, i, 0, Fraction(1), 0.0, frame_at(i).image_bgr) for i, text in enumerate(("a.png", name))
    )
    finding = Detections(first, objects([60, 30, 80, 60]))
    assert redacted(anonymizer.apply(shown_at(first, finding), first.image_bgr)).mean() < 0.2
    assert redacted(anonymizer.apply(shown_at(other, finding), other.image_bgr)).all()
    own = Detections(other, Instances.empty())
    assert not redacted(anonymizer.apply(shown_at(other, own), other.image_bgr)).any()


def test_a_result_with_as_many_objects_as_the_network_may_report_redacts_everything():
    anonymizer = anonymizer_with()
    for truncated in (True, False):
        frame = frame_at(0 if truncated else 1)
        finding = Detections(frame, objects([60, 30, 80, 60], class_id=1), truncated)
        for shown in (frame, frame_at(frame.index + 1)):
            assert redacted(anonymizer.apply(shown_at(shown, finding), shown.image_bgr)).all() == truncated


def test_boxes_of_another_resolution_redact_everything_until_they_are_no_longer_held():
    anonymizer = anonymizer_with(hold_s=0.5, margin=0.0, spread=0.0)
    exact(anonymizer, 0, objects([100, 20, 130, 80]))
    shares = []
    for index in range(1, 8):
        frame = frame_at(index, 2 * HEIGHT, 2 * WIDTH)
        # A box that would match the held one if both were in the same pixels.
        finding = Detections(frame, objects([100, 20, 130, 80]))
        shares.append(redacted(anonymizer.apply(shown_at(frame, finding), frame.image_bgr)).mean())
    assert shares[:5] == [1.0] * 5
    assert max(shares[5:]) < 0.1
    # Back at the old size, the person of the large frames is held in their pixels.
    assert exact(anonymizer, 8, Instances.empty()).all()


def test_nothing_found_before_a_change_of_resolution_leaves_nothing_to_hold():
    anonymizer = anonymizer_with()
    exact(anonymizer, 0, Instances.empty())
    frame = frame_at(1, 2 * HEIGHT, 2 * WIDTH)
    finding = Detections(frame, Instances.empty())
    assert not redacted(anonymizer.apply(shown_at(frame, finding), frame.image_bgr)).any()


def test_every_class_of_a_name_is_redacted_whatever_its_case():
    settings = PrivacySettings(mode="silhouette", color=REDACTED, classes=("person",))
    labels = ("BG", "person", "dog", "Person", "person")
    for class_id, expected in ((1, True), (2, False), (3, True), (4, True)):
        mask = exact(Anonymizer(settings, labels), 0, objects([60, 30, 80, 60], class_id=class_id))
        assert mask.any() == expected, class_id


def test_a_person_who_enters_after_the_result_is_redacted_as_a_change():
    empty = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    somebody = empty.copy()
    somebody[20:80, 10:40] = 30
    finding, frame = Detections(frame_at(0, image=empty), Instances.empty()), frame_at(2, image=somebody)
    mask = redacted(anonymizer_with(cover_changes=True).apply(shown_at(frame, finding), frame.image_bgr))
    assert mask[20:80, 10:40].all()
    assert not mask[:, 60:].any()
    unwatched = anonymizer_with(cover_changes=False).apply(shown_at(frame, finding), frame.image_bgr)
    assert not redacted(unwatched).any()


def scene_with(person_x=None, height=HEIGHT, width=WIDTH):
    """A textured wall, and a person of other colors in front of it: columns of WIDTH."""
    image = np.random.default_rng(7).integers(100, 140, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if person_x is not None:
        image[30:80, person_x : person_x + 20] = (20, 20, 160)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def shown_of(index, image, seen, boxes, anonymizer, seen_at_s=0.0):
    """bool (H, W): what is redacted of a frame in whose place the network got `seen`, `seen_at_s` later."""
    frame = frame_at(index, image=image)
    substitute = replace(frame_at(0, image=seen), captured_at_s=frame.captured_at_s + seen_at_s)
    finding = Detections(replace(frame, substitute=substitute), objects(*boxes))
    return redacted(anonymizer.apply(shown_at(frame, finding), frame.image_bgr))


def test_what_the_sub_stream_shows_elsewhere_is_redacted_as_a_change():
    """The network found the person where the sub-stream has them; in the main stream they are 60 columns further."""
    anonymizer = anonymizer_with(cover_changes=True, margin=0.0)
    small = scene_with(30, 45, 64)  # smaller, and narrower than the frame
    same = shown_of(0, scene_with(30), small, [[30, 30, 50, 80]], anonymizer)
    assert same[35:75, 32:48].all()
    assert not same[:, 100:].any()
    elsewhere = shown_of(1, scene_with(90), small, [[30, 30, 50, 80]], anonymizer)
    assert elsewhere[31:79, 31:49].all()
    assert elsewhere[31:79, 91:109].all()


def test_a_sub_stream_of_another_scene_redacts_everything():
    other = np.random.default_rng(8).integers(0, 255, (9, 16, 3)).astype(np.uint8)
    other = cv2.resize(other, (64, 36), interpolation=cv2.INTER_NEAREST)
    assert shown_of(0, scene_with(), other, [], anonymizer_with(cover_changes=True)).all()
    assert not shown_of(0, scene_with(), scene_with(), [], anonymizer_with(cover_changes=True)).any()


@pytest.mark.parametrize("seen_at_s", [0.2, -0.2])
def test_the_mask_grows_with_the_time_between_frame_and_sub_stream(seen_at_s):
    anonymizer = anonymizer_with(margin=0.0, spread=0.5)
    mask = shown_of(0, None, scene_with(), [[60, 30, 80, 60]], anonymizer, seen_at_s)
    assert mask[45].sum() == 40  # 9 pixels on both sides, and one for safety


def test_what_the_network_got_in_its_place_does_not_leave_with_a_frame():
    settings = Settings.model_validate({"privacy": {"mode": "silhouette"}})
    given = captured()
    frame = replace(given.frame, substitute=make_frame(61))
    shown = Redactor(settings, NAMES).apply(replace(given, frame=frame))
    assert shown.frame.substitute is None


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_blur_and_pixelation_leave_nothing_finer_than_a_cell(mode):
    stripes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stripes[:, ::2] = 200
    frame = frame_at(0, image=stripes)
    image = anonymizer_with(mode=mode, cells=6).apply(shown_at(frame, None), frame.image_bgr)
    assert image.shape == stripes.shape
    assert image.min() >= 85
    assert image.max() <= 115
    clear = anonymizer_with(mode=mode).apply(shown_at(frame, Detections(frame, Instances.empty())), frame.image_bgr)
    assert (clear == stripes).all()


def test_coarsen_keeps_the_means_of_its_cells():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:20, :20], image[20:, 60:] = 100, 200
    pixels = coarsen(image, 2, 0)
    assert (pixels[5, 5] == 100).all()
    assert (pixels[35, 75] == 200).all()
    assert (pixels[5, 75] == 0).all()
