"""Pickles of tensors as torch.save writes them, read without running anything that they say.

A pickle is a program for a machine with a stack. The machine here knows the instructions that make numbers, text,
lists, tuples and dicts. What a pickle calls by name is looked up in a short table of what stands for tensors, and only
notes are taken of it; nothing is imported, and any other name or instruction is an error.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from ..errors import CheckpointError

__all__ = ["CURE", "Storage", "Tensor", "itemsize", "load", "short"]

# The element types of storages, by PyTorch's names; bfloat16 is the upper half of a float32.
STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "UntypedStorage": "u1",
}
DTYPES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "bfloat16",
    "bool": "?",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
}
MOST_AXES = 64  # as in PyTorch
LONGEST = 100  # characters of a name in the file that an error repeats
CURE = "torch.save(net.state_dict(), path) writes what is read here"

# Instructions that put their argument, or a constant, on the stack.
ARGUMENTS = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name(NamedTuple):
    """A name in the pickle: of a class, a function or a dtype."""

    module: str
    name: str

    @property
    def dtype(self) -> str | None:
        """Give the element type that it is the name of, if any: torch.bfloat16."""
        return DTYPES.get(self.name) if self.module == "torch" else None

    @property
    def storage(self) -> str | None:
        """Give the element type of the storage that it is the name of, if any: torch.FloatStorage."""
        return STORAGES.get(self.name) if self.module in ("torch", "torch.cuda", "torch.storage") else None


@dataclass(frozen=True)
class Storage:
    """The elements of one or more tensors: what key they have in the file, of what type and how many they are."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: the place of its first element, its shape, and the steps along its axes, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def itemsize(dtype: str) -> int:
    """How many bytes an element takes."""
    return 2 if dtype == "bfloat16" else int(dtype.strip("fiu?") or 1)


def load(file: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """Read one pickle: what it makes, with a `Tensor` for each tensor; all storages go into the dict, by their keys.

    Raises
    ------
    CheckpointError
        If it holds anything but tensors, numbers, text, lists, tuples and dicts.
    Exception
        Of any kind, if it is damaged.
    """
    import pickletools  # here, so that importing the package stays quick

    machine = Machine({} if storages is None else storages)
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name == "STOP":
            break
        machine.run(instruction.name, argument)
    return machine.stack.pop()


class Machine:
    """The stack, and what each instruction does with it."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Run one instruction."""
        stack = self.stack
        if name in ARGUMENTS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in TUPLES:
            items = tuple(stack[-TUPLES[name] :])
            if len(items) < TUPLES[name]:
                raise IndexError("the stack is empty")
            stack[-TUPLES[name] :] = [items]
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.below.append(stack)
            self.stack = []
        elif name not in ("PROTO", "FRAME"):
            self.make(name, argument)

    def make(self, name: str, argument: Any) -> None:
        """Run an instruction that fills a list or a dict, or that makes a thing by its name."""
        if name == "TUPLE":
            made: Any = tuple(self.marked())
        elif name in ("APPEND", "APPENDS"):
            items = self.marked() if name == "APPENDS" else [self.stack.pop()]
            made = self.popped(list)
            made.extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.marked() if name == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            made = self.popped(dict, OrderedDict)
            made.update(zip(map(_key, items[::2]), items[1::2], strict=True))
        elif name == "GLOBAL":
            made = _known(Name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            made = _known(Name(self.stack.pop(-2), self.stack.pop()))
        elif name == "BINPERSID":
            made = _storage(self.stack.pop())
            self.storages[made.key] = made
        elif name == "REDUCE":
            made = _made(self.stack.pop(-2), self.stack.pop())
        elif name == "BUILD":
            self.stack.pop()  # of a state_dict: the versions of its modules
            made = self.popped(OrderedDict)
        else:
            raise CheckpointError(f"expected tensors, numbers, text, lists and dicts; found the instruction {name}")
        self.stack.append(made)

    def marked(self) -> list[Any]:
        """What is on the stack above the last mark, which goes."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def popped(self, *kinds: type) -> Any:
        """What is on top of the stack, if it is of one of these very types."""
        if type(self.stack[-1]) not in kinds:
            raise CheckpointError(f"expected a {kinds[0].__name__} to add to; found {short(self.stack[-1])}")
        return self.stack.pop()


def short(value: Any) -> str:
    """Say what a value in a file is, in a few words: it may be as large or as deep as the file."""
    return f"{value!r:.{LONGEST}}" if isinstance(value, str | int | float) else type(value).__name__


def _key(key: Any) -> Any:
    """A key of a dict; one that holds others could be too deep to be hashed."""
    if not isinstance(key, str | int | float | bytes | Name | None):
        raise CheckpointError(f"expected keys that are text or numbers; found {short(key)}")
    return key


# What the pickle may name, and what is made when it calls that


def _known(name: Name) -> Name:
    """Give the name, if it is one of those that tensors need."""
    if not (isinstance(name.module, str) and isinstance(name.name, str)):
        raise CheckpointError(f"expected a name; found {short(name.module)}")
    if name in CALLS or name.storage or name.dtype:
        return name
    whole = name.module.split(".")[:2] == ["torch", "nn"] or name.module == "__main__"
    what = "a whole module seems to have been saved, whose classes are code" if whole else "nothing else is looked up"
    raise CheckpointError(
        f"expected tensors, numbers, text, lists and dicts; found the name {name.module:.{LONGEST}}."
        f"{name.name:.{LONGEST}}: {what}; {CURE}"
    )


def _made(name: Any, arguments: Any) -> Any:
    """What a call gives."""
    if not isinstance(name, Name) or name not in CALLS or not isinstance(arguments, tuple):
        what = f"{name.module}.{name.name}" if isinstance(name, Name) else short(name)
        raise CheckpointError(f"expected a call that makes a tensor; found one of {what}")
    return CALLS[name](*arguments)


def _storage(reference: Any) -> Storage:
    """The storage that a reference is to: ("storage", type, key, device, number of elements, view)."""
    if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
        is_module = isinstance(reference, tuple) and reference[:1] == ("module",)
        what = f"a whole module; {CURE}" if is_module else short(reference)
        raise CheckpointError(f"expected a reference to a storage of a tensor; found {what}")
    _, kind, key, _, count, *view = reference
    if not isinstance(kind, Name) or kind.storage is None or not isinstance(key, str) or any(view):
        raise CheckpointError("expected the type and the key of a storage; found others")
    return Storage(key, kind.storage, _size(count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks, metadata={})."""
    if not isinstance(storage, Storage):
        raise CheckpointError(f"expected the storage of a tensor; found {short(storage)}")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
        raise CheckpointError("expected the shape and the strides of a tensor; found others")
    if len(shape) > MOST_AXES:
        raise CheckpointError(f"expected a tensor of up to {MOST_AXES} axes; found {len(shape):,}")
    if rest[2:] and rest[2]:
        raise CheckpointError("expected a tensor without metadata; found one that is conjugated, negated or the like")
    return Tensor(storage, _size(offset), tuple(map(_size, shape)), tuple(map(_size, strides)))


def _tensor_of_dtype(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """torch._utils._rebuild_tensor_v3: likewise, of bytes and a dtype in front of the metadata."""
    _, _, dtype, *metadata = rest
    if not isinstance(storage, Storage) or not isinstance(dtype, Name) or dtype.dtype is None:
        raise CheckpointError("expected the bytes and the dtype of a tensor; found others")
    typed = Storage(storage.key, dtype.dtype, storage.count // itemsize(dtype.dtype))
    return _tensor(typed, offset, shape, strides, None, None, *metadata)


def _parameter(data: Any, *_: Any) -> Tensor:
    """torch._utils._rebuild_parameter(data, requires_grad, hooks), also with the parameter's attributes."""
    if not isinstance(data, Tensor):
        raise CheckpointError(f"expected the tensor of a parameter; found {short(data)}")
    return data


def _ordered(pairs: Any = None) -> OrderedDict:
    """collections.OrderedDict(), or of a list of pairs, as Python 2 has it.

    No list is taken twice: a short pickle could fill the memory with dicts of the same long one.
    """
    made: OrderedDict = OrderedDict()
    if pairs is not None:
        made.update((_key(key), value) for key, value in pairs)
        pairs.clear()
    return made


def _torch_size(sizes: Any) -> tuple:
    """torch.Size(sizes)."""
    if not isinstance(sizes, tuple):
        raise CheckpointError(f"expected a tuple of sizes; found {short(sizes)}")
    return sizes


def _device(*_: Any) -> None:
    """torch.device(...): all is read into memory."""


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError(f"expected a size of a tensor; found {short(value)}")
    return value


CALLS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): _ordered,
    Name("torch", "Size"): _torch_size,
    Name("torch", "device"): _device,
    Name("torch._utils", "_rebuild_tensor"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}
