"""Memory: blocks come back when their last array dies, and never before."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import _kernels, kernels, reference
from cnnlayers.geometry import window
from tests.kernels import cases
from tests.marks import by_turns

MEGABYTE = 1 << 20
SLACK = 64 * MEGABYTE
BYTE = np.dtype(np.uint8)


def address(array):
    return array.__array_interface__["data"][0]


def test_no_array_that_is_held_is_ever_overwritten():
    net, loss, optimizer = cases.net(), cl.SoftmaxLoss(), cl.SGD(0.05, momentum=0.9)
    held = []

    def hold(array):
        held.append((array, array.copy()))

    for i in range(5):
        x, target = cases.batch(i)
        before = x.copy()
        y, _, dy, dx = cases.step(net, loss, optimizer, x, target)
        np.testing.assert_array_equal(x, before)
        prediction = net.predict(x)
        dead = [kernel(np.float32) for kernel in cases.KERNELS.values()]  # uses memory and gives it back
        del dead
        for array in (y, dy, dx, prediction):
            hold(array)
        hold(net.predict(x)[::2, 1:])  # a view alone keeps its memory
        hold(net.forward(x).T)
        hold(net.backward(dy).reshape(-1)[5:])
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


@by_turns("name", cases.KERNELS)
def test_no_result_of_a_kernel_is_overwritten(name, dtype):
    kernel = cases.KERNELS[name]
    held = [kernel(dtype) for _ in range(3)]
    copies = [[array.copy() for array in results] for results in held]
    addresses = [address(array) for results in held for array in results]
    assert len(set(addresses)) == len(addresses)
    for other in cases.KERNELS.values():
        other(dtype)
    for results, before in zip(held, copies, strict=True):
        for array, copy in zip(results, before, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_memory_comes_back_when_the_last_view_dies():
    a = _kernels.empty((300, 700), np.dtype(np.float32))
    where, view = address(a), a[7:9, ::3]
    del a
    other = _kernels.empty((300, 700), np.dtype(np.float32))
    assert address(other) != where
    del view
    again = _kernels.empty((700, 300), np.dtype(np.float32))
    assert address(again) == where


def test_what_is_in_use_and_what_is_kept_is_counted():
    gc.collect()
    used, _ = _kernels.pool_bytes()
    a = _kernels.empty((1234567,), BYTE)
    assert _kernels.pool_bytes()[0] == used + 1234567
    kept = _kernels.pool_bytes()[1]
    del a
    assert _kernels.pool_bytes() == (used, kept + 1234567)


def test_what_is_kept_is_bounded():
    gc.collect()
    for _ in range(2):  # of rounds, which count
        cl.release_memory()
    most = _kernels.pool_bytes()[0]
    for megabytes in range(20, 40):
        block = _kernels.empty((megabytes * MEGABYTE,), BYTE)
        most = max(most, _kernels.pool_bytes()[0])
        del block
        assert _kernels.pool_bytes()[1] <= most + SLACK + megabytes * MEGABYTE
    for sizes in range(2):
        several = [_kernels.empty((MEGABYTE + 1000 * sizes + i,), BYTE) for i in range(200)]
        del several
    new = _kernels.empty((41 * MEGABYTE,), BYTE)
    assert _kernels.pool_bytes()[1] == 0
    del new


def test_small_blocks_between_steps_do_not_drive_out_the_large_ones_of_a_step():
    """An optimiser needs matrices, and the data their next batch, when nothing of a pass is in use."""
    cl.release_memory()
    totals = []
    for _ in range(4):
        step = [_kernels.empty((30 * MEGABYTE + i,), BYTE) for i in range(5)]
        del step
        for size in (20000, 300000):
            between = [_kernels.empty((size,), BYTE) for _ in range(3)]
            del between
        totals.append(sum(_kernels.pool_bytes()))
    assert totals[0] > 150 * MEGABYTE
    assert totals == totals[:1] * 4


def test_a_steady_training_takes_no_new_memory():
    net, loss, optimizer = cases.net(), cl.SoftmaxLoss(), cl.SGD(0.05)
    totals = []
    for _ in range(6):
        cases.step(net, loss, optimizer, *cases.batch(0))
        gc.collect()
        totals.append(sum(_kernels.pool_bytes()))
    assert len(set(totals[2:])) == 1


def run(requests, size=20000):
    """A loop that needs one small block at a time."""
    for _ in range(requests):
        _kernels.empty((size,), BYTE)


def test_blocks_that_go_unused_for_a_while_go_back():
    cl.release_memory()
    large = [_kernels.empty((n * MEGABYTE,), BYTE) for n in (7, 7, 50)]
    _, kept = _kernels.pool_bytes()
    del large
    run(100)
    assert _kernels.pool_bytes()[1] > kept + 64 * MEGABYTE  # not at once
    run(50000)  # a round is longer, the more blocks there are, as other tests may have left
    assert _kernels.pool_bytes()[1] == kept + 20000


def test_they_go_back_where_only_small_arrays_are_made_too():
    cl.release_memory()
    large = _kernels.empty((50 * MEGABYTE,), BYTE)
    del large
    run(50000, size=100)
    assert _kernels.pool_bytes()[1] == 0


def test_of_one_size_what_is_needed_stays():
    cl.release_memory()
    many = [_kernels.empty((MEGABYTE,), BYTE) for _ in range(20)]
    del many
    for _ in range(20000):
        few = [_kernels.empty((MEGABYTE,), BYTE) for _ in range(3)]
        del few
    assert _kernels.pool_bytes()[1] == 3 * MEGABYTE


def test_a_block_that_is_needed_now_and_then_stays():
    cl.release_memory()
    held = _kernels.empty((50 * MEGABYTE,), BYTE)
    where = address(held)
    del held
    for _ in range(50):
        run(200)
        held = _kernels.empty((50 * MEGABYTE,), BYTE)
        assert address(held) == where
        del held


def test_epochs_with_a_last_batch_and_a_validation_take_no_new_memory():
    net, loss, optimizer = cases.net(), cl.SoftmaxLoss(), cl.SGD(0.05)
    x, target = cases.batch(0)
    assert len(x) > 3
    cl.release_memory()
    totals = []
    for _ in range(8):
        for n in (len(x), len(x), 3):
            cases.step(net, loss, optimizer, x[:n], target[:n])
        net.predict(x[:2])
        gc.collect()
        totals.append(sum(_kernels.pool_bytes()))
    assert len(set(totals[2:])) == 1


def test_one_large_batch_does_not_stay():
    conv = cl.Conv(8, 3, padding="same")
    conv.build((16, 16, 3), rng=0)
    small, large = np.zeros((4, 16, 16, 3), np.float32), np.zeros((100, 192, 192, 3), np.float32)
    gc.collect()
    cl.release_memory()
    conv.predict(small)
    before = sum(_kernels.pool_bytes())
    conv.predict(large)
    assert sum(_kernels.pool_bytes()) > before + 100 * MEGABYTE
    for _ in range(5000):
        conv.predict(small)
    assert sum(_kernels.pool_bytes()) == before


@pytest.mark.parametrize("num_threads", [1, 3])
def test_release_memory_gives_all_back_and_says_how_much(num_threads):
    cl.set_num_threads(num_threads)
    net, loss, optimizer = cases.net(), cl.SoftmaxLoss(), cl.SGD(0.05)
    x, target = cases.batch(0)
    first = cases.step(net, loss, optimizer, x, target)[1]
    cases.step(net, loss, optimizer, x, target)
    gc.collect()
    used, kept = _kernels.pool_bytes()
    assert kept > 0
    assert cl.release_memory() > kept  # and scratch memory
    assert _kernels.pool_bytes() == (used, 0)
    assert cl.release_memory() == 0
    assert cases.step(cases.net(), loss, cl.SGD(0.05), x, target)[1] == first  # all goes on as before


def test_release_memory_while_other_threads_predict():
    net = cases.net()
    x, _ = cases.batch(0)
    expected, done = net.predict(x), threading.Event()

    def predict():
        while not done.is_set():
            np.testing.assert_array_equal(net.predict(x), expected)
        return True

    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(predict) for _ in range(3)]
        for _ in range(300):
            cl.release_memory()
        done.set()
        assert all(result.result() for result in results)


def test_scratch_memory_shrinks_when_less_of_it_is_needed():
    cl.set_num_threads(1)
    wide, narrow = np.zeros((4, 2_000_000), np.float32), np.zeros((4, 8), np.float32)
    sums = np.zeros(2_000_000, np.float32)
    cl.release_memory()
    _kernels.column_sums(wide, sums)
    for _ in range(9000):
        _kernels.column_sums(narrow, sums[:8])
    assert cl.release_memory() < MEGABYTE
    _kernels.column_sums(wide, sums)
    assert cl.release_memory() > 15 * MEGABYTE  # doubles


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.intp])
@pytest.mark.parametrize("shape", [(), (0,), (5, 0, 3), (1,), (16383,), (16384,), (16385,), (127, 129), (3, 5, 7, 331)])
def test_empty_of_every_size(shape, dtype):
    array = _kernels.empty(shape, np.dtype(dtype))
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert array.flags.writeable
    array[...] = 7
    assert (array == 7).all()
    if array.nbytes >= 16384:
        assert address(array) % 64 == 0


@pytest.mark.parametrize(
    ("shape", "error"),
    [((-1,), ValueError), ((-3, 9000), ValueError), ((2.5,), TypeError), ((2**62, 8), OverflowError)],
)
def test_empty_refuses_what_is_no_shape(shape, error):
    with pytest.raises(error):
        _kernels.empty(shape, np.dtype(np.float32))


def test_too_much_memory_is_an_error():
    with pytest.raises(MemoryError, match=r"no memory for an array of 140,737,488,355,328 bytes"):
        _kernels.empty((2**47,), BYTE)


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col"])
@pytest.mark.parametrize(
    ("small", "slide"),
    [  # the same taps meet the same pixels
        ((9, [(9, 9)], 1), (2**40, [(2**40, 2**40)], 1)),  # a stride over all of the padding
        ((1, [(7, 7)], 14), (1, [(2**30, 2**30)], 2**31)),  # holes as wide as the padding
    ],
)
def test_padding_far_larger_than_the_image_takes_no_memory(small, slide, algorithm):
    x, W = cases.draw((2, 5, 4), np.float64, 0), cases.draw((2, 2, 6), np.float64, 1)
    place, like = window((5, 4), 2, *slide), window((5, 4), 2, *small)
    assert place.out == like.out
    dy, dW = cases.draw((2, *place.out, 6), np.float64, 2), np.empty_like(W)
    y, dx = kernels.conv_forward(x, W, None, place, algorithm), kernels.conv_input_grad(dy, W, place, algorithm)
    kernels.conv_weight_grad(x, dy, place, dW, None, algorithm)
    expected_dx, expected_dW, _ = reference.conv_backward(x, W, dy, *small, groups=2)
    np.testing.assert_allclose(y, reference.conv_forward(x, W, None, *small, groups=2), atol=1e-12)
    np.testing.assert_allclose(dx, expected_dx, atol=1e-12)
    np.testing.assert_allclose(dW, expected_dW, atol=1e-12)
