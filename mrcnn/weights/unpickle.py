"""Reads pickles as data: nothing that a pickle names is imported, and only functions of ours are called.

Python's own unpickler executes what a file says. This one interprets the few instructions that files of PyTorch and
NumPy consist of and refuses all others by name. Its results are plain containers, numbers and strings, and what the
functions return that the caller provides. Nothing here descends into nested or shared objects, so that neither can be
made to take long.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.stored_tensor import Span

MOST_INSTRUCTIONS = 2_000_000
"""A checkpoint with the state of an optimizer has about 50,000."""

LONGEST_LINE = 1 << 16
LONGEST_INLINE = 4096
"""Bytes; longer strings stay in the file, as a `Span`."""

LARGEST_NUMBER = 1 << 128
"""The number by which PyTorch's old files are recognized has 80 bits."""

_LENGTH_BYTES = {"BINSTRING": 4, "BINUNICODE": 4, "BINUNICODE8": 8, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
_NUMBERS = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"}
_SHORT_STRINGS = {"STRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "SHORT_BINBYTES"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}

Builder = Callable[..., object]
"""Takes the arguments that a pickle gives to a function, and returns what stands for its result."""


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that a pickle names; not the function or class itself."""

    text: str


@runtime_checkable
class Stateful(Protocol):
    """What a `Builder` returns for an object whose state the pickle sets afterwards."""

    def set_state(self, state: object) -> None:
        """Take the state. Raises ValueError or TypeError if it is not one."""


class Placeholder:
    """The `Builder` of objects that no weights depend on: takes whatever a pickle gives them, and keeps none of it."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass

    def set_state(self, state: object) -> None:
        """Keep nothing."""


class _Reader:
    """A file as `pickletools.genops` reads it, which trusts the lengths in it."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._end = file, end
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._end - self._file.tell())))

    def readline(self) -> bytes:
        return self._file.readline(LONGEST_LINE)


def read_pickle(
    file: BinaryIO,
    end: int,
    builders: Mapping[str, Builder | None],
    persistent: Callable[[object], object] | None = None,
) -> object:
    """The object of the pickle that begins at the file's position, which moves behind it.

    Args:
        file: the file.
        end: position at which the pickle must have ended.
        builders: by "module.name", the functions that stand for those the pickle may name; None for names that it may
            mention but not call.
        persistent: gives the object for a persistent id.

    Returns:
        The object. Strings and bytes of more than LONGEST_INLINE are a `Span`.

    Raises:
        WeightsError: it is not a pickle, ends early, names anything else, or is too large; without the file's name.
    """
    machine = _Machine(file, builders, persistent)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(cast(BinaryIO, _Reader(file, end)))):
            if count > MOST_INSTRUCTIONS:
                raise WeightsError(f"its pickle has more than {MOST_INSTRUCTIONS:,} instructions")
            machine.execute(opcode.name, argument, position or 0)
        return machine.pop()
    except WeightsError:
        raise
    except (ValueError, IndexError, KeyError, MemoryError) as error:
        raise WeightsError(f"its pickle is damaged ({type(error).__name__}: {str(error)[:100]})") from None


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(
        self,
        file: BinaryIO,
        builders: Mapping[str, Builder | None],
        persistent: Callable[[object], object] | None,
    ) -> None:
        self._file, self._builders, self._persistent = file, builders, persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def execute(self, name: str, argument: Any, position: int) -> None:
        """Execute one instruction."""
        push = self._stack.append
        if name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _NUMBERS:
            push(_checked_number(argument))
        elif name in _SHORT_STRINGS:
            push(argument)
        elif name in _LENGTH_BYTES:
            push(self._string(argument, position + 1 + _LENGTH_BYTES[name], name.startswith("BINUNICODE")))
        elif name in _PUT:
            self._memo[int(argument)] = self._stack[-1]
        elif name in _GET:
            push(self._memo[int(argument)])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in _TUPLES:
            self._stack[-_TUPLES[name] :] = [tuple(self._top(_TUPLES[name]))]
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._execute_rare(name, argument)

    def _execute_rare(self, name: str, argument: Any) -> None:
        instruction = getattr(self, f"_{name.lower()}", None)
        if name == "GLOBAL":
            self._stack.append(self._named(*argument.split(" ", 1)))
        elif instruction is not None and name in _RARE:
            instruction()
        else:
            text = f" ({str(argument)[:100].replace(' ', '.')})" if name == "INST" else ""
            raise WeightsError(f"its pickle has the instruction {name}{text}, which no file of weights needs")

    def _string(self, value: str | bytes, begin: int, is_text: bool) -> str | bytes | Span:
        size = self._file.tell() - begin
        return value if size <= LONGEST_INLINE else Span(self._file, begin, size, is_text)

    def _top(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError("the stack has too few objects")
        return self._stack[-count:]

    def _named(self, module: object, name: object) -> Name:
        text = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if text not in self._builders:
            raise WeightsError(
                f"its pickle wants to use {text[:200]!r}, which is not part of a file of weights. Nothing of the file "
                "was executed. Expected a state dict: numbers by name (torch.save(model.state_dict(), FILE))"
            )
        return Name(text)

    def _stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self._stack.append(self._named(module, name))

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self) -> None:
        self.pop()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _tuple(self) -> None:
        items = tuple(self._since_mark())
        self._stack.append(items)

    def _list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def _empty_list(self) -> None:
        self._stack.append([])

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _append(self) -> None:
        self._extend([self.pop()])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("items are appended to something that is not a list")
        self._stack[-1].extend(items)

    def _setitem(self) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        keys = items[::2]
        if not isinstance(target, dict) or not all(isinstance(key, str | int) for key in keys):
            raise ValueError("expected a dict with texts or whole numbers as keys")
        target.update(zip(keys, items[1::2], strict=True))

    def _reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        builder = self._builders[function.text] if isinstance(function, Name) else None
        if builder is None or not isinstance(arguments, tuple):
            what = function.text if isinstance(function, Name) else f"an object of type {type(function).__name__}"
            raise WeightsError(f"its pickle wants to call {what}, which no file of weights needs")
        try:
            self._stack.append(builder(*arguments))
        except WeightsError:
            raise
        except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
            raise WeightsError(f"its pickle calls {function.text} with wrong arguments ({str(error)[:100]})") from None

    def _newobj(self) -> None:
        function = self._stack[-2]
        if not isinstance(function, Name) or self._builders[function.text] is not Placeholder:
            what = function.text if isinstance(function, Name) else type(function).__name__
            raise WeightsError(f"its pickle has the instruction NEWOBJ ({what}), which no file of weights needs")
        self._reduce()

    def _build(self) -> None:
        state, target = self.pop(), self._stack[-1]
        if isinstance(target, Stateful):
            try:
                target.set_state(state)
            except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
                if isinstance(error, WeightsError):
                    raise
                raise WeightsError(f"its pickle gives an array a wrong state ({str(error)[:100]})") from None
        elif not isinstance(target, dict):  # the attributes of an OrderedDict, such as _metadata, are not needed
            raise WeightsError(f"its pickle sets the state of an object of type {type(target).__name__}")

    def _persid(self) -> None:
        raise WeightsError("its pickle has a persistent id as text, which no file of weights has")

    def _binpersid(self) -> None:
        if self._persistent is None:
            raise WeightsError("its pickle refers to data outside of it")
        self._stack.append(self._persistent(self.pop()))


_RARE = {
    *("MARK", "POP", "POP_MARK", "DUP", "TUPLE", "LIST", "DICT", "EMPTY_LIST", "EMPTY_DICT", "APPEND", "APPENDS"),
    *("SETITEM", "SETITEMS", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "PERSID", "BINPERSID"),
}
"""Instructions that have a method of that name."""


def _checked_number(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        raise ValueError("a whole number of more than 128 bits")
    return value
