"""Networks with the architectures of torchvision's against what torchvision computes from the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import pytest
from _pytest.mark import ParameterSet

from mrcnn.network.network import MaskRCNNNetwork
from tests.mrcnn.conftest import ONCE, on_tensorflow
from tests.mrcnn.reference_stages import (
    ENGINES,
    Compute,
    Outputs,
    check_detections,
    check_proposals,
    check_pyramid_and_rpn,
    computation_of,
    converted_network,
)
from tests.mrcnn.torchvision_reference import CASES, FLAVORS, Reference, load_reference, random_weights

pytestmark = pytest.mark.slow

FEW_CASES = {"v1": ["landscape", "mixed"], "v2": ["landscape", "portrait"]}
"""Compared by default: without and with padding, batches of one and two; the first under other backends than
TensorFlow. STREAM_SEGMENT_ALL_CASES=1 compares all, in four minutes."""


def combinations() -> Iterator[ParameterSet]:
    """(flavor, engine, case), so ordered that each network is made once."""
    is_full = bool(os.environ.get("STREAM_SEGMENT_ALL_CASES"))
    for flavor in FLAVORS:
        for engine in ENGINES:
            for case in CASES if is_full else FEW_CASES[flavor][: 2 if on_tensorflow() else 1]:
                marks = () if engine == "keras" else ONCE
                yield pytest.param((flavor, engine, case), id=f"{flavor}-{engine}-{case}", marks=marks)


@pytest.fixture(scope="module")
def computations(tmp_path_factory):
    """The function of a flavor and an engine that computes a case; the last one is kept."""

    @lru_cache(maxsize=1)
    def network_of(flavor: str) -> MaskRCNNNetwork:
        return converted_network(random_weights().state_dict(flavor))

    @lru_cache(maxsize=1)
    def computation(flavor: str, engine: str) -> Compute:
        return computation_of(network_of(flavor), engine, tmp_path_factory)

    return computation


@pytest.fixture(scope="module", params=combinations())
def compared(request, computations) -> tuple[Outputs, Reference]:
    flavor, engine, name = request.param
    reference = load_reference(flavor, name)
    return computations(flavor, engine)(reference), reference


def test_pyramid_and_rpn(compared):
    check_pyramid_and_rpn(*compared)


def test_proposals(compared):
    check_proposals(*compared)


def test_detections(compared):
    check_detections(*compared)
