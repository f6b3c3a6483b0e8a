"""Hostile pickles, made by pickle itself or by hand, execute nothing and are refused with a reason."""

import argparse
import builtins
import collections
import datetime
import functools
import io
import operator
import os
import pathlib
import pickle
import shutil
import struct
import sys
import uuid

import pytest

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.pytorch_file import BUILDERS
from mrcnn.weights.stored_tensor import Span
from mrcnn.weights.unpickle import LONGEST_INLINE, Placeholder, read_pickle
from tests.mrcnn.weights.checkpoints import Calls, pickled


def read(content, **options):
    return read_pickle(io.BytesIO(content), len(content), BUILDERS, **options)


PLAIN = {
    "model": [1, -2, 3.5, None, True, False, "é", (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (), [], {}],
    "nested": {"a": [{"b": (1, [2, {"c": 3}])}]},
    7: 10**20,
    "long": "x" * 300,
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_are_what_python_reads(protocol):
    content = pickled(PLAIN, protocol)
    assert read(content) == pickle.loads(content) == PLAIN


@pytest.mark.parametrize("protocol", range(2, 6))
def test_ordered_dicts_are_dicts(protocol):
    ordered = collections.OrderedDict(a=1, b=2)
    ordered._metadata = collections.OrderedDict(version=1)
    assert read(pickled({"model": ordered, "again": ordered}, protocol)) == {
        "model": {"a": 1, "b": 2},
        "again": dict(ordered),
    }


@pytest.mark.parametrize("protocol", range(2, 6))
def test_long_strings_and_bytes_stay_in_the_file(protocol):
    text, data = "é" * LONGEST_INLINE, b"\xff" * (LONGEST_INLINE + 1)
    found = read(pickled({"text": text, "data": data}, protocol))
    assert isinstance(found["text"], Span)
    assert found["data"].read(0, len(data)) == data
    assert found["data"].read(3, 4) == data[3:7]


class Loud(argparse.Namespace):
    """Says when it is made, or gets attributes."""

    def __new__(cls, *_):
        raise AssertionError("constructed")

    def __setstate__(self, state):
        raise AssertionError("given a state")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_training_programs_save_beside_weights_is_not_constructed(protocol, monkeypatch):
    arguments = argparse.Namespace(lr=0.02, output_dir=pathlib.Path("runs/1"), milestones=collections.Counter([16, 22]))
    arguments.itself = arguments
    content = pickled({"model": [1], "args": arguments}, protocol)
    for module, name in (
        (argparse, "Namespace"),
        (collections, "Counter"),
        (pathlib, type(arguments.output_dir).__name__),
    ):
        monkeypatch.setattr(module, name, Loud)
    with pytest.raises(AssertionError, match="constructed"):
        pickle.loads(content)
    found = read(content)
    assert found["model"] == [1]
    assert type(found["args"]) is Placeholder
    assert not hasattr(found["args"], "__dict__")


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_placeholders_get_is_read_as_strictly(protocol):
    with pytest.raises(WeightsError, match=r"wants to use '(posix|nt)\.system'"):
        read(pickled({"args": argparse.Namespace(command=system("true"))}, protocol))
    with pytest.raises(WeightsError, match=r"wants to use 'uuid\.UUID'"):
        read(pickled({"args": argparse.Namespace(id=uuid.UUID(int=5))}, protocol))


def system(command):
    return Calls(os.system, command)


HOSTILE = {
    "posix.system": lambda path: system(f"echo owned > {path}"),
    "builtins.eval": lambda path: Calls(eval, f"open({str(path)!r}, 'w').write('owned')"),
    "builtins.exec": lambda path: Calls(exec, f"open({str(path)!r}, 'w').write('owned')"),
    "io.open": lambda path: Calls(open, str(path), "w"),
    "builtins.getattr": lambda path: Calls(getattr, Calls(getattr, str(path), "join"), "__self__"),
    "builtins.__import__": lambda path: Calls(builtins.__import__, "os"),
    "shutil.rmtree": lambda path: Calls(shutil.rmtree, str(path)),
    "functools.partial": lambda path: Calls(functools.partial, os.system, f"touch {path}"),
    "operator.attrgetter": lambda path: operator.attrgetter("system"),
    "pickle.loads": lambda path: Calls(pickle.loads, b"cos\nsystem\n(S'true'\ntR."),
    "datetime.date": lambda path: datetime.date(2026, 1, 2),
    "collections.deque": lambda path: collections.deque([1]),
    "builtins.complex": lambda path: 1j,
    "uuid.UUID": lambda path: uuid.UUID(int=5),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the payloads name functions of POSIX")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_wants_to_call_is_named_and_not_called(name, protocol, tmp_path):
    target = tmp_path / "owned"
    content = pickled({"model": HOSTILE[name](target)}, protocol)
    module, _, last = name.rpartition(".")
    with pytest.raises(WeightsError) as caught:
        read(content)
    text = str(caught.value)
    assert last in text
    assert module in text.replace("__builtin__", "builtins")
    assert "\n" not in text
    assert not target.exists()


def test_the_payloads_are_real(tmp_path):
    """Python's own unpickler executes one of them."""
    target = tmp_path / "owned"
    pickle.loads(pickled(HOSTILE["posix.system"](target)))
    assert target.read_text() == "owned\n"


GLOBAL_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ccollections\nOrderedDict\n(lR.", "wants to call collections.OrderedDict"),
        (b"ccollections\nOrderedDict\n(]tR.", "OrderedDict with wrong arguments"),
        (GLOBAL_TENSOR + b"(tR.", "calls torch._utils._rebuild_tensor_v2 with wrong arguments"),
        (GLOBAL_TENSOR + b"(I1\nI2\n(t(ttR.", "_rebuild_tensor_v2 with wrong arguments"),
        (GLOBAL_TENSOR + b"(I1\nI2\n(t(t" + b"NNNNNN" + b"tR.", "_rebuild_tensor_v2 with wrong arguments"),
        (b"ctorch._utils\n_rebuild_parameter\n(I1\nNNtR.", "_rebuild_parameter with wrong arguments"),
        (b"ctorch\nFloatStorage\n(tR.", "wants to call torch.FloatStorage"),
        (b"cnumpy\nndarray\n(tR.", "wants to call numpy.ndarray"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "numpy.dtype with wrong arguments .expected the data type of numbers"),
        (b"cnumpy\ndtype\n(S'f4,f4'\ntR.", "numpy.dtype with wrong arguments"),
        (b"cnumpy\ndtype\n(S'xyz'\ntR.", "numpy.dtype with wrong arguments"),
        (b"ctorch\nSize\n(I5\ntR.", "torch.Size with wrong arguments"),
        (b"ctorch\nSize\n((" + b"K\x01" * 9 + b"ttR.", "torch.Size with wrong arguments .expected at most 8 sizes"),
        (b"I1\n(tR.", "wants to call an object of type int"),
        (b"]I1\nI2\ns.", "expected a dict"),
        (b"I1\nI2\nb.", "sets the state of an object of type int"),
        (b"]I2\nb.", "sets the state of an object of type list"),
        (b"(I1\nios\nsystem\n.", r"instruction INST .os\.system."),
        (b"(cos\nsystem\no.", "wants to use 'os.system'"),
        (b"ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ .collections.OrderedDict."),
        (b"ctorch\nFloatStorage\n)\x81.", "instruction NEWOBJ .torch.FloatStorage."),
        (b"K\x01)\x81.", "instruction NEWOBJ .int."),
        (b")\x81.", "damaged"),
        (b"cargparse\nNamespace\nK\x01\x81.", "wants to call argparse.Namespace"),
        (b"cargparse\nNamespace\n)}\x92.", "instruction NEWOBJ_EX"),
        (b"cargparse\nNamespace\n)\x81K\x01K\x02s.", "expected a dict"),
        (b"cargparse\nNamespace\n}b.", "sets the state of an object of type Name"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "wants to use 'os.system'"),
        (b"\x80\x04K\x01K\x02\x93.", "something without a name"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"\x80\x04\x8f.", "instruction EMPTY_SET"),
        (b"Pabc\n.", "persistent id"),
        (b"K\x01Q.", "refers to data outside"),
        (b"}K\x01K\x02s(K\x01K\x02tK\x03s.", "texts or whole numbers as keys"),
        (b"}(K\x01K\x02K\x03u.", "damaged"),
        (b"K\x01K\x02a.", "not a list"),
        (b"h\x05.", "damaged .KeyError"),
        (b"t.", "damaged"),
        (b"\x85.", "damaged"),
        (b"0.", "damaged"),
        (b"(.", "damaged"),
        (b"", "damaged"),
        (b"K\x01", "damaged"),
        (b"\xff", "damaged"),
        (b"K", "damaged"),
        (b"X\xff\xff\xff\x7fabc", "damaged"),
        (b"\x8e" + struct.pack("<Q", 2**62) + b"abc.", "damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
        (b"I" + b"9" * 70000 + b"\n.", "damaged"),
        (b"\x8a\x20" + b"\x7f" * 32 + b".", "more than 128 bits"),
    ],
)  # fmt: skip
def test_malformed_pickles(content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_nested_and_shared_objects_take_no_time():
    """A hash of a tuple that contains itself 100 times over takes 2^100 steps; 300,000 levels overflow the C stack."""
    doubled = b"K\x01" + b"2\x86" * 100  # DUP, TUPLE2
    assert isinstance(read(doubled + b"."), tuple)
    deep = b"K\x01" + b"\x85" * 300_000
    assert isinstance(read(deep + b"."), tuple)
    for key in (doubled, deep):
        with pytest.raises(WeightsError, match="texts or whole numbers as keys"):
            read(b"}" + key + b"K\x01s.")
    inside_itself = b"}q\x00U\x01ah\x00s."
    found = read(inside_itself)
    assert found["a"] is found


def test_a_memo_index_allocates_nothing():
    assert read(b"K\x07r\xff\xff\xff\x7fj\xff\xff\xff\x7f.") == 7


def test_the_number_of_instructions_is_limited(monkeypatch):
    monkeypatch.setattr("mrcnn.weights.unpickle.MOST_INSTRUCTIONS", 1000)
    with pytest.raises(WeightsError, match="more than 1,000 instructions"):
        read(b"N0" * 501 + b"N.")


def test_reading_ends_at_the_given_end():
    content = pickled("abcdefgh")
    with pytest.raises(WeightsError, match="damaged"):
        read_pickle(io.BytesIO(content), len(content) - 4, BUILDERS)
