"""What the shipped model reaches with eight cameras, over what it reaches beside the same decoding and drawing."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import models, playback
from benchmarks.footage import Image
from benchmarks.measuring import Value, at_least, ratios
from pipeline.records import Instances
from pipeline.runtime.shared_network import workers_beside_cameras
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import ModelSettings

Run = Callable[[playback.ScriptedSegmenter], float]
"""Runs the cameras with a segmenter, and returns the results a second of all of them."""


class NetworkBehindScript(playback.ScriptedSegmenter):
    """Computes every frame with a network, and returns the true instances: what is drawn is the same either way."""

    def __init__(self, network: Segmenter, truths: Sequence[Instances]) -> None:
        super().__init__(truths)
        self._network = network

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._network.workers

    def segment_batch(self, images_bgr: Sequence[Image]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        self._network.segment_batch(images_bgr)
        return super().segment_batch(images_bgr)


def measure(pictures: Sequence[Image], truths: Sequence[Instances], run: Run, rounds: int) -> list[Value]:
    """Alternately: the cameras with the network, and the network by itself beside cameras with as many results.

    Args:
        pictures: what the network computes by itself.
        truths: the instances that cameras show.
        run: see `Run`.
        rounds: how often.
    """
    scheduled, unscheduled = [], []
    settings = models.settings_for(models.small(), None)
    workers = workers_beside_cameras(ModelSettings.model_validate(settings), Machine().cores())
    with models.opened(settings, workers=workers) as network:
        for picture in pictures[:5]:
            network.segment_batch([picture])  # decides what computes the frames
        for _ in range(rounds):
            scheduled.append(run(NetworkBehindScript(network, truths)))
            script = playback.ScriptedSegmenter(truths, 1 / scheduled[-1])
            with computing(network, pictures) as rate:
                run(script)
                unscheduled.append(rate())
    text = f"{statistics.median(scheduled):.1f} of {statistics.median(unscheduled):.1f} a second"
    of_unscheduled = ratios(scheduled, unscheduled)
    return [Value("shipped model: results, over those unscheduled", of_unscheduled, "x", at_least(0.9), text)]


@contextmanager
def computing(network: Segmenter, pictures: Sequence[Image]) -> Iterator[Callable[[], float]]:
    """Lets a network compute pictures on all of its workers; gives a function that returns the frames a second."""
    ends, counts = threading.Event(), [0] * network.workers
    began_s = time.monotonic()

    def work(worker: int) -> None:
        while not ends.is_set():
            network.segment_batch([pictures[counts[worker] % len(pictures)]])
            counts[worker] += 1

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(network.workers)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(counts) / (time.monotonic() - began_s)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
