"""What the tests of the engines share."""

import pytest

from mrcnn.engines.create import exported_parts
from mrcnn.network import backbones
from mrcnn.weights.load_save import save_weights
from tests.mrcnn.tiny import TinyConfig, tiny_backbone, tiny_network


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory):
    """(weight file, Config) of the tiny network, whose backbone has a name meanwhile, and its graphs in the cache."""
    path = tmp_path_factory.mktemp("weights") / "tiny.h5"
    config = type("Named", (TinyConfig,), {"BACKBONE": "tiny"})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "tiny", lambda image, config: tiny_backbone(image, True, False)[1:])
        patch.setitem(backbones.STEM_ENDS, "tiny", "tiny2_relu")
        save_weights(tiny_network(config), path)
        exported_parts(path, config)
        yield path, config
