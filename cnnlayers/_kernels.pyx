"""The checked, typed door to the C kernels.

Design

A. Each function takes NumPy arrays and the numbers that describe them, compares every array's dtype and size with what
   the kernel will touch, and only then hands pointers over. So no call from Python, right or wrong, reads or writes out
   of bounds.
B. Each instruction-set level is a table of functions (kernels/c/kernels.def), compiled with its own flags. The level is
   chosen once, at import: the highest that the processor has, or a lower one that CNNLAYERS_ISA names.
C. The GIL is released while a kernel runs.
D. Large results come from `empty`, which reuses memory (kernels/doors/memory.pxi). A block goes back when the last
   array on it dies, so no array that anybody holds is ever overwritten.
E. There is a file of functions for each topic, kernels/doors/*.pxi. It says on top what `kernels` takes from it (the
   rest has a front there: kernels/convolution.py, kernels/pooling.py), and which functions of the table it calls: these
   structs are all the one cnn_kernels for C, and Cython need not know the whole of it.
"""

import os

import numpy as np

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from libc.stdint cimport INT64_MIN, int64_t, uint64_t

from . import threads


__all__: list = []  # the doors add to it


# Levels

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct cnn_kernels:
        int lanes
        int tile_positions

cdef extern from "kernels/c/cpu.h" nogil:
    ctypedef struct cnn_cpu:
        unsigned leaf1
        unsigned leaf7
        unsigned kept
    cnn_cpu cnn_cpu_here()

cdef extern from "kernels/c/dispatch.h" nogil:
    const cnn_kernels *const *cnn_level(const char *name, cnn_cpu has)
    const char *cnn_level_name(int index)


cdef const cnn_kernels *const *_tables = NULL  # for float32, for float64
_level = ""
_tiles = ()  # for float32, for float64


def cpu_bits():
    """What this processor has: ECX of CPUID's leaf 1, EBX of its leaf 7, and XCR0; zeros where it is no x86."""
    cdef cnn_cpu has = cnn_cpu_here()
    return has.leaf1, has.leaf7, has.kept


def levels(bits=None):
    """Names of the instruction-set levels that this build has and this processor runs, the fastest first.

    With `bits` those that a processor with these `cpu_bits` would run.
    """
    names = []
    cdef cnn_cpu has
    cdef int i = 0
    has.leaf1, has.leaf7, has.kept = cpu_bits() if bits is None else bits
    while cnn_level_name(i) != NULL:
        if cnn_level(cnn_level_name(i), has) != NULL:
            names.append(cnn_level_name(i).decode())
        i += 1
    return names


def level():
    """The level in use."""
    return _level


def lanes(dtype):
    """Numbers of float32 or float64 in a vector of the level in use."""
    return tile(dtype)[1]


def tile(dtype):
    """The register tile of float32 or float64 on the level in use: how many positions it has, and lanes of a vector."""
    return _tiles[dtype == np.float64]


def set_level(name):
    """Use the kernels of this level from now on; no thread may be in one."""
    global _tables, _level, _tiles
    cdef bytes text = name.encode()
    cdef const cnn_kernels *const *tables = cnn_level(text, cnn_cpu_here())
    if tables == NULL:
        raise ValueError(f"there are no kernels named {name!r} for this processor; there are {', '.join(levels())}")
    _tables = tables
    _level = name
    _tiles = tuple((tables[wide].tile_positions, tables[wide].lanes) for wide in (0, 1))


# What the doors check

_BYTE = np.dtype(np.uint8)
cdef object _ndarray = np.ndarray


cdef bint _is(const Py_buffer *view, char code) noexcept:
    """Whether a buffer's numbers are of this type, one of NumPy's letters. An integer may have another letter in C."""
    cdef char found = view.format[0]
    if view.format[1] != 0:
        return False
    if code == c"q":
        return view.itemsize == 8 and (found == c"l" or found == c"q")
    if code == c"d":
        return view.itemsize == sizeof(double) and (found == c"d" or found == c"g")
    if code == c"i":
        return view.itemsize == sizeof(int) and (found == c"i" or found == c"l")
    if code == c"n":
        return view.itemsize == sizeof(Py_ssize_t) and (found == c"i" or found == c"l" or found == c"q")
    return found == code


cdef void *_numbers(object array, Py_ssize_t count, char code, bint writable, str name) except? NULL:
    """The address of an array that must hold `count` numbers of a type, contiguously.

    The types are f float, d double, B unsigned char, i int, q int64_t, n Py_ssize_t.
    """
    cdef Py_buffer view
    cdef int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    if not isinstance(array, _ndarray):  # whose memory stays where it is while the array is there
        raise TypeError(f"{name} must be an array; got {type(array).__name__}")
    PyObject_GetBuffer(array, &view, flags)
    cdef void *address = view.buf
    cdef bint right = _is(&view, code) and view.len == count * view.itemsize
    PyBuffer_Release(&view)
    if not right:
        kind = np.dtype(chr(code)).name
        raise ValueError(f"{name} must hold {count} numbers of {kind}; got {array.dtype} {array.shape}")
    return address


cdef void *_data(object array, Py_ssize_t count, bint double_precision, bint writable, str name) except? NULL:
    """The same of an array of the precision."""
    return _numbers(array, count, c"d" if double_precision else c"f", writable, name)


cdef bint _double(object array) except -1:
    """Whether an array is float64; anything but that and float32 is an error."""
    if array.dtype == np.float64:
        return True
    if array.dtype == np.float32:
        return False
    raise TypeError(f"the kernels take float32 and float64; got {array.dtype}")


cdef Py_ssize_t _last(tuple shape) except -1:
    """Length of the last axis."""
    if not shape or shape[len(shape) - 1] < 1:
        raise ValueError(f"the kernels take arrays with at least one channel; got shape {shape}")
    return shape[len(shape) - 1]


cdef Py_ssize_t _channels(object array) except -1:
    """The same of an array."""
    return _last(array.shape)


cdef int _check(int failed) except -1:
    if failed:
        raise MemoryError("no memory for the buffers of a kernel")
    return 0


cdef Py_ssize_t _first_outside(const int64_t *indices, Py_ssize_t count, int64_t low, int64_t high) noexcept nogil:
    """Where the first index is that is not in low..high - 1; -1 if there is none."""
    cdef Py_ssize_t i
    for i in range(count):
        if indices[i] < low or indices[i] >= high:
            return i
    return -1


include "kernels/doors/memory.pxi"
include "kernels/doors/conv.pxi"
include "kernels/doors/pool.pxi"
include "kernels/doors/elementwise.pxi"
include "kernels/doors/activation.pxi"
include "kernels/doors/norm.pxi"
include "kernels/doors/optimizer.pxi"
include "kernels/doors/loss.pxi"
include "kernels/doors/data.pxi"
include "kernels/doors/program.pxi"


def _choose_level():
    """The level that CNNLAYERS_ISA names, or the fastest."""
    wanted = os.environ.get("CNNLAYERS_ISA", "")
    if wanted and wanted not in levels():
        raise ImportError(f"CNNLAYERS_ISA={wanted!r}: this processor and build have {', '.join(levels())}")
    set_level(wanted or levels()[0])


_choose_level()
