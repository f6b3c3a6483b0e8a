"""What int8 needs beside the weights: ranges of activations, scales of weights and corrected biases.

    weights/NAME.int8.npz

It is calibrated once, on any machine (`mrcnn.engines.quantize`), and read wherever the weight file is used: the int8
graphs are written from the exported ones and from this, without a quantization library.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.engines.base import EngineError
from mrcnn.weights.digest import remembered_sha256
from mrcnn.weights.user_cache import user_cache
from mrcnn.weights.whole_file import write_whole

VERSION = "stream_segment int8 calibration 1"
SUFFIX = ".int8.npz"
MAX_BYTES = 64 * 1024**2
"""A larger file is refused before it is read; the largest network needs 2 MB."""

TIES = 1 - 1e-6
"""Makes half a step round towards zero: the largest weight of a channel may be 63.5 steps, and is to be 63."""

ACTIVATION, WEIGHTS, CONSTANT = "activation", "weights", "constant"
"""Kinds of `Change`."""

_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise for damaged files."""

_COUNTED = re.compile(r"[A-Z]\w*_[0-9]+")
"""Names that OpenVINO makes up, such as Reshape_1531: another number in every process."""

Target = tuple[str, int]
"""An input of an operation of the exported graph: its name and the number of the input."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a float32 graph.

    Attributes:
        kind: ACTIVATION: a value is quantized to `levels` between limits (low and high of the input, then of the
            output, float32). WEIGHTS: a constant becomes int8 times a scale, float32, that broadcasts to it. CONSTANT:
            another constant, float32.
        targets: the inputs that read the changed value; all read the same.
        arrays: see `kind`.
        levels: of ACTIVATION.
    """

    kind: str
    targets: Sequence[Target]
    arrays: Sequence[NDArray[np.float32]]
    levels: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The changes of each part, and what is known of the result.

    Attributes:
        parts: changes by the name of the part: "features_body", "boxes_head", "masks_head".
        facts: JSON-able: what it was calibrated on, and how its objects compare with those of float32.
        digest: of the changes; "" before they are written.
    """

    parts: Mapping[str, Sequence[Change]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    @property
    def is_admissible(self) -> bool:
        """Whether it was measured to be exact enough to be chosen for its speed alone."""
        return self.facts.get("admissible") is True


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Consecutive layers of a part, which may stay in higher precision together.

    Attributes:
        part: see `Calibration.parts`.
        number, count: the `number`th of `count` groups of the part, from 1 on.
        first, last: the part's changes from `first` to before `last`.
    """

    part: str
    number: int
    count: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.part.split('_')[0]} {self.number}/{self.count}"


class CalibrationFault(EngineError):
    """A calibration is not there, or does not fit; the message says why."""


def calibration_path(weights: Path) -> Path:
    """Where the calibration of a weight file is kept: beside it."""
    return weights.with_name(weights.stem + SUFFIX)


def found_calibration(weights: Path) -> Path | None:
    """The file that is read for a weight file: in the user's cache, or else beside it; None if there is neither."""
    return next((path for path in _places(weights, remembered_sha256(weights)) if os.path.isfile(path)), None)


def read_calibration(weights: Path) -> Calibration:
    """The calibration of a weight file, see `found_calibration`.

    Raises:
        CalibrationFault: there is none, it cannot be read, or it belongs to other weights.
    """
    digest, path = remembered_sha256(weights), found_calibration(weights)
    if path is None:
        raise CalibrationFault(f"int8 is not prepared for {weights}: run the command optimize")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            index = json.loads(bytes(stored["index"]))
            if (index["version"], index["weights"]) != (VERSION, digest):
                raise CalibrationFault(f"{path} belongs to other weights or to another version of this program")
            parts = {part: [_change(one, stored) for one in changes] for part, changes in index["parts"].items()}
            return Calibration(parts, dict(index["facts"]), str(index["digest"]))
    except _DAMAGE as error:
        raise CalibrationFault(f"{path} cannot be read ({error})") from None


def write_calibration(weights: Path, calibration: Calibration) -> Path:
    """Write the calibration of a weight file beside it, or into the user's cache where that cannot be written.

    The cache comes first when it is read, since what lies beside the weights may be older and not writable.

    Returns:
        The file.

    Raises:
        OSError: neither can be written.
    """
    digest = remembered_sha256(weights)
    arrays: dict[str, NDArray[Any]] = {}
    parts = {part: [_entry(one, arrays) for one in changes] for part, changes in calibration.parts.items()}
    of_parts = hashlib.sha256(json.dumps(parts).encode())
    for array in arrays.values():
        of_parts.update(array.tobytes())
    index = {
        "version": VERSION,
        "weights": digest,
        "digest": of_parts.hexdigest()[:16],
        "facts": dict(calibration.facts),
        "parts": parts,
    }
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    cached, beside = _places(weights, digest)
    try:
        write_whole(beside, content.getvalue())
    except OSError:
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cached, content.getvalue())
        return cached
    with contextlib.suppress(OSError):
        cached.unlink()
    return beside


def layer_groups(calibration: Calibration, count: int) -> list[LayerGroup]:
    """The quantized layers in about `count` groups of about as many each, in the order of computation."""
    ends = {
        part: [index + 1 for index, change in enumerate(changes) if change.kind == WEIGHTS]
        for part, changes in calibration.parts.items()
    }
    layers = sum(map(len, ends.values()))
    groups = []
    for part, of_part in ends.items():
        if of_part:
            in_part = min(len(of_part), max(1, round(count * len(of_part) / layers)))
            lasts = [of_part[round(number * len(of_part) / in_part) - 1] for number in range(1, in_part + 1)]
            lasts[-1] = len(calibration.parts[part])
            firsts = [0, *lasts[:-1]]
            spans = enumerate(zip(firsts, lasts, strict=True), start=1)
            groups += [LayerGroup(part, number, in_part, *span) for number, span in spans]
    return groups


def without(calibration: Calibration, groups: Sequence[LayerGroup]) -> Calibration:
    """The calibration with the layers of these groups left as they are in the exported network."""
    parts = {}
    for part, changes in calibration.parts.items():
        weighted = {name for change in changes if change.kind == WEIGHTS for name, _ in change.targets}
        left_out = [change for one in groups if one.part == part for change in changes[one.first : one.last]]
        layers = {
            name
            for change in left_out
            for name, _ in change.targets
            if change.kind == WEIGHTS or (change.kind == ACTIVATION and name not in weighted)
        }
        corrections = [id(change) for change in left_out if change.kind == CONSTANT]
        kept = [change for change in changes if id(change) not in corrections]
        narrowed = [replace(one, targets=[target for target in one.targets if target[0] not in layers]) for one in kept]
        parts[part] = [change for change in narrowed if change.targets]
    return replace(calibration, parts=parts, digest="")


def changes_between(original: Any, quantized: Any) -> Iterator[Change]:
    """What a quantization has changed in an OpenVINO model: the inverse of `apply_changes`.

    Raises:
        EngineError: something else was changed.
    """
    nodes = {node.get_friendly_name(): node for node in original.get_ops()}
    for node in quantized.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            limits = [_constant(node, port) for port in range(1, 5)]
            yield Change(ACTIVATION, _readers(node, nodes), limits, int(node.get_attributes()["levels"]))
        elif kind == "Multiply" and _is_int8(node.input_value(0).get_node()):
            yield Change(WEIGHTS, _readers(node, nodes), [_constant(node, 1)])
        elif node.get_friendly_name() in nodes:
            yield from _changed_constants(node, nodes[node.get_friendly_name()])


def name_operations(model: Any) -> None:
    """Give operations that OpenVINO has named by counting names that are the same in every process, in place."""
    taken = {node.get_friendly_name() for node in model.get_ops()}
    for node in model.get_ordered_ops():
        if _COUNTED.fullmatch(node.get_friendly_name()):
            sources = [value.get_node().get_friendly_name() for value in node.input_values()[:1]]
            name = f"{node.get_type_name()}({', '.join(sources)})"
            while name in taken:
                name += "'"
            taken.add(name)
            node.set_friendly_name(name)


def apply_changes(model: Any, changes: Sequence[Change]) -> None:
    """Turn an exported part, read by OpenVINO, into its int8 form, in place.

    Raises:
        CalibrationFault: the part has other operations than the one that was calibrated.
    """
    from openvino import opset13 as ops

    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    for change in changes:
        try:
            inputs = [nodes[name].input(port) for name, port in change.targets]
            source = inputs[0].get_source_output()
            if change.kind == ACTIVATION:
                limits = [ops.constant(array) for array in change.arrays]
                changed = ops.fake_quantize(source, *limits, change.levels)
            elif change.kind == WEIGHTS:
                values, scale = source.get_node().data, change.arrays[0]
                steps = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
                int8 = ops.constant(np.clip(np.rint(TIES * steps), -127, 127).astype(np.int8))
                changed = ops.multiply(ops.convert(int8, "f32"), ops.constant(scale))
            else:
                changed = ops.constant(change.arrays[0])
            for reader in inputs:
                reader.replace_source_output(changed.output(0))
        except (KeyError, IndexError, AttributeError, ValueError, RuntimeError) as error:
            raise CalibrationFault(f"the calibration does not fit the exported network ({error})") from None
    model.validate_nodes_and_infer_types()


def _places(weights: Path, digest: str) -> tuple[Path, Path]:
    """In the order in which they are read."""
    return user_cache() / "int8" / f"{digest[:32]}.npz", calibration_path(weights)


def _entry(change: Change, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    names = []
    for array in change.arrays:
        names.append(f"array{len(arrays)}")
        arrays[names[-1]] = array
    return {"kind": change.kind, "targets": list(change.targets), "arrays": names, "levels": change.levels}


def _change(entry: Mapping[str, Any], stored: Mapping[str, NDArray[Any]]) -> Change:
    targets = [(str(name), int(port)) for name, port in entry["targets"]]
    arrays = [np.asarray(stored[name], np.float32) for name in entry["arrays"]]
    if entry["kind"] not in (ACTIVATION, WEIGHTS, CONSTANT) or not targets or not arrays:
        raise ValueError(f"an unknown change {entry['kind']}")
    return Change(entry["kind"], targets, arrays, int(entry["levels"]))


def _readers(node: Any, nodes: Mapping[str, Any]) -> list[Target]:
    readers = node.output(0).get_target_inputs()
    found = sorted((reader.get_node().get_friendly_name(), reader.get_index()) for reader in readers)
    for name, _ in found:
        if name not in nodes:
            raise EngineError(f"the quantization added the operation {name}, which cannot be kept")
    return found


def _constant(node: Any, port: int) -> NDArray[np.float32]:
    return np.array(node.input_value(port).get_node().data, np.float32)


def _is_int8(node: Any) -> bool:
    return node.get_type_name() == "Convert" and str(node.input_value(0).get_element_type().get_type_name()) == "i8"


def _changed_constants(node: Any, original: Any) -> Iterator[Change]:
    for port, (new, old) in enumerate(zip(node.input_values(), original.input_values(), strict=True)):
        before, after = old.get_node(), new.get_node()
        both = {before.get_type_name(), after.get_type_name()} == {"Constant"}
        if both and before.get_element_type().get_type_name() == "f32" and not np.array_equal(before.data, after.data):
            yield Change(CONSTANT, [(node.get_friendly_name(), port)], [np.array(after.data, np.float32)])
