# Memory for results, used again. Fresh pages cost as much as a small layer.

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free


cdef extern from "kernels/c/memory.h" nogil:
    void *cnn_allocate(size_t size)


cdef enum:
    SMALL = 16384  # bytes; below it NumPy's own allocator is as good
    SLACK = 1 << 26


cdef class Block:
    """Memory for one array; it goes back to the recycler when the array is gone."""

    cdef void *memory
    cdef readonly Py_ssize_t size
    cdef object __weakref__

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.memory = _recycler.take(size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.size, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            _recycler.give_back(self.memory, self.size)


cdef class Recycler:
    """Free blocks by size. What is kept is bounded by what is in use, so a run that needs less gives memory back."""

    cdef dict free_blocks
    cdef readonly Py_ssize_t in_use, kept

    def __cinit__(self):
        self.free_blocks = {}

    cdef void *take(self, Py_ssize_t size) except NULL:
        cdef list blocks = self.free_blocks.get(size)
        cdef void *memory
        if blocks:
            memory = <void *><size_t>blocks.pop()
            self.kept -= size
        else:
            if self.kept > self.in_use + SLACK:
                self.clear()
            memory = cnn_allocate(size)
            if memory == NULL:
                self.clear()
                memory = cnn_allocate(size)
            if memory == NULL:
                raise MemoryError(f"no memory for an array of {size:,} bytes")
        self.in_use += size
        return memory

    cdef void give_back(self, void *memory, Py_ssize_t size):
        self.in_use -= size
        self.kept += size
        self.free_blocks.setdefault(size, []).append(<size_t>memory)

    cdef void clear(self):
        for blocks in self.free_blocks.values():
            for address in blocks:
                free(<void *><size_t>address)
        self.free_blocks.clear()
        self.kept = 0


cdef Recycler _recycler = Recycler()


cpdef object empty(tuple shape, object dtype):
    """An array whose values are whatever its memory held: np.empty, from memory used before."""
    cdef Py_ssize_t size = dtype.itemsize
    for n in shape:
        size *= n
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, Block(size))


def pool_bytes():
    """How many bytes the arrays that `empty` made hold, and how many are kept for the next ones."""
    return _recycler.in_use, _recycler.kept
