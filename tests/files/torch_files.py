"""Files of torch.save written by hand, byte by byte, so that no test of the reader needs PyTorch."""

import io
import struct
import zipfile

import numpy as np

PROTOCOL, STOP = b"\x80\x02", b"."
STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage", "u1": "ByteStorage"}


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little")


def name(module, what):
    return f"c{module}\n{what}\n".encode()


def several(*values):
    """A tuple."""
    return b"(" + b"".join(values) + b"t"


def call(function, *arguments):
    return function + several(*arguments) + b"R"


def mapping(items, empty=b"}"):
    return empty + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def ordered(items):
    """An OrderedDict with the attribute that a state_dict has."""
    versions = mapping({"_metadata": mapping({"": mapping({"version": number(1)})})})
    return mapping(items, call(name("collections", "OrderedDict"))) + versions + b"b"


def storage(key, count, kind="FloatStorage"):
    return several(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(held, shape, strides=None, offset=0, function="_rebuild_tensor_v2", rest=None):
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    sizes = (several(*map(number, numbers)) for numbers in (shape, strides))
    rest = (b"\x89", call(name("collections", "OrderedDict"))) if rest is None else rest  # requires_grad, hooks
    return call(name("torch._utils", function), held, number(offset), *sizes, *rest)


def parameter(value):
    return call(name("torch._utils", "_rebuild_parameter"), value, b"\x88", call(name("collections", "OrderedDict")))


def tensors(arrays):
    """The pickle of each array as a tensor of a storage of its own, and the storages."""
    pickled, blocks = {}, {}
    for key, (label, array) in enumerate(arrays.items()):
        pickled[label] = tensor(storage(str(key), array.size, STORAGES[array.dtype.str[1:]]), array.shape)
        blocks[str(key)] = array.tobytes()
    return pickled, blocks


def zipped(content, blocks, order=b"little", folder="net", **others):
    """Write the zip of a pickle and its storages; other members by their names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", PROTOCOL + content + STOP)
        if order is not None:
            archive.writestr(f"{folder}/byteorder", order)
        for key, block in blocks.items():
            archive.writestr(f"{folder}/data/{key}", block)
        for key, block in {"version": b"3\n", **others}.items():
            archive.writestr(f"{folder}/{key}", block)
    return file.getvalue()


def pickles(content, blocks, size=4):
    """Write the format of before PyTorch 1.6, of storages whose elements take `size` bytes."""
    magic = b"\x8a\n" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
    keys = b"](" + b"".join(map(text, blocks)) + b"e"
    parts = (magic, number(1001), mapping({"little_endian": b"\x88"}), content, keys)
    storages = (struct.pack("<q", len(block) // size) + block for block in blocks.values())
    return b"".join(PROTOCOL + part + STOP for part in parts) + b"".join(storages)
