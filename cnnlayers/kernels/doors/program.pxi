# Programs: the calls of kernels that compute a net for batches of one shape, as one call: kernels/c/program.h.

from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef extern from "kernels/c/program.h" nogil:
    ctypedef enum cnn_place:
        CNN_NOWHERE
        CNN_IN_ARRAY
        CNN_IN_ARENA

    ctypedef struct cnn_operand:
        cnn_place place
        Py_ssize_t at

    ctypedef enum cnn_call_kind:
        CNN_CALL_DIRECT
        CNN_CALL_DEPTHWISE
        CNN_CALL_SEPARABLE
        CNN_CALL_STRETCHED
        CNN_CALL_WINOGRAD
        CNN_CALL_DIRECT_INPUT_GRAD
        CNN_CALL_DEPTHWISE_INPUT_GRAD
        CNN_CALL_TURNED_INPUT_GRAD
        CNN_CALL_DOTS_INPUT_GRAD
        CNN_CALL_WINOGRAD_INPUT_GRAD
        CNN_CALL_RELU
        CNN_CALL_ADD
        CNN_CALL_ADD_BIAS
        CNN_CALL_SCALE_CHANNELS
        CNN_CALL_MULTIPLY
        CNN_CALL_ACTIVATION
        CNN_CALL_BATCH_NORM
        CNN_CALL_GROUP_NORM
        CNN_CALL_LAYER_NORM
        CNN_CALL_MAX_POOL
        CNN_CALL_AVG_POOL
        CNN_CALL_GLOBAL_AVG_POOL
        CNN_CALL_GLOBAL_MAX_POOL
        CNN_CALL_COPY_CHANNELS
        CNN_CALL_PARTS
        CNN_CALL_LEAVE

    enum:
        CNN_X
        CNN_PLUS
        CNN_Y
        CNN_FIRST_SCRATCH
        CNN_SECOND_SCRATCH
        CNN_OPERANDS

    enum:
        CNN_NO_MEMORY
        CNN_UNDONE

    ctypedef struct cnn_rows:  # has no name in C
        Py_ssize_t n, positions, c, groups, first
        double number
        int which

    ctypedef struct cnn_separable:  # nor has this
        cnn_conv depthwise, pointwise
        int biased

    ctypedef struct cnn_parts:  # nor this
        const cnn_program *larger
        const cnn_program *smaller
        Py_ssize_t n, count
        size_t x_bytes, y_bytes, arena

    ctypedef union cnn_numbers:  # nor this
        cnn_conv conv
        cnn_separable separable
        cnn_pool pool
        cnn_rows rows
        cnn_parts parts

    ctypedef struct cnn_call:
        cnn_call_kind kind
        int otherwise, relu, threads
        cnn_operand operands[5]
        const void *W
        const void *b
        const void *ready
        const void *mean
        const void *scale
        cnn_numbers of

    ctypedef struct cnn_program:
        const cnn_kernels *kernels
        cnn_call *calls
        Py_ssize_t count
        size_t item

    Py_ssize_t cnn_run(const cnn_program *p, Py_ssize_t first, void *const *arrays, char *arena) noexcept nogil


cdef enum:
    LINE = 64  # bytes of a cache line: what lies in the arena begins with one


class NothingToCompute(ValueError):
    """An array that a program would compute holds no number."""


cdef class Storage:
    """Where numbers lie while a program runs, from the call that writes them to the last that reads them."""

    cdef Py_ssize_t bytes, first, last, offset  # calls by their numbers; bytes from the arena's beginning
    cdef Py_ssize_t array  # which of the arrays that a run brings; -1 for the arena
    cdef Storage over  # what may lie in the same place, if nothing reads it later than the call that writes this

    def __cinit__(self, Py_ssize_t nbytes, Py_ssize_t first):
        self.bytes, self.first, self.last, self.array, self.offset = nbytes, first, first, -1, -1


cdef class Value:
    """An array that a program computes, or is given."""

    cdef readonly tuple shape
    cdef Storage storage
    cdef Program program


cdef class Program:
    """The calls that compute a net for batches of one shape, recorded one by one, then run as one.

    Each method that is named for what it computes records a call, after it has compared the sizes of what the kernel
    will touch, and gives the value that the call computes. `finish` says which value is wanted, and gives all others
    places in one block of memory, the arena; from then on `run` may be called, by any number of threads at once: each
    run has an arena of its own. A program is for the kernels and the number of threads of the time when it was begun.

    What no kernel computes is recorded by `leave`: a function of arrays. What it takes and gives are arrays of their
    own, which it may keep.
    """

    cdef cnn_program table
    cdef Py_ssize_t room, arrays
    cdef bint wide, finished
    cdef int threads
    cdef object dtype
    cdef list operands  # of each call, by number: storages, or None
    cdef list held, bodies  # arrays that calls read; programs that they run
    cdef dict left  # the number of a call that leaves: function, values that it takes, value that it gives
    cdef list shown  # for `rows`: number of the call, what it computes, what it takes and gives
    cdef Value x, y
    cdef readonly Py_ssize_t arena  # bytes

    def __cinit__(self, object dtype, n_threads=None):
        self.dtype = np.dtype(dtype)
        self.wide = self.dtype == np.float64
        self.threads = threads.get_num_threads() if n_threads is None else n_threads
        self.table.kernels = _tables[self.wide]
        self.table.item = self.dtype.itemsize
        self.operands, self.held, self.bodies, self.left, self.shown = [], [], [], {}, []

    def __dealloc__(self):
        free(self.table.calls)

    def __len__(self):
        return self.table.count

    @property
    def only_kernels(self):
        """Whether no function is called in it (`leave`)."""
        return not self.left

    @property
    def written(self):
        """Bytes of all values that its calls write."""
        cdef Storage storage
        cdef Py_ssize_t total = 0
        for storage in {operands[CNN_Y] for operands in self.operands}:
            total += storage.bytes
        return total

    @property
    def constants(self):
        """Bytes of the arrays that its calls read each time, such as weights."""
        return sum(array.nbytes for array in {id(array): array for array in self.held}.values())

    def begins_as(self, Program other not None):
        """Whether its first calls are those of the other program, but for the number of samples."""
        cdef cnn_call *a
        cdef cnn_call *b
        cdef Py_ssize_t i
        if other.table.count > self.table.count:
            return False
        for i in range(other.table.count):
            a, b = &self.table.calls[i], &other.table.calls[i]
            if a.kind != b.kind or a.otherwise != b.otherwise or a.W != b.W or a.ready != b.ready:
                return False
            if a.kind in (CNN_CALL_WINOGRAD, CNN_CALL_WINOGRAD_INPUT_GRAD) and a.of.conv.side != b.of.conv.side:
                return False
        return True

    # What is recorded

    def input(self, tuple shape not None):
        """The array that `run` is given."""
        if self.x is not None:
            raise ValueError("a program has one input")
        self.x = self._value(shape)
        self.x.storage.array = 0
        self.arrays = 2  # and what it gives
        return self.x

    def reshape(self, Value x not None, tuple shape not None):
        """The same numbers in another shape."""
        return self._alike(x, shape)

    def conv_forward(
        self, Value x not None, W, b, window, bint relu=False, PackedConv packed=None, int side=0, Value plus=None, *,
        str kernel, bint upright=False, tuple plain=None
    ):
        """As `conv_forward`. `plain`: (kernel, upright) of the call that computes it if this one meets no number."""
        cdef Value y = self._value((x.shape[0], *window.out, W.shape[W.ndim - 1]))
        cdef Py_ssize_t before = self.table.count
        self._conv_forward(x, W, b, window, relu, packed, side, plus, y, kernel, upright)
        self._show(kernel, "conv", [x, plus], y)
        if plain is not None:
            self._conv_forward(x, W, b, window, relu, None, 0, plus, y, plain[0], plain[1])
            self.table.calls[before].otherwise = <int>(self.table.count - before - 1)
        return y

    cdef int _conv_forward(
        self, Value x, object W, object b, object window, bint relu, PackedConv packed, int side, Value plus, Value y,
        str kernel, bint upright
    ) except -1:
        cdef cnn_conv s = _conv(window, x.shape[0], W, side)
        cdef Kernel chosen = _kernel(&s, kernel, self.wide)
        cdef Py_ssize_t count = s.n * s.oh * s.ow * s.f
        cdef cnn_call *call
        cdef const void *pready = NULL
        self._check(x, s.n * s.h * s.w * s.c, "x")
        if plus is not None:
            self._check(plus, count, "plus")
        cdef const void *pW = self._needed(W, s.kh * s.kw * (s.c // s.groups) * s.f, "W")
        cdef const void *pb = self._constant(b, s.f, "b")
        if packed is not None and not upright and packed.fits(W, window, side):
            pready = self._constant(packed.numbers, packed.numbers.size, "packed")
        s.relu = relu and (chosen == WINOGRAD or plus is None)
        s.threads = self.threads
        if upright:
            _stand_upright(&s)
        if chosen == WINOGRAD:
            call = self._call(CNN_CALL_WINOGRAD, x, y, plus)
        elif chosen == DEPTHWISE:
            call = self._call(CNN_CALL_DEPTHWISE, x, y)
        elif chosen == STRETCHED:
            call = self._call(CNN_CALL_STRETCHED, x, y)
        else:
            call = self._call(CNN_CALL_DIRECT, x, y)
        call.of.conv, call.W, call.b, call.ready = s, pW, pb, pready
        if chosen != WINOGRAD and plus is not None:
            self._add(y, plus, y, relu)
        return 0

    def separable(self, Value x not None, depthwise not None, pointwise not None, Value plus=None):
        """As `conv_forward` of a depthwise convolution, and then of a 1x1 convolution, + plus.

        Both are (W, b, window, relu, packed); only the second one's weights are packed, and they have to be.
        """
        W, b, window, first_relu, _ = depthwise
        V, last_bias, last_window, last_relu, _ = pointwise
        cdef PackedConv packed = pointwise[4]
        cdef cnn_conv s = _conv(window, x.shape[0], W), p = _conv(last_window, x.shape[0], V)
        cdef Py_ssize_t count = p.n * p.oh * p.ow * p.f
        if not _conv_kernels(self.wide).separable_suits(&s, &p):
            raise ValueError("the kernel 'separable' cannot compute these convolutions")
        if packed is None or not packed.fits(V, last_window):
            raise ValueError("the kernel 'separable' needs the weights of the 1x1 convolution packed")
        self._check(x, s.n * s.h * s.w * s.c, "x")
        if plus is not None:
            self._check(plus, count, "plus")
        cdef const void *pW = self._needed(W, s.kh * s.kw * s.f, "W")
        cdef const void *pb = self._constant(b, s.f, "b")
        cdef const void *pready = self._needed(packed.numbers, packed.numbers.size, "packed")
        cdef Value y = self._value((x.shape[0], *last_window.out, p.f))
        cdef cnn_call *call = self._call(CNN_CALL_SEPARABLE, x, y)
        s.relu, s.threads, p.relu, p.threads = first_relu, self.threads, last_relu and plus is None, self.threads
        call.of.separable.depthwise, call.of.separable.pointwise = s, p
        call.of.separable.biased = last_bias is not None
        call.W, call.b, call.ready = pW, pb, pready
        self._show("separable", "two convs", [x, plus], y)
        if plus is not None:
            self._add(y, plus, y, last_relu)
        return y

    def affine(self, Value x not None, W, b, bint relu=False, PackedConv packed=None, *, str kernel):
        """As `affine`."""
        cdef cnn_conv s = _affine(x.shape[0], W)
        cdef Kernel chosen = _kernel(&s, kernel, self.wide)
        cdef Value y = self._value((s.h, s.f))
        cdef const void *pready = NULL
        self._check(x, s.h * s.c, "x")
        cdef const void *pW = self._needed(W, s.c * s.f, "W")
        cdef const void *pb = self._constant(b, s.f, "b")
        if packed is not None and packed.fits(W, None):
            pready = self._constant(packed.numbers, packed.numbers.size, "packed")
        cdef cnn_call *call = self._call(CNN_CALL_STRETCHED if chosen == STRETCHED else CNN_CALL_DIRECT, x, y)
        s.relu, s.threads = relu, self.threads
        call.of.conv, call.W, call.b, call.ready = s, pW, pb, pready
        self._show(kernel, "affine", [x], y)
        return y

    def conv_input_grad(
        self, Value dy not None, W, window, int side=0, *, str kernel, bint upright=False, tuple plain=None
    ):
        """As `conv_input_grad`; `plain` as in `conv_forward`."""
        cdef Value dx = self._value((dy.shape[0], *window.sizes, window.channels))
        cdef Py_ssize_t before = self.table.count
        self._conv_input_grad(dy, W, window, side, dx, kernel, upright)
        self._show(kernel, "transposed conv", [dy], dx)
        if plain is not None:
            self._conv_input_grad(dy, W, window, 0, dx, plain[0], plain[1])
            self.table.calls[before].otherwise = <int>(self.table.count - before - 1)
        return dx

    cdef int _conv_input_grad(
        self, Value dy, object W, object window, int side, Value dx, str kernel, bint upright
    ) except -1:
        cdef cnn_conv s = _conv(window, dy.shape[0], W, side)
        cdef Kernel chosen = _kernel(&s, kernel, self.wide)
        cdef cnn_call_kind kind = CNN_CALL_DIRECT_INPUT_GRAD
        self._check(dy, s.n * s.oh * s.ow * s.f, "dy")
        if chosen == WINOGRAD:
            kind = CNN_CALL_WINOGRAD_INPUT_GRAD
        elif chosen == DEPTHWISE:
            kind = CNN_CALL_DEPTHWISE_INPUT_GRAD
        elif chosen == TURNED:
            kind = CNN_CALL_TURNED_INPUT_GRAD
        elif chosen == DOTS:
            kind = CNN_CALL_DOTS_INPUT_GRAD
        cdef const void *pW = self._needed(W, s.kh * s.kw * (s.c // s.groups) * s.f, "W")
        s.threads = self.threads
        if upright:
            _stand_upright(&s)
        cdef cnn_call *call = self._call(kind, dy, dx)
        call.of.conv, call.W = s, pW
        return 0

    def relu(self, Value x not None):
        """As `relu`."""
        cdef Value y = self._over(x)
        cdef cnn_call *call = self._call(CNN_CALL_RELU, x, y)
        call.of.rows.n = self._count(x)
        self._show("", "relu", [x], y)
        return y

    def add(self, Value a not None, Value b not None, bint relu=False):
        """As `add`."""
        cdef Value y = self._over(a)
        self._check(b, self._count(a), "b")
        self._add(a, b, y, relu)
        self._show("", "add", [a, b], y)
        return y

    cdef int _add(self, Value a, Value b, Value y, bint relu) except -1:
        cdef cnn_call *call = self._call(CNN_CALL_ADD, a, y, b)
        call.of.rows.n = self._count(a)
        call.relu = relu
        return 0

    def multiply(self, Value a not None, Value b not None):
        """As `multiply`."""
        cdef Value y = self._over(a)
        self._check(b, self._count(a), "b")
        cdef cnn_call *call = self._call(CNN_CALL_MULTIPLY, a, y, b)
        call.of.rows.n = self._count(a)
        self._show("", "multiply", [a, b], y)
        return y

    def scale_channels(self, Value x not None, Value m not None):
        """As `scale_channels`."""
        cdef Value y = self._over(x)
        cdef Py_ssize_t c = _last(x.shape)
        self._check(m, x.shape[0] * c, "m")
        cdef cnn_call *call = self._call(CNN_CALL_SCALE_CHANNELS, x, y, m)
        call.of.rows.n, call.of.rows.c = x.shape[0], c
        call.of.rows.positions = self._count(x) // (x.shape[0] * c)
        self._show("", "scale channels", [x, m], y)
        return y

    def add_bias(self, Value x not None, b, bint relu=False):
        """As `add_bias`."""
        cdef Value y = self._over(x)
        cdef Py_ssize_t c = _last(x.shape)
        cdef const void *pb = self._needed(b, c, "b")
        cdef cnn_call *call = self._call(CNN_CALL_ADD_BIAS, x, y)
        call.of.rows.n, call.of.rows.c, call.relu, call.b = self._count(x) // c, c, relu, pb
        self._show("", "add bias", [x], y)
        return y

    def activation(self, Value x not None, str name, double alpha=0):
        """As the function of this name."""
        cdef int which = _ACTIVATIONS[name]
        cdef Value y = self._over(x)
        cdef cnn_call *call = self._call(CNN_CALL_ACTIVATION, x, y)
        call.of.rows.n, call.of.rows.which, call.of.rows.number = self._count(x), which, alpha
        self._show("", name, [x], y)
        return y

    def batch_norm_apply(self, Value x not None, gamma, beta, mean, scale, bint relu=False, Value plus=None):
        """As `batch_norm_apply`."""
        cdef Value y = self._value(x.shape)
        cdef Py_ssize_t c = _last(x.shape)
        if plus is not None:
            self._check(plus, self._count(x), "plus")
        cdef const void *pgamma = self._needed(gamma, c, "gamma")
        cdef const void *pbeta = self._needed(beta, c, "beta")
        cdef const void *pmean = self._needed(mean, c, "mean")
        cdef const void *pscale = self._needed(scale, c, "scale")
        cdef cnn_call *call = self._call(CNN_CALL_BATCH_NORM, x, y, plus)
        call.of.rows.n, call.of.rows.c, call.relu = self._count(x) // c, c, relu
        call.W, call.b, call.mean, call.scale = pgamma, pbeta, pmean, pscale
        self._show("", "batch norm", [x, plus], y)
        return y

    def group_norm(self, Value x not None, Py_ssize_t groups, gamma, beta, double eps, bint relu=False):
        """As `group_norm`."""
        cdef Value y = self._value(x.shape)
        cdef Py_ssize_t c = _last(x.shape), n = x.shape[0]
        if groups < 1 or c % groups:
            raise ValueError(f"{c} channels do not go in {groups} groups")
        cdef Py_ssize_t bytes = n * c * self.table.item
        cdef const void *pgamma = self._needed(gamma, c, "gamma")
        cdef const void *pbeta = self._needed(beta, c, "beta")
        cdef cnn_call *call = self._call(CNN_CALL_GROUP_NORM, x, y, None, bytes, bytes)
        call.of.rows.n, call.of.rows.positions, call.of.rows.c = n, self._count(x) // (n * c), c
        call.of.rows.groups, call.of.rows.number, call.relu = groups, eps, relu
        call.W, call.b = pgamma, pbeta
        self._show("", "group norm", [x], y)
        return y

    def layer_norm(self, Value x not None, gamma, beta, double eps):
        """As `layer_norm`."""
        cdef Value y = self._value(x.shape)
        cdef Py_ssize_t c = _last(x.shape)
        cdef Py_ssize_t rows = self._count(x) // c
        cdef Py_ssize_t bytes = rows * self.table.item
        cdef const void *pgamma = self._needed(gamma, c, "gamma")
        cdef const void *pbeta = self._needed(beta, c, "beta")
        cdef cnn_call *call = self._call(CNN_CALL_LAYER_NORM, x, y, None, bytes, bytes)
        call.of.rows.n, call.of.rows.c, call.of.rows.number = rows, c, eps
        call.W, call.b = pgamma, pbeta
        self._show("", "layer norm", [x], y)
        return y

    def max_pool(self, Value x not None, window, bint relu=False):
        """As `max_pool`."""
        cdef cnn_pool s = _pool_numbers(window, x.shape[0])
        _nameable(&s)
        cdef Value y = self._value((s.n, *window.out, s.c))
        self._check(x, s.n * s.h * s.w * s.c, "x")
        cdef cnn_call *call = self._call(CNN_CALL_MAX_POOL, x, y)
        s.relu, s.threads = relu, self.threads
        call.of.pool = s
        self._show("", "max pool", [x], y)
        return y

    def avg_pool(self, Value x not None, window, shares):
        """As `avg_pool`."""
        cdef cnn_pool s = _pool_numbers(window, x.shape[0])
        cdef Value y = self._value((s.n, *window.out, s.c))
        self._check(x, s.n * s.h * s.w * s.c, "x")
        cdef const void *pshares = self._needed(shares, s.oh * s.ow, "shares")
        cdef cnn_call *call = self._call(CNN_CALL_AVG_POOL, x, y)
        s.threads = self.threads
        call.of.pool, call.scale = s, pshares
        self._show("", "average pool", [x], y)
        return y

    def global_avg_pool(self, Value x not None):
        """As `global_avg_pool`."""
        return self._global_pool(CNN_CALL_GLOBAL_AVG_POOL, x, 0, "global average pool")

    def global_max_pool(self, Value x not None):
        """As `global_max_pool`."""
        return self._global_pool(CNN_CALL_GLOBAL_MAX_POOL, x, sizeof(Py_ssize_t), "global max pool")

    cdef Value _global_pool(self, cnn_call_kind kind, Value x, Py_ssize_t scratch, str name):
        cdef Py_ssize_t positions = _positions(x.shape), n = x.shape[0], c = _last(x.shape)
        cdef Value y = self._value((n, c))
        cdef cnn_call *call = self._call(kind, x, y, None, scratch * n * c)
        call.of.rows.n, call.of.rows.positions, call.of.rows.c = n, positions, c
        self._show("", name, [x], y)
        return y

    def concatenate(self, list parts not None):
        """The channels of each part after those of the one before it."""
        cdef Value part, y
        cdef Py_ssize_t first = 0, c, all_channels = 0
        cdef cnn_call *call
        for part in parts:
            self._count(part)  # it is a value of this program
            all_channels += _last(part.shape)
        y = self._value((*_before_last(parts[0]), all_channels))
        for part in parts:
            self._check(part, self._count(y) // all_channels * _last(part.shape), "a part")
        for part in parts:
            c = _last(part.shape)
            call = self._call(CNN_CALL_COPY_CHANNELS, part, y)
            call.of.rows.n, call.of.rows.c = self._count(part) // c, c
            call.of.rows.groups, call.of.rows.first = all_channels, first
            first += c
        self._show("", "concatenate", parts, y)
        return y

    def in_parts(self, Value x not None, Py_ssize_t count, bodies):
        """What other programs compute for `count` parts of the batch, each part by one thread.

        bodies: two finished programs that are nothing but kernels, on one thread, for as many samples as the first
        parts have, and for as many as the others; the same one twice if all parts have as many. Where Winograd's method
        meets a number that is not finite, they give no result, and `run` gives None.
        """
        cdef Program larger = bodies[0], smaller = bodies[1], body
        cdef Py_ssize_t n = x.shape[0], of_part
        if not 1 <= count <= n:
            raise ValueError(f"{n} samples make 1 to {n} parts; got {count}")
        for body, of_part in ((larger, (n + count - 1) // count), (smaller, n // count)):
            if not body.finished or body.left or body.threads != 1 or body.dtype != self.dtype:
                raise ValueError(f"parts are computed by finished {self.dtype} programs of kernels, on one thread")
            if body.table.kernels != self.table.kernels:
                raise ValueError("parts are computed by programs of the same instruction set")
            if body.x.shape != (of_part, *x.shape[1:]):
                raise ValueError(f"a part of {count} has shape {(of_part, *x.shape[1:])}; got {body.x.shape}")
        cdef Value y = self._value((n, *larger.y.shape[1:]))
        cdef Py_ssize_t arena = (max(larger.arena, smaller.arena) + LINE) // LINE * LINE
        cdef cnn_call *call = self._call(CNN_CALL_PARTS, x, y, None, self.threads * arena)
        call.of.parts.larger, call.of.parts.smaller = &larger.table, &smaller.table
        call.of.parts.n, call.of.parts.count, call.of.parts.arena = n, count, arena
        call.of.parts.x_bytes, call.of.parts.y_bytes = x.storage.bytes // n, y.storage.bytes // n
        self.bodies.append(bodies)
        self._show("", f"{count} parts of the batch", [x], y, larger)
        return y

    def leave(self, function, list values not None, tuple shape not None, name=""):
        """The value of this shape that function(*arrays) gives, which is called between the kernels."""
        cdef Value y = self._value(shape), value
        for value in values:
            self._count(value)
        cdef cnn_call *call = self._call(CNN_CALL_LEAVE, None, y)
        for value in values:
            self._move_out(value.storage)
            value.storage.last = self.table.count - 1
        self._move_out(y.storage)
        self.left[self.table.count - 1] = (function, list(values), y)
        self._show("", name, values, y)
        return y

    cdef int _move_out(self, Storage storage) except -1:
        """Have an array of its own hold a value, not the arena."""
        if storage.array < 0:
            storage.array = self.arrays
            self.arrays += 1
        return 0

    # How it is recorded

    cdef Value _value(self, tuple shape):
        """A value that no call has written yet."""
        cdef Value value = Value.__new__(Value)
        cdef Py_ssize_t count = 1
        for n in shape:
            count *= n
        if count < 1:
            raise NothingToCompute(f"a program computes arrays of at least one number; got shape {shape}")
        if self.finished:
            raise ValueError("a program that is finished takes no more calls")
        value.shape, value.program, value.storage = shape, self, Storage(count * self.table.item, self.table.count)
        return value

    cdef Value _over(self, Value x):
        """A value as x that may lie in its place."""
        cdef Value value = self._value(x.shape)
        value.storage.over = x.storage
        return value

    cdef Value _alike(self, Value x, tuple shape):
        cdef Value value = self._value(shape)
        self._check(x, self._count(value), "x")
        value.storage = x.storage
        return value

    cdef Py_ssize_t _count(self, Value value) except -1:
        """How many numbers a value of this program holds."""
        if value is None or value.program is not self:
            raise ValueError("a program computes with values of its own")
        return value.storage.bytes // <Py_ssize_t>self.table.item

    cdef int _check(self, Value value, Py_ssize_t count, str name) except -1:
        if self._count(value) != count:
            raise ValueError(f"{name} must hold {count} numbers; got a value of shape {value.shape}")
        return 0

    cdef const void *_needed(self, object array, Py_ssize_t count, str name) except NULL:
        """The address of an array that is kept as long as the program."""
        if array is None:
            raise ValueError(f"{name} must hold {count} numbers; got None")
        return self._constant(array, count, name)

    cdef const void *_constant(self, object array, Py_ssize_t count, str name) except? NULL:
        """The same; NULL for None."""
        if array is None:
            return NULL
        cdef const void *address = _data(array, count, self.wide, False, name)
        self.held.append(array)
        return address

    cdef cnn_call *_call(
        self, cnn_call_kind kind, Value x, Value y, Value plus=None, Py_ssize_t first=0, Py_ssize_t second=0
    ) except NULL:
        """A new call, of which the operands are known; first, second: bytes of its scratch memory."""
        cdef cnn_call *calls
        cdef Value value
        for value in (x, y, plus):
            if value is not None:
                self._count(value)
        if self.table.count == self.room:
            calls = <cnn_call *>realloc(self.table.calls, (2 * self.room + 8) * sizeof(cnn_call))
            if calls == NULL:
                raise MemoryError("no memory for a program")
            self.table.calls, self.room = calls, 2 * self.room + 8
        cdef Py_ssize_t number = self.table.count
        cdef cnn_call *call = &self.table.calls[number]
        memset(call, 0, sizeof(cnn_call))
        call.kind, call.threads = kind, self.threads
        cdef list operands = [None] * CNN_OPERANDS
        operands[CNN_X] = None if x is None else x.storage
        operands[CNN_PLUS] = None if plus is None else plus.storage
        operands[CNN_Y] = y.storage
        operands[CNN_FIRST_SCRATCH] = Storage(first, number) if first else None
        operands[CNN_SECOND_SCRATCH] = Storage(second, number) if second else None
        self.operands.append(operands)
        self.table.count = number + 1
        cdef Storage storage
        for storage in operands:
            if storage is not None:
                storage.last = number
        return call

    # Places

    def finish(self, Value y not None):
        """Have `run` give y: all other values get their places. Returns whether there is anything to run."""
        self._count(y)
        if self.finished or y.storage.array == 0 or len(self.left) == self.table.count:
            return False
        cdef list storages = []
        cdef Storage storage
        if y.storage.array < 0:
            y.storage.array = 1
        self.y = y
        for operands in self.operands:
            for storage in operands:
                if storage is not None and storage.array < 0 and storage.offset < 0:
                    storage.offset = 0
                    storages.append(storage)
        self._place(storages)
        cdef Py_ssize_t number
        cdef int j
        for number, operands in enumerate(self.operands):
            for j in range(CNN_OPERANDS):
                storage = operands[j]
                if storage is None:
                    self.table.calls[number].operands[j].place = CNN_NOWHERE
                elif storage.array >= 0:
                    self.table.calls[number].operands[j].place = CNN_IN_ARRAY
                    self.table.calls[number].operands[j].at = storage.array
                else:
                    self.table.calls[number].operands[j].place = CNN_IN_ARENA
                    self.table.calls[number].operands[j].at = storage.offset
        self.finished = True
        return True

    cdef int _place(self, list storages) except -1:
        """Give each storage the lowest place of the arena where nothing lies that is needed at the same time."""
        cdef Storage storage, other
        cdef list placed = []
        cdef Py_ssize_t at
        for storage in storages:  # by their first calls
            other = storage.over
            if other is not None and other.array < 0 and other.last == storage.first and other.bytes == storage.bytes:
                storage.offset = other.offset
            else:
                at = 0
                for other in sorted(placed, key=_offset_of):
                    if other.last >= storage.first and other.first <= storage.last:
                        if at + storage.bytes <= other.offset:
                            break
                        at = max(at, (other.offset + other.bytes + LINE - 1) // LINE * LINE)
                storage.offset = at
            placed.append(storage)
            self.arena = max(self.arena, storage.offset + storage.bytes)
        return 0

    # What is run

    def run(self, x):
        """y for an array x of the input's shape; None if it must be computed otherwise.

        That is, if a function that was recorded by `leave` gave what it may not (its errors pass through), or if the
        values of a part of the batch are not finite.
        """
        if not self.finished:
            raise ValueError("a program must be finished before it runs")
        cdef void *px = _data(x, self._count(self.x), self.wide, False, "x")
        y = empty(self.y.shape, self.dtype) if self.y.storage.array == 1 else None
        cdef list arrays = [x, y] + [None] * (self.arrays - 2)
        cdef Py_ssize_t table_bytes = self.arrays * sizeof(void *), number = 0
        cnn_count_request()
        cdef Block block = Block(max(SMALL, (self.arena + LINE - 1) // LINE * LINE + table_bytes))
        cdef char *arena = <char *>block.memory
        cdef void **addresses = <void **>(arena + (self.arena + LINE - 1) // LINE * LINE)
        memset(addresses, 0, table_bytes)
        addresses[0] = px
        if y is not None:
            addresses[1] = _data(y, self._count(self.y), self.wide, True, "y")
        if self.left:
            self._open(arrays, addresses)
        while True:
            with nogil:
                number = cnn_run(&self.table, number, addresses, arena)
            if number == CNN_UNDONE:
                return None
            if number == CNN_NO_MEMORY:
                raise MemoryError("no memory for the buffers of a kernel")
            if number == self.table.count:
                return arrays[self.y.storage.array].reshape(self.y.shape)
            if not self._visit(number, arrays, addresses):
                return None
            number += 1

    cdef int _open(self, list arrays, void **addresses) except -1:
        """Make the arrays that kernels write and functions read."""
        cdef Value value
        cdef Storage storage
        written = {id((<Value>value).storage) for _, _, value in self.left.values()}
        for _, values, _ in self.left.values():
            for value in values:
                storage = value.storage
                if arrays[storage.array] is None and id(storage) not in written:
                    array = arrays[storage.array] = empty((self._count(value),), self.dtype)
                    addresses[storage.array] = _data(array, self._count(value), self.wide, True, "a value")
        return 0

    cdef bint _visit(self, Py_ssize_t number, list arrays, void **addresses) except -1:
        """Call a function; whether it gave what it shall."""
        cdef Value value, y
        function, values, y = self.left[number]
        given = []
        for value in values:
            given.append(arrays[value.storage.array].reshape(value.shape))
        result = function(*given)
        if type(result) is not np.ndarray or result.shape != y.shape or result.dtype != self.dtype:
            return False
        if not (result.flags.c_contiguous and result.flags.aligned):
            return False
        arrays[y.storage.array] = result
        addresses[y.storage.array] = _data(result, self._count(y), self.wide, False, "a value")
        return True

    # What is shown

    cdef int _show(self, str kernel, str name, list values, Value y, Program body=None) except -1:
        self.shown.append((name if not kernel else f"{name}, {kernel}", [v for v in values if v is not None], y, body))
        return 0

    def rows(self):
        """Of each call: what it computes, where its values lie, which shape its result has, and where that lies; and
        the program of its first part, if it computes parts of the batch."""
        cdef Value y
        for name, values, y, body in self.shown:
            yield name, [self._where(value) for value in values], y.shape, self._where(y), body

    cdef object _where(self, Value value):
        """An offset in the arena, or the name of an array."""
        cdef Storage storage = value.storage
        if storage.array == 0:
            return "x"
        if storage is self.y.storage:
            return "y"
        return "an array" if storage.array > 0 else storage.offset


def _offset_of(Storage storage):
    return storage.offset


cdef tuple _before_last(Value value):
    return value.shape[:len(value.shape) - 1]


_ACTIVATIONS = {
    "leaky_relu": CNN_LEAKY_RELU,
    "sigmoid": CNN_SIGMOID,
    "tanh": CNN_TANH,
    "elu": CNN_ELU,
    "gelu": CNN_GELU,
    "gelu_tanh": CNN_GELU_TANH,
    "silu": CNN_SILU,
}
