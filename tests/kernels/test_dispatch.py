"""The door to the kernels: it refuses what does not fit, and knows the levels."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import _kernels
from cnnlayers.geometry import window
from tests.kernels import cases
from tests.marks import both_dtypes

F = np.float32
PLACE = window((6, 6, 4), 3)
X, W, B = np.ones((2, 6, 6, 4), F), np.ones((3, 3, 4, 8), F), np.ones(8, F)
DY = np.ones((2, 4, 4, 8), F)
ROW, MATRIX, NUMBER = np.ones(4, F), np.ones((4, 8), F), np.array(1, F)
POOL = window((6, 6, 4), 2, 2)
WINNER = np.zeros((2, 3, 3, 4), np.uint8)
Y = np.ones((2, 3, 3, 4), F)
SHARE = np.ones((3, 3), F)
C = np.ones(4, F)
LABELS = np.array([3, 0, 1, 1])
PIXELS = np.ones(72, F)
LINES, LINE_WINNER = np.ones((12, 3, 4), F), np.zeros((12, 3, 4), np.intp)
ROWS, POSITIONS = np.ones((2, 4), F), np.zeros((2, 4), np.intp)

# Each kernel with arguments that fit, as a starting point.
CALLS = {
    "conv_forward": (X, W, B, PLACE),
    "conv_input_grad": (DY, W, PLACE, 0, X, X),
    "conv_weight_grad": (X, DY, PLACE, W.copy(), B.copy()),
    "affine": (MATRIX.T.copy(), MATRIX, B),
    "affine_input_grad": (np.ones((3, 8), F), MATRIX),
    "affine_weight_grad": (np.ones((3, 4), F), np.ones((3, 8), F), MATRIX.copy(), B.copy()),
    "max_pool": (X, POOL),
    "max_pool_input_grad": (Y, WINNER, POOL),
    "avg_pool": (X, POOL, SHARE),
    "avg_pool_input_grad": (Y, POOL, SHARE),
    "line_max_pool": (np.ones((12, 6, 4), F), POOL.axes[1]),
    "line_max_pool_input_grad": (LINES, LINE_WINNER, POOL.axes[1]),
    "line_sum_pool": (np.ones((12, 6, 4), F), POOL.axes[1]),
    "line_sum_pool_input_grad": (LINES, POOL.axes[1]),
    "relu": (X,),
    "relu_input_grad": (X, X),
    "finish_grad": (X, X, X),
    "add": (X, X),
    "multiply": (X, X),
    "leaky_relu": (X, 0.1),
    "leaky_relu_input_grad": (X, X, 0.1),
    "sigmoid": (X,),
    "sigmoid_input_grad": (X, X),
    "tanh": (X,),
    "tanh_input_grad": (X, X),
    "elu": (X, 1.0),
    "elu_input_grad": (X, X, 1.0),
    "gelu": (X,),
    "gelu_input_grad": (X, X, True),
    "silu": (X,),
    "silu_input_grad": (X, X),
    "global_avg_pool": (X,),
    "global_avg_pool_input_grad": (ROWS, X.shape),
    "global_max_pool": (X,),
    "global_max_pool_input_grad": (ROWS, POSITIONS, X.shape),
    "column_sums": (X, C.copy()),
    "batch_norm": (X, C, C, 1e-5),
    "batch_norm_apply": (X, C, C, C, C),
    "batch_norm_grad": (X, X, C, C, C, C.copy(), C.copy(), C),
    "move_average": (C.copy(), C, 0.9, 1.5),
    "add_bias": (X.copy(), C),
    "scale_channels": (X, ROWS),
    "group_norm": (X, 2, C, C, 1e-5),
    "group_norm_grad": (X, X, 2, C, ROWS, ROWS, C.copy(), C.copy(), C),
    "layer_norm": (X, C, C, 1e-5),
    "layer_norm_grad": (X, X, C, PIXELS, PIXELS, C.copy(), C.copy()),
    "sgd": (B.copy(), B, B.copy(), 0.1, 0.9, False, 0.0),
    "rmsprop": (B.copy(), B, B.copy(), 0.1, 0.9, 1e-8, 0.0),
    "adagrad": (B.copy(), B, B.copy(), 0.1, 1e-8, 0.0),
    "adam": (B.copy(), B, B.copy(), B.copy(), 0.1, (0.9, 0.99), 1e-8, 1, 0.0, False),
    "softmax_loss": (MATRIX, LABELS, 4.0, 0.1, np.ones(8)),
    "dropout": (X, 0.5, 1),
    "gather_rows": (MATRIX, LABELS, F),
    "indices_fit": (LABELS, 4),
    "place_images": (X, np.zeros((2, 7), np.int32), 0.0, 0.0, np.dtype(F)),
    "warp_images": (X, np.zeros((2, 6)), 0.0),
    "jitter_images": (X, np.ones((2, 2))),
    "blend_images": (X, np.array([1, 0]), np.ones(2), np.dtype(F)),
}
# Those that take some by name, without the names.
NAMED = {
    "batch_norm_grad": lambda *args: _kernels.batch_norm_grad(
        *args[:5], into=args[5:7], on_batch=True, relu_beta=args[7]
    ),
    "group_norm_grad": lambda *args: _kernels.group_norm_grad(*args[:6], into=args[6:8], relu_beta=args[8]),
    "layer_norm_grad": lambda *args: _kernels.layer_norm_grad(*args[:5], into=args[5:]),
}
# Arrays that may have any number of numbers: nothing else depends on it.
ANY_SIZE = {("relu", 0), ("dropout", 0), ("gather_rows", 0), ("gather_rows", 1), ("indices_fit", 0)}
ARRAYS = [(name, i) for name, args in CALLS.items() for i, arg in enumerate(args) if isinstance(arg, np.ndarray)]


def spoilt(array):
    """Arrays that must not pass in the place of this one, and None, a number and a string."""
    yield "another dtype", array.astype(np.int32)
    yield "the other precision", array.astype(F if array.dtype == np.float64 else np.float64)
    yield "complex", array.astype(np.complex64)
    yield "byte-swapped", array.astype(array.dtype.newbyteorder()) if array.itemsize > 1 else array.astype(bool).T
    yield "objects", array.astype(object)
    yield "one more", np.ones(array.size + 1, array.dtype)
    yield "one less", np.ones(array.size - 1, array.dtype)
    yield "none", np.ones(0, array.dtype)
    yield "a number", np.array(1, array.dtype)
    yield "strided", np.ones((2 * len(array), *array.shape[1:]), array.dtype)[::2]
    yield "broadcast", np.broadcast_to(np.ones(1, array.dtype), (*array.shape[:-1], 2 * array.shape[-1]))
    yield "a string", "abc"
    yield "an int", 3
    yield "a list", [1.0, 2.0]


def call(name, args):
    return NAMED.get(name, getattr(_kernels, name))(*args)


def test_the_calls_are_those_of_every_kernel_and_pass():
    not_compiled = {
        "ALGORITHMS",
        "PASSES",
        "Choice",
        "NothingToCompute",
        "PackedWeights",
        "Program",
        "Value",
        "cache_bytes",
        "choose",
        "choose_affine",
        "concatenate",
        "level",
        "multiply_factor_grad",
        "orthogonalize",
        "recording",
        "softmax",
        "split_channels",
        "unsuited",
    }
    assert set(CALLS) == set(cl.kernels.__all__) - not_compiled
    for name, args in CALLS.items():
        call(name, args)


@pytest.mark.parametrize(("name", "position"), ARRAYS)
def test_an_array_that_does_not_fit_is_an_error(name, position):
    # What the first array alone decides is right whatever it is.
    decides = {"none"} if position == 0 else set()
    if position == 0 and sum(getattr(arg, "dtype", None) == F for arg in CALLS[name]) == 1:
        decides |= {"the other precision"}
    if (name, position) in ANY_SIZE:
        decides |= {"none", "one more", "one less", "a number"}
    if len(CALLS[name]) == 1 or name in ("leaky_relu", "elu"):
        decides |= {"one more", "one less", "a number"}
    for what, wrong in spoilt(CALLS[name][position]):
        if what in decides or (what == "another dtype" and CALLS[name][position].dtype == wrong.dtype):
            continue
        args = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in CALLS[name]]
        args[position] = wrong
        with pytest.raises((TypeError, ValueError, AttributeError)):
            call(name, args)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam"])
def test_what_is_written_must_be_writable(name):
    for position in range(len(CALLS[name])):
        args = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in CALLS[name]]
        if position == 1 or not isinstance(args[position], np.ndarray):
            continue
        args[position].flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            call(name, args)


def test_the_message_says_what_was_needed_and_what_came():
    with pytest.raises(ValueError, match=r"W must hold 288 numbers of float64; got float32 \(3, 3, 4, 8\)"):
        _kernels.conv_forward(X.astype(np.float64), W, B, PLACE)
    with pytest.raises(ValueError, match=r"b must hold 8 numbers of float32; got float32 \(7,\)"):
        _kernels.conv_forward(X, W, np.ones(7, F), PLACE)
    with pytest.raises(TypeError, match="the kernels take float32 and float64; got int64"):
        _kernels.relu(np.ones(3, np.int64))
    with pytest.raises(ValueError, match="4 channels and 8 filters do not go in groups of 3 channels"):
        _kernels.conv_forward(X, np.ones((3, 3, 3, 8), F), B, PLACE)
    with pytest.raises(ValueError, match=r"winner must hold 72 numbers of uint8; got uint8 \(71,\)"):
        _kernels.max_pool_input_grad(Y, np.zeros(71, np.uint8), POOL)


def test_arrays_without_channels_are_refused():
    nothing, rows = np.ones(0, F), np.ones((3, 0), F)
    for name, args in [
        ("column_sums", (rows, nothing)),
        ("batch_norm", (rows, nothing, nothing, 1e-5)),
        ("batch_norm_apply", (rows, *[nothing] * 4)),
        ("batch_norm_grad", (rows, rows, *[nothing] * 6)),
    ]:
        with pytest.raises(ValueError, match=r"at least one channel; got shape \(3, 0\)"):
            call(name, args)


@pytest.mark.parametrize(("d", "m"), [(0, 4), (4, 0), (0, 0)])
def test_a_matrix_of_nothing_is_refused(d, m):
    x, dy, empty = np.ones((3, d), F), np.ones((3, m), F), np.ones((d, m), F)
    for name, args in [
        ("affine", (x, empty, None)),
        ("affine_input_grad", (dy, empty)),
        ("affine_weight_grad", (x, dy, empty)),
    ]:
        with pytest.raises(ValueError, match=f"a matrix of weights needs rows and columns; got {d}x{m}"):
            call(name, args)


def test_winners_that_no_max_pool_wrote_do_no_harm():
    """A byte can name an element outside the kernel, or one that lies in the padding."""
    rng = np.random.default_rng(0)
    for channels in (1, 3, 20):
        for slide in [(2, 2), (3, 2, 1), ((2, 3), (1, 2), ((1, 1), (2, 0)), (2, 1))]:
            place = window((9, 10, channels), *slide)
            dy = np.ones((2, *place.out, channels), F)
            winner = rng.integers(0, 256, dy.shape).astype(np.uint8)
            assert _kernels.max_pool_input_grad(dy, winner, place).shape == (2, 9, 10, channels)


def test_positions_that_no_pool_of_lines_wrote_do_no_harm():
    axis = window((10, 3), 300, 2, 150).axes[0]
    dy = np.ones((2, axis.out, 3), F)
    winner = np.random.default_rng(0).integers(-(2**62), 2**62, dy.shape)
    winner[0, :4] = [[-2, -1, 10], [11, 0, 9], [2, 2, 2], [2**62, -(2**62), 3]]
    dx = _kernels.line_max_pool_input_grad(dy, winner, axis)
    assert dx[0].sum() == 6
    assert not dx[1].any()


def test_a_window_too_large_for_a_byte_is_refused():
    place = window((20, 20, 1), 16)
    x, y = np.ones((1, 20, 20, 1), F), np.ones((1, 5, 5, 1), F)
    message = "a window of 16x16 has more than 255 elements"
    with pytest.raises(ValueError, match=message):
        _kernels.max_pool(x, place)
    with pytest.raises(ValueError, match=message):
        _kernels.max_pool_input_grad(y, np.zeros(y.shape, np.uint8), place)


# Levels


def run(script, **environment):
    """Run a script with only this said of levels."""
    clean = {name: value for name, value in os.environ.items() if name != "CNNLAYERS_ISA"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=clean | environment,
        cwd=os.getcwd(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SHOW = "import cnnlayers as cl; cl.show_config()"


def test_a_level_can_be_forced_and_is_shown(level):
    result = run(SHOW, CNNLAYERS_ISA=level)
    assert result.returncode == 0, result.stderr
    assert f"{level} (of {', '.join(_kernels.levels())})" in result.stdout
    assert "OpenMP:     not used\n" in result.stdout


@pytest.mark.parametrize("environment", [{}, {"CNNLAYERS_ISA": ""}])
def test_without_a_word_the_fastest_level_is_chosen(environment):
    result = run(SHOW, **environment)
    assert result.returncode == 0, result.stderr
    assert f"{_kernels.levels()[0]} (of " in result.stdout


def test_an_unknown_level_is_a_clear_error():
    result = run(SHOW, CNNLAYERS_ISA="mmx")
    assert result.returncode == 1
    levels = ", ".join(_kernels.levels())
    assert f"ImportError: CNNLAYERS_ISA='mmx': this processor and build have {levels}" in result.stderr
    with pytest.raises(ValueError, match=f"no kernels named 'mmx' for this processor; there are {levels}"):
        _kernels.set_level("mmx")


# By Intel's manual (volume 2, CPUID; volume 1, 13.1): FMA, OSXSAVE, AVX of leaf 1; AVX2 and AVX512F, DQ, BW, VL of
# leaf 7; and in XCR0 xmm, ymm, masks, the upper halves of zmm, and zmm16 to 31.
LEAF1 = {"FMA": 12, "OSXSAVE": 27, "AVX": 28}
AVX2, OF_AVX512 = 5, {"F": 16, "DQ": 17, "BW": 30, "VL": 31}
XMM_YMM, OF_ZMM = (1, 2), (5, 6, 7)
on_x86 = pytest.mark.skipif(_kernels.cpu_bits() == (0, 0, 0), reason="no x86 has these levels")


def bits(*places):
    return sum(1 << place for place in places)


def everything():
    leaf7 = bits(AVX2, *OF_AVX512.values())
    return bits(*LEAF1.values()), leaf7, bits(*XMM_YMM, *OF_ZMM)


@on_x86
def test_a_processor_with_all_of_it_runs_all_levels():
    assert _kernels.levels(everything()) == ["avx512", "avx2", "baseline"]
    assert _kernels.levels((0, 0, 0)) == ["baseline"]
    assert _kernels.levels(_kernels.cpu_bits()) == _kernels.levels()


@on_x86
@pytest.mark.parametrize(
    ("which", "place", "left"),
    [
        *((0, place, ["baseline"]) for place in LEAF1.values()),
        (1, AVX2, ["baseline"]),
        *((1, place, ["avx2", "baseline"]) for place in OF_AVX512.values()),
        *((2, place, ["baseline"]) for place in XMM_YMM),
        *((2, place, ["avx2", "baseline"]) for place in OF_ZMM),  # a system that keeps no zmm
    ],
)
def test_a_level_needs_each_of_its_bits(which, place, left):
    has = list(everything())
    has[which] -= bits(place)
    assert _kernels.levels(tuple(has)) == left


@on_x86
@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="Linux alone lists what a processor has")
def test_the_processor_is_read_as_the_system_reads_it():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next(line for line in file if line.startswith("flags")).split()
    has_avx2 = {"fma", "avx", "avx2"} <= set(flags)
    has_avx512 = has_avx2 and {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(flags)
    assert _kernels.levels() == ["avx512"] * has_avx512 + ["avx2"] * has_avx2 + ["baseline"]


def test_the_slowest_level_is_always_there(level):
    assert _kernels.levels()[-1] == "baseline"
    assert _kernels.level() == level


@both_dtypes
@pytest.mark.parametrize("name", cases.KERNELS)
def test_levels_agree(name, dtype):
    before, results = _kernels.level(), {}
    for level in _kernels.levels():
        _kernels.set_level(level)
        results[level] = cases.KERNELS[name](dtype)
    _kernels.set_level(before)
    tolerance = 1e-4 if dtype is np.float32 else 1e-12
    for result in results.values():
        for got, expected in zip(result, results["baseline"], strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))
