# Memory for results, used again: fresh pages cost as much as a small layer. And given back: what nobody asks for.

from cpython.buffer cimport PyBuffer_FillInfo


cdef extern from "kernels/c/memory.h" nogil:
    size_t cnn_cache()

cdef extern from "kernels/c/system.h" nogil:
    void cnn_trim()

cdef extern from "kernels/c/recycler.h" nogil:
    void cnn_put_up_shelves()
    void *cnn_take(size_t size)
    void cnn_give_back(void *block, size_t size)
    void cnn_count_request()
    size_t cnn_clear_shelves()
    void cnn_count_blocks(size_t *in_use, size_t *kept)

cdef extern from "kernels/c/parallel.h" nogil:
    void cnn_open_pool()
    size_t cnn_release_scratch()


cdef enum:
    SMALL = 16384  # bytes; below it NumPy's own allocator is as good


cnn_put_up_shelves()
cnn_open_pool()


cdef class Block:
    """Memory for one array; it goes back to its shelf when the array is gone."""

    cdef void *memory
    cdef readonly Py_ssize_t size
    cdef object __weakref__

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.memory = cnn_take(size)
        if self.memory == NULL:
            raise MemoryError(f"no memory for an array of {size:,} bytes")

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.size, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            cnn_give_back(self.memory, self.size)


cpdef object empty(tuple shape, object dtype):
    """An array whose values are whatever its memory held: np.empty, from memory used before."""
    cdef Py_ssize_t size = dtype.itemsize
    for n in shape:
        size *= n
    cnn_count_request()
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, Block(size))


def pool_bytes():
    """How many bytes the arrays that `empty` made hold, and how many are kept for the next ones."""
    cdef size_t in_use, kept
    cnn_count_blocks(&in_use, &kept)
    return in_use, kept


def release_memory():
    """Give what is kept for later back to the system: free blocks, and the scratch memory of this thread and of the
    pool's. Returns its bytes."""
    cdef size_t freed
    with nogil:
        freed = cnn_clear_shelves() + cnn_release_scratch()
        cnn_trim()
    return freed


def cache_bytes():
    """Bytes of a processor's L2 cache."""
    return cnn_cache()
