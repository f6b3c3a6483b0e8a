"""Writes the checkpoints of this folder, and what PyTorch and torchvision compute with their weights.

    python tests/data/checkpoints/make_checkpoints.py

Needs torch 2.14.1, torchvision 0.29.1 and safetensors, which no test needs. Tensors have their names in the
published files; channels are 64 times fewer, so that the backbone's stem has one.

    torchvision_v1.pth          zip, float32, 91 classes
    torchvision_v1_old.pth      the container before PyTorch 1.6; names before torchvision 0.13; float16, 4 classes;
                                {"state_dict": {"module.NAME": ...}}
    torchvision_v1.safetensors  the same numbers as float32
    torchvision_v2.pth          zip, bfloat16, 4 classes, {"model": ...}; parameters that are views of one storage,
                                those of convolutions in channels_last order
    torchvision_training.pth    what torchvision's reference scripts save while they train v1: {"model", "optimizer",
                                "lr_scheduler", "args", "epoch", "scaler"}; 3 classes, float16
    detectron2_training.pth     what detectron2 saves while it trains: {"model", "optimizer", "scheduler", "iteration"};
                                3 classes, float16
    detectron2.pkl              pickle of NumPy arrays, protocol 2, bytes as Python 2 writes them; 80 classes
    outputs.npz                 inputs and outputs of their layers, named FILE/WHAT
"""

import argparse
import pickle
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead, concat_box_prediction_layers

HERE = Path(__file__).parent
DIVIDE = 64
CHANNELS = {64 * 2**power: 2**power for power in range(6)} | {256 * 49: 4 * 49}
FPN, DENSE, CLASSES_OF_COCO = 4, 16, 91

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
MEAN_BGR = torch.tensor([103.53, 116.28, 123.675])


def shrunk(state, classes, generator):
    """Random weights with the names of a state dict and fewer channels and classes."""
    small = {}
    for name, tensor in state.items():
        if tensor.dtype == torch.int64:
            small[name] = torch.tensor(7)
            continue
        sizes = {CLASSES_OF_COCO: classes, 4 * CLASSES_OF_COCO: 4 * classes} | CHANNELS
        shape = [sizes.get(size, size) for size in tensor.shape]
        values = torch.randn(shape, generator=generator)
        fan_in = max(1, values[0].numel()) if values.ndim > 1 else 1
        small[name] = values / fan_in**0.5
        if name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
            small[name] = 0.5 + torch.rand(shape, generator=generator)
    return small


def detectron2_state(v1, classes):
    """The state dict of torchvision's v1 under detectron2's names, with detectron2's order of classes."""
    names = {
        "backbone.body.conv1": "backbone.bottom_up.stem.conv1",
        "backbone.body.bn1": "backbone.bottom_up.stem.conv1.norm",
        "rpn.head.conv.0.0": "proposal_generator.rpn_head.conv",
        "rpn.head.cls_logits": "proposal_generator.rpn_head.objectness_logits",
        "rpn.head.bbox_pred": "proposal_generator.rpn_head.anchor_deltas",
        "roi_heads.box_head.fc6": "roi_heads.box_head.fc1",
        "roi_heads.box_head.fc7": "roi_heads.box_head.fc2",
        "roi_heads.mask_predictor.conv5_mask": "roi_heads.mask_head.deconv",
        "roi_heads.mask_predictor.mask_fcn_logits": "roi_heads.mask_head.predictor",
    }
    for level in range(4):
        names[f"backbone.fpn.inner_blocks.{level}.0"] = f"backbone.fpn_lateral{level + 2}"
        names[f"backbone.fpn.layer_blocks.{level}.0"] = f"backbone.fpn_output{level + 2}"
        names[f"roi_heads.mask_head.{level}.0"] = f"roi_heads.mask_head.mask_fcn{level + 1}"
    for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for index in range(count):
            old, new = f"backbone.body.layer{stage}.{index}", f"backbone.bottom_up.res{stage + 1}.{index}"
            for number in (1, 2, 3):
                names[f"{old}.conv{number}"] = f"{new}.conv{number}"
                names[f"{old}.bn{number}"] = f"{new}.conv{number}.norm"
            names[f"{old}.downsample.0"] = f"{new}.shortcut"
            names[f"{old}.downsample.1"] = f"{new}.shortcut.norm"
    state = {}
    for name, tensor in v1.items():
        prefix, _, kind = name.rpartition(".")
        state[f"{names.get(prefix, prefix)}.{kind}"] = tensor
    for name, rows in (("box_predictor.bbox_pred", 4 * classes), ("mask_head.predictor", classes)):
        for kind in ("weight", "bias"):
            state[f"roi_heads.{name}.{kind}"] = state[f"roi_heads.{name}.{kind}"][:rows].clone()
    for level in range(5):
        state[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = torch.zeros(3, 4)
    return state


def old_names(state):
    """The names before torchvision 0.13."""
    renamed = {}
    for name, tensor in state.items():
        for level in range(4):
            for part in ("inner_blocks", "layer_blocks"):
                name = name.replace(f"{part}.{level}.0.", f"{part}.{level}.")
            name = name.replace(f"mask_head.{level}.0.", f"mask_head.mask_fcn{level + 1}.")
        renamed["module." + name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = tensor
    return renamed


def as_views(state):
    """Parameters that are views of one storage; 4-dimensional ones in channels_last order."""
    flat = torch.cat([torch.zeros(5), *(tensor.permute(ORDER[tensor.ndim]).reshape(-1) for tensor in state.values())])
    flat = flat.bfloat16()
    views, offset = {}, 5
    for name, tensor in state.items():
        order = ORDER[tensor.ndim]
        part = flat[offset : offset + tensor.numel()].view([tensor.shape[axis] for axis in order])
        views[name] = nn.Parameter(part.permute([order.index(axis) for axis in range(tensor.ndim)]))
        offset += tensor.numel()
    return views


ORDER = {0: (), 1: (0,), 2: (0, 1), 4: (0, 2, 3, 1)}


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 does, and the module names of NumPy 1."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, content):
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes

    def save_global(self, obj, name=None):
        if getattr(obj, "__module__", "").startswith("numpy._core"):
            self.write(f"cnumpy.core.multiarray\n{obj.__name__}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch[type(lambda: 0)] = save_global
    dispatch[type(len)] = save_global


def part(state, prefix):
    """The tensors of a module, float32."""
    return {
        name.removeprefix(prefix): tensor.detach().float() for name, tensor in state.items() if name.startswith(prefix)
    }


def outputs(name, state, classes, generator):
    """What the network's parts compute from random inputs, with modules of torchvision where it has them."""
    found = {}
    is_detectron2, is_v2 = name == "detectron2", name == "torchvision_v2"
    image = torch.randint(0, 256, (1, 3, 11, 9), generator=generator).float()  # RGB
    stem = state["backbone.bottom_up.stem.conv1.weight" if is_detectron2 else "backbone.body.conv1.weight"].float()
    if is_detectron2:
        pixels = image.flip(1) - MEAN_BGR.view(1, 3, 1, 1)
    else:
        pixels = (image / 255 - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
    found["image"], found["stem"] = image, functional.conv2d(pixels, stem, stride=2, padding=3)

    level = torch.randn(1, FPN, 5, 3, generator=generator)
    rpn = RPNHead(FPN, 3, conv_depth=2 if is_v2 else 1)
    if is_detectron2:
        parts = part(state, "proposal_generator.rpn_head.")
        mine = {"conv": "conv.0.0", "objectness_logits": "cls_logits", "anchor_deltas": "bbox_pred"}
        rpn.load_state_dict({f"{mine[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": parts[key] for key in parts})
    else:
        rpn.load_state_dict(part(state, "rpn.head."))
    objectness, deltas = concat_box_prediction_layers(*rpn([level]))
    found["level"], found["objectness"], found["anchor_deltas"] = level, objectness.sigmoid(), deltas

    pooled = torch.randn(2, FPN, 7, 7, generator=generator)
    if is_detectron2:
        dense = {
            key.replace("fc1", "fc6").replace("fc2", "fc7"): x for key, x in part(state, "roi_heads.box_head.").items()
        }
    else:
        dense = part(state, "roi_heads.box_head.")
    if is_v2:
        box_head = FastRCNNConvFCHead((FPN, 7, 7), [FPN] * 4, [DENSE], norm_layer=nn.BatchNorm2d).eval()
    else:
        box_head = TwoMLPHead(FPN * 49, DENSE)
    box_head.load_state_dict(dense)
    predictor = FastRCNNPredictor(DENSE, classes + is_detectron2)
    weights = part(state, "roi_heads.box_predictor.")
    if is_detectron2:
        predictor.bbox_pred = nn.Linear(DENSE, 4 * classes)
    predictor.load_state_dict(weights)
    logits, class_deltas = predictor(box_head(pooled))
    found["pooled"], found["class_probs"] = pooled, logits.softmax(-1)
    found["class_deltas"] = class_deltas.view(2, classes, 4)

    regions = torch.randn(2, FPN, 14, 14, generator=generator)
    mask_head = MaskRCNNHeads(FPN, [FPN] * 4, 1, norm_layer=nn.BatchNorm2d if is_v2 else None).eval()
    masks = MaskRCNNPredictor(FPN, FPN, classes)
    if is_detectron2:
        parts = part(state, "roi_heads.mask_head.")
        convolutions = {key: x for key, x in parts.items() if key.startswith("mask_fcn")}
        mask_head.load_state_dict({f"{int(key[8]) - 1}.0.{key[10:]}": x for key, x in convolutions.items()})
        others = {"deconv": "conv5_mask", "predictor": "mask_fcn_logits"}
        masks.load_state_dict(
            {
                f"{others[key.partition('.')[0]]}.{key.partition('.')[2]}": x
                for key, x in parts.items()
                if key not in convolutions
            }
        )
    else:
        mask_head.load_state_dict(part(state, "roi_heads.mask_head."))
        masks.load_state_dict(part(state, "roi_heads.mask_predictor."))
    # a few classes only: masks are the largest arrays here
    found["regions"], found["masks"] = regions, masks(mask_head(regions)).sigmoid()[:, : min(classes, 6)]

    if is_v2:
        stage = torch.randn(1, 32, 3, 2, generator=generator)
        norm = nn.BatchNorm2d(FPN, eps=1e-5).eval()
        norm.load_state_dict(part(state, "backbone.fpn.inner_blocks.3.1."))
        found["stage"] = stage
        found["lateral"] = norm(functional.conv2d(stage, state["backbone.fpn.inner_blocks.3.0.weight"].float()))
    return {f"{name}/{key}": value.detach().numpy() for key, value in found.items()}


def training(state, trained):
    """An optimizer and its schedule after a step, for the parameters whose names begin with `trained`."""
    parameters = [nn.Parameter(tensor) for name, tensor in state.items() if name.startswith(trained)]
    optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[16, 22], gamma=0.1)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    schedule.step()
    return optimizer.state_dict(), schedule.state_dict()


def save_training(full, generator):
    """The checkpoints of programs that train."""
    state = {name: tensor.half() for name, tensor in shrunk(full, 3, generator).items()}
    optimizer, schedule = training(state, "roi_heads.mask")
    arguments = argparse.Namespace(
        data_path="/data",
        model="maskrcnn_resnet50_fpn",
        device="cuda",
        lr=0.02,
        lr_steps=[16, 22],
        amp=True,
        weights=None,
    )
    scaler = torch.amp.GradScaler("cpu").state_dict()
    checkpoint = {"model": state, "optimizer": optimizer, "lr_scheduler": schedule, "args": arguments, "epoch": 3}
    torch.save({**checkpoint, "scaler": scaler}, HERE / "torchvision_training.pth")
    state = {name: tensor.half() for name, tensor in detectron2_state(shrunk(full, 4, generator), 3).items()}
    optimizer, schedule = training(state, "roi_heads.mask_head")
    schedule = {"base_lrs": schedule["base_lrs"], "last_epoch": schedule["last_epoch"]}
    checkpoint = {"model": state, "optimizer": optimizer, "scheduler": schedule, "iteration": 4999}
    torch.save(checkpoint, HERE / "detectron2_training.pth")


def main():
    generator = torch.Generator().manual_seed(18)
    full = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    full = {name: tensor for name, tensor in full.items() if not name.endswith("num_batches_tracked")}
    v1 = shrunk(full, CLASSES_OF_COCO, generator)
    torch.save(v1, HERE / "torchvision_v1.pth")
    few = shrunk(full, 4, generator)
    save_file(
        {**few, "rpn.head.cls_logits.bias": few["rpn.head.cls_logits.bias"].double()},
        HERE / "torchvision_v1.safetensors",
    )
    old = {name: tensor.half() for name, tensor in few.items()}
    torch.save(
        {"state_dict": old_names(old), "epoch": 3},
        HERE / "torchvision_v1_old.pth",
        _use_new_zipfile_serialization=False,
    )
    v2 = shrunk(maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict(), 4, generator)
    counts = {name: tensor for name, tensor in v2.items() if tensor.dtype == torch.int64}
    views = as_views({name: tensor for name, tensor in v2.items() if name not in counts})
    torch.save(
        {"model": {**views, **counts}, "optimizer": {"state": {}, "param_groups": [{"lr": 0.02}]}},
        HERE / "torchvision_v2.pth",
    )
    state = detectron2_state(shrunk(full, 81, generator), 80)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    with (HERE / "detectron2.pkl").open("wb") as file:
        Python2Pickler(file, 2).dump({"model": arrays, "__author__": "a test", "matching_heuristics": True})
    results = outputs("detectron2", state, 80, generator)
    for name, state, classes in (("torchvision_v1", v1, 91), ("torchvision_v2", views | counts, 4)):
        results |= outputs(name, state, classes, generator)
    np.savez_compressed(HERE / "outputs.npz", **results)
    save_training(full, generator)


if __name__ == "__main__":
    main()
