"""Damaged and hostile weight files."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from random import Random

import h5py
import numpy as np

from mrcnn.weights.checkpoint import read_arrays, read_checkpoint
from mrcnn.weights.converted import convert_file
from mrcnn.weights.layout import HEAD_LAYERS
from tests.fuzz.mutations import damaged, damaged_document, odd_text, odd_value
from tests.fuzz.targets import Bench, Case
from tests.mrcnn.weights.checkpoints import DATA, Calls
from tests.mrcnn.weights.files import layers_of, write_file

METADATA = {
    "config": {"NUM_CLASSES": 7, "BACKBONE": "resnet101", "IMAGE_MAX_DIM": 512, "MEAN_PIXEL": [1.0, 2.0, 3.0]},
    "class_names": ["BG", "a", "b", "c", "d", "e", "f"],
}


def h5_case(bench: Bench) -> Case:
    """Bytes are damaged, or one thing in the file is another than it should be."""
    plain = write_file(bench.folder / "plain.h5", layers_of()).read_bytes()
    with h5py.File(bench.folder / "plain.h5", "r+") as file:
        file.attrs["stream_segment"] = json.dumps(METADATA)
    described = (bench.folder / "plain.h5").read_bytes()

    def case(random: Random) -> None:
        data = random.choice((plain, described))
        if random.random() < 0.6:
            path = bench.input("a.h5", damaged(random, data))
        else:
            changed = io.BytesIO(data)
            with h5py.File(changed, "r+") as file:
                _make_odd(random, file, bench)
            path = bench.input("a.h5", changed.getvalue())
        read_checkpoint(path).config()
        read_arrays(path)

    return case


def _make_odd(random: Random, file: h5py.File, bench: Bench) -> None:
    group = random.choice(("fpn_p5", "rpn_model", *HEAD_LAYERS))
    name = random.choice(("mrcnn_class_logits/kernel:0", "mrcnn_class_logits/bias:0"))
    values: tuple[object, ...] = (
        *(3, -1.5, "text", b"\xff", np.zeros((2, 3)), np.array([], "S1"), h5py.Empty("f"), np.array([b"\xff\xfe"])),
        *(file["rpn_model"].ref, np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), [b"../bait", b"/", b"", b"."]),
    )
    owner = random.choice((file, file[group]))
    match random.randrange(8):
        case 0:
            owner.attrs[random.choice(("layer_names", "weight_names", "weight_names0"))] = random.choice(values)
        case 1:
            text = json.dumps(damaged_document(random, METADATA, bench.baits()))
            file.attrs["stream_segment"] = text
        case 2:
            file.attrs["stream_segment"] = random.choice((*values, "[" * 9000, "{}", json.dumps(odd_value(random))))
        case 3:
            del file[group]
            elsewhere = h5py.ExternalLink(str(bench.bait / "bait.h5"), "/x")
            file[group] = random.choice((elsewhere, h5py.SoftLink("/" + group), h5py.SoftLink("/nothing")))
        case 4:
            parent = file["mrcnn_class_logits"]
            del parent[name]
            parent[name] = random.choice((h5py.ExternalLink(str(bench.bait / "bait.h5"), "/x"), h5py.SoftLink("/")))
        case 5:
            parent = file["mrcnn_class_logits"]
            del parent[name]
            external = [(str(bench.bait / "bait.txt"), 0, 28)]
            parent.create_dataset(name, (7,), "f4", external=external)
        case 6:
            parent = file["mrcnn_class_logits"]
            del parent[name]
            shape = random.choice(((1 << 40,), (1 << 20, 1 << 20), (), (1,) * 32))
            parent.create_dataset(name, shape, "f4", chunks=tuple(min(64, n) for n in shape) or None)
        case _:
            parent = file["mrcnn_class_logits"]
            del parent[name]
            others = (["a", "b"], np.zeros(7, "S3"), np.zeros(7, "c16"), np.zeros((2, 3), "i8"), np.zeros(7, "f8"))
            parent.create_dataset(name, data=random.choice(others))


def foreign_case(bench: Bench, suffix: str) -> Case:
    """Files of other programs: bytes are damaged, entries inside, or pickles are programs of random operations."""
    samples = [path.read_bytes() for path in sorted(DATA.iterdir()) if path.suffix == suffix]

    def case(random: Random) -> None:
        data = random.choice(samples)
        if random.random() < 0.5:
            data = damaged(random, data)
        elif suffix == ".safetensors":
            data = _with_other_header(random, data, bench)
        elif zipfile.is_zipfile(io.BytesIO(data)):
            data = _with_other_entry(random, data, bench)
        else:
            data = _pickled(random, bench)
        path = bench.input(f"a{suffix}", data)
        convert_file(path, bench.folder / "out" / "a.h5")

    return case


def _with_other_header(random: Random, data: bytes, bench: Bench) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(damaged_document(random, json.loads(data[8 : 8 + length]), bench.baits())).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _with_other_entry(random: Random, data: bytes, bench: Bench) -> bytes:
    """A zip file of which an entry is damaged, with sums that fit."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice([next(name for name in entries if name.endswith("data.pkl")), random.choice(list(entries))])
    match random.randrange(4):
        case 0:
            entries[name] = _pickled(random, bench)
        case 1:
            entries[random.choice((*bench.baits(), odd_text(random)))] = entries.pop(name)
        case _:
            entries[name] = damaged(random, entries[name])
    target = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("\ud800", "?").lstrip("\0") or "x", content)
    return target.getvalue()


def _pickled(random: Random, bench: Bench) -> bytes:
    """A pickle: of plain things, of calls that would touch the bait, or of random operations."""
    touch = f"touch {bench.bait / 'touched'}"
    calls = (
        Calls(__import__("os").system, touch),
        Calls(eval, f"open({str(bench.bait / 'x')!r}, 'w')"),
        Calls(Path.unlink, bench.bait / "bait.txt"),
    )
    match random.randrange(4):
        case 0:
            content = {"model": OrderedDict(a=odd_text(random)), odd_text(random): list(range(random.randrange(9)))}
            return damaged(random, pickle.dumps(content, random.randrange(6)))
        case 1:
            return pickle.dumps({"model": random.choice(calls)}, random.randrange(2, 6))
        case _:
            return (
                b"\x80"
                + bytes([random.randrange(2, 6)])
                + b"".join(_operation(random) for _ in range(random.randrange(1, 60)))
                + b"."
            )


_GLOBALS = (
    *("os system", "builtins eval", "builtins getattr", "collections OrderedDict", "torch FloatStorage"),
    *("torch._utils _rebuild_tensor_v2", "numpy.core.multiarray _reconstruct", "torch nope", "a.b c"),
    *("numpy dtype", "numpy ndarray"),
)
_USUAL = b"()]}tu0012NK\x85\x86\x87lesRQbh\x94"
"""Operations that build something; all others come now and then."""


def _operation(random: Random) -> bytes:
    code = (
        bytes([random.choice(_USUAL)])
        if random.random() < 0.6
        else random.choice(pickletools.opcodes).code.encode("latin-1")
    )
    if code in (b"c", b"i"):
        return code + random.choice(_GLOBALS).replace(" ", "\n").encode() + b"\n"
    argument = (
        pickletools.code2op[code.decode("latin-1")].arg if code.decode("latin-1") in pickletools.code2op else None
    )
    if argument is None:
        return code
    if argument.n == pickletools.UP_TO_NEWLINE:
        return code + random.choice((b"1", b"-7", b"x", b"1e400", b"'a'", b"9" * 500, b"00")) + b"\n"
    if argument.n >= 0:
        return code + random.choice(
            (random.randbytes(argument.n), bytes(argument.n), b"\x01" + bytes(argument.n - 1), b"\xff" * argument.n)
        )
    width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(argument.n, 4)
    text = random.randbytes(random.randrange(9))
    length = len(text) if random.random() < 0.8 else random.choice((0, 255, 2**31 - 1, 2**63 - 1))
    return code + (length % (1 << 8 * width)).to_bytes(width, "little") + text
