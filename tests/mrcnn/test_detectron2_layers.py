"""Networks with detectron2's architecture against its layers, put together from torch's, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from mrcnn.architecture import ARCHITECTURES
from mrcnn.network.anchors import normalize_boxes
from mrcnn.network.compiled import compile_function
from mrcnn.network.roi_align import roi_align
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.reference_stages import (
    ENGINES,
    check_detections,
    check_proposals,
    check_pyramid_and_rpn,
    computation_of,
    converted_network,
)
from tests.mrcnn.torchvision_reference import BOX_ORDER, load_detectron2_reference, pooled_levels, random_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network():
    return converted_network(random_weights().detectron2_state_dict())


@pytest.fixture(
    scope="module", params=[pytest.param(engine, marks=() if engine == "keras" else ONCE) for engine in ENGINES]
)
def compared(request, network, tmp_path_factory):
    """(outputs, reference)."""
    reference = load_detectron2_reference()
    return computation_of(network, request.param, tmp_path_factory)(reference), reference


def test_the_reference_is_of_all_classes_and_levels():
    found = load_detectron2_reference().detections(0)
    assert set(found.class_ids.tolist()) == set(range(1, 8))
    assert set(pooled_levels(found.boxes).tolist()) == {2, 3, 4, 5}


def test_pyramid_and_rpn(compared):
    check_pyramid_and_rpn(*compared)


def test_proposals(compared):
    check_proposals(*compared)


def test_detections(compared):
    check_detections(*compared)


def test_regions_of_all_sizes_are_pooled_alike():
    """As many samples as cells: a bin of the smallest regions is a seventh of a pixel, of the largest 13 cells."""
    arrays = load_detectron2_reference().arrays
    boxes = normalize_boxes(arrays["pooling_boxes"][:, BOX_ORDER], 512, 768, last_pixel_is_one=False)
    pool = compile_function(
        lambda levels, boxes: roi_align(levels, boxes, 7, (512, 768), ARCHITECTURES["detectron2"]), []
    )
    pooled = ops.convert_to_numpy(pool(random_weights().random_levels(), np.stack([boxes, boxes])))
    found = pooled[arrays["pooling_images"], np.arange(len(boxes))]
    np.testing.assert_allclose(found, arrays["pooled"], atol=5e-5)
