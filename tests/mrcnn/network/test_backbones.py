"""Which backbone a Config gets."""

import pytest

from mrcnn.config import Config
from mrcnn.network.backbones import BACKBONES, build_backbone
from mrcnn.network.efficientnet import build_efficientnet_lite0
from mrcnn.network.resnet import build_resnet50, build_resnet101


def config_of(backbone, train_bn=False):
    return type("SomeConfig", (Config,), {"BACKBONE": backbone, "TRAIN_BN": train_bn})


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "efficientnet_lite0"])
def test_a_name_gets_its_builder(monkeypatch, name):
    builders = {
        "resnet50": build_resnet50,
        "resnet101": build_resnet101,
        "efficientnet_lite0": build_efficientnet_lite0,
    }
    assert builders == BACKBONES
    monkeypatch.setitem(BACKBONES, name, lambda image, config: (image, config))
    config = config_of(name)
    assert build_backbone("image", config) == ("image", config)


def test_a_function_is_called_as_in_the_original_and_gives_its_last_four_stages():
    calls = []

    def backbone(image, **settings):
        calls.append((image, settings))
        return ["C1", "C2", "C3", "C4", "C5"]

    assert build_backbone("image", config_of(staticmethod(backbone), train_bn=None)) == ["C2", "C3", "C4", "C5"]
    assert calls == [("image", {"stage5": True, "train_bn": None})]


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet18", "must be one of resnet50, resnet101, efficientnet_lite0 or a callable, got 'resnet18'"),
        (staticmethod(lambda image, **_: ["C1", "C2", "C3"]), "must return the stages .* got 3 stages"),
    ],
)
def test_what_is_no_backbone(backbone, message):
    with pytest.raises(ValueError, match=message):
        build_backbone("image", config_of(backbone))
