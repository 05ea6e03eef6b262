# Memory for results, used again: fresh pages cost as much as a small layer. And given back: what nobody asks for.

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free


cdef extern from "kernels/c/memory.h" nogil:
    void *cnn_allocate(size_t size)
    void cnn_trim()
    size_t cnn_cache()

cdef extern from "kernels/c/parallel.h" nogil:
    size_t cnn_release_scratch()


cdef enum:
    SMALL = 16384  # bytes; below it NumPy's own allocator is as good
    SLACK = 1 << 26
    ROUND = 256  # requests, at least: see Recycler.end_round
    WORTH = 1 << 24  # bytes that are worth asking the system's allocator to give pages back


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


cdef class Shelf:
    """The free blocks of one size. The last that came is the first to go, so those that nobody needs come first."""

    cdef list addresses
    cdef Py_ssize_t unused  # the fewest that lay here at any time of the round

    def __cinit__(self):
        self.addresses = []


cdef class Recycler:
    """Free blocks by size.

    What is kept is bounded twice. A request of a new size finds no more kept than was in use at once in this round or
    the one before, and SLACK; and a block that no request needed for a whole round goes back to the system. A round is
    a number of requests, well above those of a training step: it grows with the blocks that there are, of which a deep
    net has more. So a loop keeps what each of its steps needs, and a block is fetched anew once in a round at most.
    """

    cdef dict shelves
    cdef readonly Py_ssize_t in_use, kept
    cdef Py_ssize_t most, before  # bytes in use at once in this round, and in the one before
    cdef Py_ssize_t blocks, left  # in use or kept; requests of this round that are to come

    def __cinit__(self):
        self.shelves = {}
        self.left = ROUND

    cdef void request(self):
        """Any array was asked for, of whatever size."""
        self.left -= 1
        if self.left < 0:
            self.end_round()

    cdef void *take(self, Py_ssize_t size) except NULL:
        cdef Shelf shelf = self.shelves.get(size)
        cdef void *memory
        if shelf is not None and shelf.addresses:
            memory = <void *><size_t>shelf.addresses.pop()
            shelf.unused = min(shelf.unused, <Py_ssize_t>len(shelf.addresses))
            self.kept -= size
        else:
            if self.kept > max(self.most, self.before) + SLACK:
                self.clear()
            memory = cnn_allocate(size)
            if memory == NULL:
                self.clear()
                memory = cnn_allocate(size)
            if memory == NULL:
                raise MemoryError(f"no memory for an array of {size:,} bytes")
            self.blocks += 1
        self.in_use += size
        self.most = max(self.most, self.in_use)
        return memory

    cdef void give_back(self, void *memory, Py_ssize_t size):
        self.in_use -= size
        self.kept += size
        cdef Shelf shelf = self.shelves.get(size)
        if shelf is None:
            shelf = self.shelves[size] = Shelf()
        shelf.addresses.append(<size_t>memory)

    cdef Py_ssize_t discard(self, Py_ssize_t size, list addresses):
        """Give these blocks of a size, which lie on no shelf any more, back to the system. Returns their bytes."""
        for address in addresses:
            free(<void *><size_t>address)
        cdef Py_ssize_t freed = size * len(addresses)
        self.blocks -= len(addresses)
        self.kept -= freed
        return freed

    cdef void end_round(self):
        """Free what nobody needed during this round, and begin the next one."""
        cdef Shelf shelf
        cdef Py_ssize_t freed = 0
        for size in list(self.shelves):  # not the dict itself: whatever is made here may wake the garbage collector
            shelf = self.shelves[size]
            unneeded = shelf.addresses[:shelf.unused]
            del shelf.addresses[:shelf.unused]
            freed += self.discard(size, unneeded)
            shelf.unused = len(shelf.addresses)
            if not shelf.addresses:
                del self.shelves[size]
        self.begin_round()
        if freed >= WORTH:
            cnn_trim()

    cdef void begin_round(self):
        self.left = ROUND + 8 * self.blocks
        self.before, self.most = self.most, self.in_use

    cdef Py_ssize_t clear(self):
        """Free all that is kept, and begin a round. Returns its bytes."""
        cdef Shelf shelf
        cdef Py_ssize_t freed = 0
        shelves, self.shelves = self.shelves, {}
        for size, shelf in shelves.items():
            freed += self.discard(size, shelf.addresses)
        self.begin_round()
        return freed


cdef Recycler _recycler = Recycler()


cpdef object empty(tuple shape, object dtype):
    """An array whose values are whatever its memory held: np.empty, from memory used before."""
    cdef Py_ssize_t size = dtype.itemsize
    for n in shape:
        size *= n
    _recycler.request()
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, Block(size))


def pool_bytes():
    """How many bytes the arrays that `empty` made hold, and how many are kept for the next ones."""
    return _recycler.in_use, _recycler.kept


def release_memory():
    """Give what is kept for later back to the system: free blocks, and the scratch memory of this thread and of the
    pool's. Returns its bytes."""
    cdef size_t freed = _recycler.clear()
    with nogil:
        freed += cnn_release_scratch()
        cnn_trim()
    return freed


def cache_bytes():
    """Bytes of a processor's L2 cache."""
    return cnn_cache()
