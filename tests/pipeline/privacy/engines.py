"""Engines whose results are true for their frame, but come late, twice, out of order or not at all."""

from __future__ import annotations

import threading

import numpy as np

from pipeline.records import Instances
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter
from tests.pipeline.privacy.film import FRAMES, HEIGHT, PERSON_HW, PERSON_Y, WIDTH

MOST_REPEATED = 4
"""Pixels that somebody may have moved when a result is given once more."""


class Progress:
    """How far a run has come, in frames, and the turns of those who wait for it.

    Attributes:
        shows_all: whether frames are presented before they were inferred.
    """

    def __init__(self, shows_all):
        self.shows_all = shows_all
        self.given, self.inferring, self.presented = 0, 0, 0
        self.ended = False
        self._changed = threading.Condition()

    def advance(self, **counts):
        with self._changed:
            for name, count in counts.items():
                setattr(self, name, max(getattr(self, name), count))
            self._changed.notify_all()

    def end(self):
        self.advance(ended=True)

    def wait_for(self, condition):
        with self._changed:
            self._changed.wait_for(lambda: self.ended or condition(), DEADLINE_S)


class Prompt(FakeSegmenter):
    """Finds the person in every frame."""

    def __init__(self, progress, film):
        super().__init__()
        self.progress, self.film = progress, film

    def may_give(self, index):
        """The gate of the source: a frame comes when the one before has been presented."""
        self.progress.wait_for(lambda: self.progress.presented >= index)
        self.progress.advance(given=index + 1)
        return True

    def segment(self, image_bgr):
        return true_result(image_bgr, self.film)


def true_result(image_bgr, film):
    """Where the person is in a frame of a film."""
    index = int(image_bgr[0, 0, 0])
    x = film.person_x(index)
    x1, x2 = max(0, x), min(WIDTH, x + PERSON_HW[1])
    if x2 <= x1:
        return Instances.empty()
    box = np.array([[x1, PERSON_Y, x2, PERSON_Y + PERSON_HW[0]]], np.float32) * (image_bgr.shape[0] / HEIGHT)
    return Instances(box, np.array([1], np.int32), np.array([0.9], np.float32), np.ones((1, 28, 28), np.float32))


class Late(Prompt):
    """Each result takes as long as nine frames, and until the one before has been presented."""

    LAG = 9

    def __init__(self, progress, film):
        super().__init__(progress, film)
        self._last = -1

    def may_give(self, index):
        """Frames come while the engine works, as many as it is late."""
        self.progress.wait_for(lambda: self.progress.inferring + self.LAG >= index)
        if self.progress.shows_all:
            return super().may_give(index)
        self.progress.advance(given=index + 1)
        return True

    def segment(self, image_bgr):
        index = int(image_bgr[0, 0, 0])
        self.progress.advance(inferring=index)
        last, self._last = self._last, index
        self.progress.wait_for(
            lambda: self.progress.given >= min(index + self.LAG, FRAMES) and self.progress.presented > last
        )
        return super().segment(image_bgr)


class Held(Prompt):
    """Answers for a keyframe when all frames before it have been presented: none is while it works."""

    def segment(self, image_bgr):
        self.progress.wait_for(lambda: self.progress.presented >= int(image_bgr[0, 0, 0]))
        return super().segment(image_bgr)

    def may_give(self, index):
        """A file is read as fast as its frames are taken."""
        return True


class Repeating(Prompt):
    """Gives each result twice: the second time for the frame after, unless that was dropped."""

    def __init__(self, progress, film):
        super().__init__(progress, film)
        self._last = None

    def segment(self, image_bgr):
        index, last, self._last = int(image_bgr[0, 0, 0]), self._last, None
        if last is not None and last[0] == index - 1:
            return last[1]
        result = super().segment(image_bgr)
        self._last = index, result
        return result


class Hanging(Prompt):
    """Does not answer for frames 25 to 27; unless something restarts it, it does not see the others."""

    def segment(self, image_bgr):
        if 25 <= int(image_bgr[0, 0, 0]) <= 27:
            self.progress.wait_for(lambda: False)
        return super().segment(image_bgr)


class Failing(Prompt):
    """Fails at every fifth frame."""

    def segment(self, image_bgr):
        if int(image_bgr[0, 0, 0]) % 5 == 3:
            raise RuntimeError("failed on purpose")
        return super().segment(image_bgr)


class Scripted(Prompt):
    """Does with each frame what a script says: answers at once, late, as for the frame before, not at all, or fails.

    Attributes:
        script: for each frame, "prompt", "repeat", "hang", "raise", or by how many frames the answer is late. What is
            repeated is true for both frames, but for a few pixels.
        workers: frames at the same time, so that results are ready out of order.
        ahead: frames that come before the first of them has been presented, for batches and workers.
    """

    workers = 1
    ahead = 0
    script = ("prompt",)

    def __init__(self, progress, film):
        super().__init__(progress, film)
        self._last = None, 0, None
        self._busy_until = 0

    def may_give(self, index):
        """Frames come when the one before has been presented, and while the engine is late."""
        self.progress.wait_for(
            lambda: (
                self.progress.presented + self.ahead >= index
                or (not self.progress.shows_all and index <= self._busy_until)
            )
        )
        self.progress.advance(given=index + 1)
        return True

    def segment(self, image_bgr):
        return self.act(image_bgr, self.progress, self.film)

    def act(self, image_bgr, progress, film):
        """Do what the script says of a frame of a film, whose run has come so far."""
        index = int(image_bgr[0, 0, 0])
        action, (last_film, last_index, last) = self.script[index % len(self.script)], self._last
        if action == "raise":
            raise RuntimeError("failed on purpose")
        if action == "hang":
            progress.wait_for(lambda: False)
        elif action == "repeat" and last_film == film and hardly_moves(film, last_index, index):
            return last
        elif isinstance(action, int):
            self._busy_until = max(self._busy_until, index + action)
            progress.advance(inferring=index)
            progress.wait_for(lambda: progress.given >= min(index + action, FRAMES))
        result = true_result(image_bgr, film)
        self._last = film, index, result
        return result


def hardly_moves(film, before, index):
    """Whether a result is true for both frames, but for a few pixels."""
    moved = abs(film.person_x(index) - film.person_x(before))
    return moved <= MOST_REPEATED and film.size_hw(before) == film.size_hw(index)
