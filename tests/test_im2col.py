"""im2col and col2im: by hand, against the loops, as transposes of each other, and with every kind of input."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import cnnlayers as cl
from cnnlayers import reference
from tests.marks import DTYPES, both_dtypes


def numbers(shape, dtype=np.float64, seed=0):
    """Whole numbers: sums of them are exact in both dtypes, so results must be equal to the last bit."""
    return np.random.default_rng(seed).integers(-99, 100, shape).astype(dtype)


def check(x, *args):
    """Both maps against the loops, exactly, and without a trace on their inputs."""
    before = x.copy()
    cols = cl.im2col(x, *args)
    expected = reference.im2col(x, *args)
    assert cols.dtype == x.dtype
    assert cols.shape == expected.shape
    np.testing.assert_array_equal(cols, expected)
    np.testing.assert_array_equal(x, before)

    c = numbers(cols.shape, x.dtype, seed=1)
    before = c.copy()
    dx = cl.col2im(c, x.shape, *args)
    assert dx.dtype == x.dtype
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dx, reference.col2im(c, x.shape, *args))
    np.testing.assert_array_equal(c, before)
    assert np.vdot(cols.astype(float), c) == np.vdot(x.astype(float), dx)  # <im2col(x), c> = <x, col2im(c)>


# By hand


def test_a_signal_by_hand():
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 5, 1)
    assert cl.im2col(x, 3).tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert cl.im2col(x, 2, stride=3).tolist() == [[1, 2], [4, 5]]
    assert cl.im2col(x, 2, dilation=3).tolist() == [[1, 4], [2, 5]]
    assert cl.im2col(x, 3, 2, [(2, 0)]).tolist() == [[0, 0, 1], [1, 2, 3], [3, 4, 5]]


def test_a_kernel_that_is_not_square_by_hand():
    x = np.arange(1.0, 13).reshape(1, 3, 4, 1)
    assert cl.im2col(x, (1, 3)).tolist() == [[1, 2, 3], [2, 3, 4], [5, 6, 7], [6, 7, 8], [9, 10, 11], [10, 11, 12]]
    assert cl.im2col(x, (3, 1)).tolist() == [[1, 5, 9], [2, 6, 10], [3, 7, 11], [4, 8, 12]]
    assert cl.im2col(x, (2, 3), (1, 2), ((0, 0), (1, 0))).tolist() == [
        [0, 1, 2, 0, 5, 6],
        [2, 3, 4, 6, 7, 8],
        [0, 5, 6, 0, 9, 10],
        [6, 7, 8, 10, 11, 12],
    ]


def test_channels_stand_innermost_and_images_outermost():
    x = np.arange(8.0).reshape(2, 2, 2)
    assert cl.im2col(x, 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cl.im2col(x, 1).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_col2im_by_hand():
    cols = np.array([[1.0, 2], [10, 20], [100, 200]])
    assert cl.col2im(cols, (1, 4, 1), 2).ravel().tolist() == [1, 12, 120, 200]
    assert cl.col2im(cols, (1, 2, 1), 2, padding=1).ravel().tolist() == [12, 120]
    assert cl.col2im(np.ones((1, 4)), (1, 3, 3, 1), 2, stride=9)[0, :, :, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0] * 3]


def test_convolution_is_a_product_with_the_columns():
    x, W = numbers((2, 6, 5, 3)), numbers((3, 2, 3, 4), seed=1)
    y = cl.im2col(x, (3, 2), 2) @ W.reshape(-1, 4)
    np.testing.assert_array_equal(y.reshape(2, 2, 2, 4), reference.conv_forward(x, W, stride=2))


# Against the loops

KERNELS = [(1, 1), (2, 3), (3, 1), (1, 4)]
STRIDES = [(1, 1), (2, 3), (3, 1)]
PADDINGS = [0, (1, 2), ((0, 3), (3, 0)), "same"]
DILATIONS = [(1, 1), (2, 1), (1, 3)]


@both_dtypes
@pytest.mark.parametrize("kernel", KERNELS)
def test_images_against_the_loops(kernel, dtype):
    grid = itertools.product(STRIDES, PADDINGS, DILATIONS, [(1, 1), (2, 3)])
    for stride, padding, dilation, (n, c) in grid:
        if padding == 0 and dilation == (1, 3) and kernel == (1, 4):
            continue  # ten pixels wide: does not fit
        check(numbers((n, 5, 7, c), dtype), kernel, stride, padding, dilation)


@both_dtypes
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_signals_against_the_loops(kernel, dtype):
    for stride, padding, dilation, (n, c) in itertools.product(
        [1, 2, 4], [0, 2, [(0, 3)], "same"], [1, 2], [(1, 1), (2, 3)]
    ):
        check(numbers((n, 9, c), dtype), kernel, stride, padding, dilation)


@both_dtypes
@pytest.mark.parametrize("shape", [(0, 5, 4, 3), (0, 6, 2)])
def test_a_batch_of_none(shape, dtype):
    check(np.zeros(shape, dtype), 2, 2, 1)


@pytest.mark.parametrize(
    ("shape", "args"),
    [
        ((2, 1, 1, 3), (1,)),
        ((2, 1, 1, 3), (3, 1, 1)),
        ((1, 1, 1, 1), (2, 1, 5)),  # padding wider than the kernel
        ((1, 2, 3, 2), (2, 100)),  # a stride far past the end
        ((1, 2, 3, 2), (1, 1, 0, 100)),  # a dilation with no hole to widen
        ((1, 2, 2, 1), ((2, 1), 3, ((0, 7), (8, 0)), (5, 1))),  # windows that hold nothing but padding
        ((1, 2, 1), (2, 1, [(50, 0)], 40)),
    ],
)
def test_corners_against_the_loops(shape, args):
    check(numbers(shape), *args)


@st.composite
def geometries(draw):
    """An input and a window on it, whose axes have nothing in common."""
    rank = draw(st.sampled_from([1, 2]))
    sizes = st.tuples(*[st.integers(1, 8)] * rank)
    small = st.integers(0, 4)
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    shape = (n, *draw(sizes), c)
    padding = draw(st.one_of(st.sampled_from(["valid", "same"]), small, st.tuples(*[st.tuples(small, small)] * rank)))
    ints = st.tuples(*[st.integers(1, 4)] * rank)
    kernel, stride, dilation = draw(ints), draw(ints), draw(ints)
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding != "same":
        given = [padding] * rank if isinstance(padding, int | str) else padding
        pairs = [(0, 0) if p == "valid" else (p, p) if isinstance(p, int) else p for p in given]
        assume(all(r < size + sum(p) for r, size, p in zip(reach, shape[1:-1], pairs, strict=True)))
    return shape, kernel, stride, padding, dilation, draw(st.sampled_from(DTYPES))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(geometries())
def test_any_geometry_against_the_loops(geometry):
    shape, kernel, stride, padding, dilation, dtype = geometry
    check(numbers(shape, dtype), kernel, stride, padding, dilation)


# What may come in


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
        (np.bool_, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
    ],
)
def test_dtypes_are_kept_or_cast(given, computed):
    x = np.random.default_rng(0).integers(0, 2, (2, 4, 3, 2)).astype(given)
    assert len(np.unique(x)) == 2
    cols = cl.im2col(x, 2)
    assert cols.dtype == computed
    np.testing.assert_array_equal(cols, reference.im2col(x.astype(float), 2))
    dx = cl.col2im(cols.astype(given), x.shape, 2)
    assert dx.dtype == computed
    np.testing.assert_array_equal(dx, reference.col2im(cols, x.shape, 2))


@pytest.mark.parametrize("dtype", [complex, object, "U3", "S3", "M8[s]", "V4"])
def test_what_is_no_real_number_is_refused(dtype):
    with pytest.raises(TypeError, match=r"im2col needs real numbers \(bool, integers or floats\); got dtype"):
        cl.im2col(np.empty((1, 3, 3, 1), dtype), 2)
    with pytest.raises(TypeError, match=r"col2im needs real numbers \(bool, integers or floats\); got dtype"):
        cl.col2im(np.empty((4, 4), dtype), (1, 3, 3, 1), 2)


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    return raw


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "negative strides": lambda x: x[:, ::-1].copy()[:, ::-1],
    "negative strides on all axes": lambda x: x[tuple([slice(None, None, -1)] * x.ndim)].copy()[
        tuple([slice(None, None, -1)] * x.ndim)
    ],
    "every second pixel": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "read-only": read_only,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
    "a subclass": np.ma.MaskedArray,
    "lists": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@both_dtypes
def test_memory_layouts(layout, dtype):
    x = numbers((2, 5, 4, 3), dtype)
    c = numbers((2 * 12, 2 * 2 * 3), dtype, seed=1)
    np.testing.assert_array_equal(cl.im2col(LAYOUTS[layout](x), 2), reference.im2col(x, 2))
    np.testing.assert_array_equal(cl.col2im(LAYOUTS[layout](c), x.shape, 2), reference.col2im(c, x.shape, 2))


def test_broadcast_arrays():
    pixel = numbers((1, 1, 1, 3))
    x = np.broadcast_to(pixel, (2, 4, 5, 3))
    assert 0 in x.strides
    np.testing.assert_array_equal(cl.im2col(x, 2), reference.im2col(x.copy(), 2))
    c = np.broadcast_to(numbers((1, 12)), (2 * 12, 12))
    np.testing.assert_array_equal(cl.col2im(c, x.shape, 2), reference.col2im(c.copy(), x.shape, 2))


def test_memory_mapped_files(tmp_path):
    x = numbers((2, 5, 4, 3), np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    cols = cl.im2col(mapped, 2)
    np.testing.assert_array_equal(cols, reference.im2col(x, 2))
    assert type(cols) is np.ndarray


def test_nan_and_inf_are_moved_as_they_are():
    x = np.array([np.nan, np.inf, -np.inf, 0.0]).reshape(1, 4, 1)
    np.testing.assert_array_equal(cl.im2col(x, 2, padding=1), reference.im2col(x, 2, padding=1))
    cols = np.array([[1.0, np.inf], [-np.inf, np.nan], [2.0, 3.0]])
    np.testing.assert_array_equal(cl.col2im(cols, (1, 4, 1), 2).ravel(), [1.0, np.nan, np.nan, 3.0])


def test_results_are_new_arrays():
    x = numbers((1, 4, 1))
    first = cl.im2col(x, 1)
    first[...] = 0
    assert cl.im2col(x, 1).any()
    assert not np.shares_memory(first, x)
    cols = cl.im2col(x, 1)
    assert not np.shares_memory(cl.col2im(cols, x.shape, 1), cols)


# Errors


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"im2col needs an input with at least one axis besides the batch; got shape \(N,\)"),
        ((4,), r"im2col needs an input with at least one axis besides the batch; got shape \(N,\)"),
        ((3, 4), r"im2col needs images \(N, H, W, C\) or signals \(N, L, C\); got shape \(N, 4\)"),
        ((1, 2, 3, 4, 5), r"got shape \(N, 2, 3, 4, 5\)"),
        ((2, 0, 4, 1), "im2col needs at least one pixel and one channel"),
        ((2, 4, 4, 0), "im2col needs at least one pixel and one channel"),
        ((1, 1, 4, 1), "im2col: a 2x2 kernel does not fit in a 1x4 image padded by 0"),
        ((1, 1, 3), "im2col: a 2 kernel does not fit in a 1 signal padded by 0"),
    ],
)
def test_inputs_of_the_wrong_shape(shape, message):
    with pytest.raises(ValueError, match=message):
        cl.im2col(np.zeros(shape), 2)


def test_a_ragged_list_is_refused():
    with pytest.raises(ValueError, match="im2col needs an array of numbers; got list"):
        cl.im2col([[[1.0], [2.0]], [[3.0]]], 1)


@pytest.mark.parametrize(
    "options", [{"kernel": 2.0}, {"kernel": True}, {"stride": "2"}, {"dilation": None}, {"padding": 0.5}]
)
def test_options_of_the_wrong_type(options):
    (name,) = options
    with pytest.raises(TypeError, match=f"im2col: {name} must be an int; got"):
        cl.im2col(np.zeros((1, 4, 4, 1)), **({"kernel": 2} | options))
    with pytest.raises(TypeError, match=f"col2im: {name} must be an int; got"):
        cl.col2im(np.zeros((9, 4)), (1, 4, 4, 1), **({"kernel": 2} | options))


@pytest.mark.parametrize("shape", [(9, 5), (8, 4), (9,), (36,), (), (3, 3, 4), (0, 4), (9, 0)])
def test_columns_of_the_wrong_shape(shape):
    message = r"col2im: for input shape \(1, 4, 4, 1\) cols must have shape \(9, 4\); got shape"
    with pytest.raises(ValueError, match=message):
        cl.col2im(np.zeros(shape), (1, 4, 4, 1), 2)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((4, 4), ValueError, r"col2im needs images \(N, H, W, C\) or signals"),
        ((), ValueError, "col2im needs an input with at least one axis"),
        ((1, -4, 4, 1), ValueError, "col2im: a size must be 0 or more; got -4"),
        ((-1, 4, 4, 1), ValueError, "col2im: a size must be 0 or more; got -1"),
        ((1, 4.0, 4, 1), TypeError, r"col2im: a size must be an int; got 4\.0"),
        ((True, 4, 4, 1), TypeError, "col2im: a size must be an int; got True"),
        (16, TypeError, "col2im: a shape is a tuple of integers"),
    ],
)
def test_col2im_refuses_bad_input_shapes(shape, kind, message):
    with pytest.raises(kind, match=message):
        cl.col2im(np.zeros((9, 4)), shape, 2)


HUGE = [2**31 - 1, 2**31, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64 + 3]
ABSURD = {
    "kernel": lambda big: {"kernel": big},
    "kernel, same": lambda big: {"kernel": big, "padding": "same"},
    "kernel and padding": lambda big: {"kernel": big, "padding": big},
    "padding": lambda big: {"kernel": 2, "padding": big},
    "padding on one side": lambda big: {"kernel": 2, "padding": ((0, big), (big, 0))},
    "dilation": lambda big: {"kernel": 2, "dilation": big},
    "dilation and padding": lambda big: {"kernel": 2, "dilation": big, "padding": big},
}


@pytest.mark.parametrize("what", ABSURD)
@pytest.mark.parametrize("n", [0, 1])
def test_absurd_sizes_are_errors_before_anything_is_allocated(what, n):
    for big in HUGE:
        options = ABSURD[what](big)
        with pytest.raises(ValueError, match="im2col: "):
            cl.im2col(np.zeros((n, 4, 4, 1)), **options)
        with pytest.raises(ValueError, match="col2im: "):
            cl.col2im(np.zeros((n * 9, 4)), (n, 4, 4, 1), **options)


@pytest.mark.parametrize("big", HUGE)
def test_col2im_of_absurd_inputs_is_an_error(big):
    for shape in [(big, big, big, 1), (1, big, big, 1), (1, 4, 4, big), (big, 4, 4, 1)]:
        with pytest.raises(ValueError, match="col2im: "):
            cl.col2im(np.zeros((9, 4)), shape, 2)


@pytest.mark.parametrize("big", HUGE)
def test_huge_strides_and_dilations_do_not_wrap_around(big):
    x = numbers((1, 4, 3, 2))
    np.testing.assert_array_equal(cl.im2col(x, 2, stride=big), [x[0, :2, :2].ravel()])
    np.testing.assert_array_equal(cl.im2col(x, 1, dilation=big), x.reshape(12, 2))
    check(x, 2, big)
    check(x, 1, 2, 1, big)


def test_large_strides_and_paddings_that_mean_something_are_exact():
    x = numbers((1, 4, 1))
    far = 2**40
    cols = cl.im2col(x, 2, stride=far, padding=[(far, far)])
    np.testing.assert_array_equal(cols, [[0, 0], x[0, :2, 0], [0, 0]])
    np.testing.assert_array_equal(cl.col2im(cols, x.shape, 2, far, [(far, far)]).ravel(), [*x[0, :2, 0], 0, 0])
