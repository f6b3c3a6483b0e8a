import pickle

from pipeline.tracking.counts import REMEMBERED_IDS, ClassCounts, count_now


def test_counts_different_objects():
    counts = ClassCounts()
    assert counts.seen() == {}
    assert [counts.update(track_id, class_id) for track_id, class_id in ((1, 3), (2, 1), (1, 3))] == [True, True, False]
    assert counts.seen() == {1: 1, 3: 1}


def test_an_object_whose_class_changes_is_counted_once():
    counts = ClassCounts()
    counts.update(1, 3)
    counts.update(1, 2)
    assert counts.seen() == {2: 1}


def test_one_that_comes_back_after_all_is_not_new():
    counts = ClassCounts()
    counts.update(1, 3)
    counts.forget(1)
    counts.forget(1)
    assert counts.seen() == {3: 1}
    assert counts.update(1, 2)  # it appears once more …
    assert counts.seen() == {2: 1}  # … and is the same one


def test_memory_stays_bounded_while_the_count_goes_on():
    counts, sizes = ClassCounts(), []
    for first_id in (1001, 6001):
        for track_id in range(first_id, first_id + 5000):
            counts.update(track_id, 1)
            counts.forget(track_id)
        sizes.append(len(pickle.dumps(counts)))
    assert counts.seen() == {1: 10000}
    assert sizes[1] == sizes[0]
    counts.update(11000 - REMEMBERED_IDS, 2)  # the last that is forgotten
    assert counts.seen() == {1: 10000, 2: 1}
    counts.update(11000 - REMEMBERED_IDS + 1, 2)
    assert counts.seen() == {1: 9999, 2: 2}


def test_now():
    assert count_now([3, 1, 3]) == {1: 1, 3: 2}
    assert count_now([]) == {}
