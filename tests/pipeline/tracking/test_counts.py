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
    counts = ClassCounts()
    for track_id in range(1, 5001):
        counts.update(track_id, 1)
        counts.forget(track_id)
    assert counts.seen() == {1: 5000}
    assert len(counts._gone) == REMEMBERED_IDS
    assert not counts._classes


def test_now():
    assert count_now([3, 1, 3]) == {1: 1, 3: 2}
    assert count_now([]) == {}
