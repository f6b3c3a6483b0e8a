"""A network that hangs is late, and one that fails raises; once each."""

import threading

import numpy as np
import pytest

from benchmarks.failing_network import FailingNetwork, NetworkFaults
from tests.pipeline.fakes import FakeSegmenter

IMAGE = np.zeros((48, 80, 3), np.uint8)


def test_it_fails_once_and_then_answers():
    faults = NetworkFaults()
    network = FailingNetwork(FakeSegmenter(), faults)
    network.open()
    faults.fail()
    with pytest.raises(RuntimeError, match="on purpose"):
        network.segment_batch([IMAGE])
    assert len(network.segment_batch([IMAGE])[0]) > 0
    assert faults.done == 1


def test_an_inference_hangs_until_the_network_is_opened_again():
    faults = NetworkFaults()
    network, answers = FailingNetwork(FakeSegmenter(), faults), []
    network.open()
    faults.hang()
    thread = threading.Thread(target=lambda: answers.append(network.segment_batch([IMAGE])))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    network.open()
    thread.join(30.0)
    assert [len(found) for found in answers[0]] == [0]
    assert len(network.segment_batch([IMAGE])[0]) > 0
    assert faults.done == 1
