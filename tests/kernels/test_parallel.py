"""Threads: the same bits on any number of them, after a fork, and for several callers at once."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnlayers as cl
from tests.kernels import cases
from tests.marks import both_dtypes, by_turns, every_level


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=os.getcwd(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_same_bits(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@every_level
@by_turns("name", cases.KERNELS)
def test_a_kernel_gives_the_same_bits_on_any_number_of_threads(name, dtype):
    results = {}
    for n in (1, 2, 3, 7):
        cl.set_num_threads(n)
        results[n] = cases.KERNELS[name](dtype)
    assert all(np.isfinite(array).all() for array in results[1])
    for n in (2, 3, 7):
        assert_same_bits(results[n], results[1])


@every_level
@both_dtypes
def test_training_gives_the_same_bits_on_any_number_of_threads(dtype):
    digests = set()
    for n in (1, 2, 3, 7):
        cl.set_num_threads(n)
        digests.add(cases.train(dtype))
    assert len(digests) == 1


@pytest.mark.parametrize("name", cases.KERNELS)
def test_a_kernel_may_be_the_first_on_its_thread(name):
    """What a kernel keeps per thread is not there yet."""
    cl.set_num_threads(1)
    results = []
    thread = threading.Thread(target=lambda: results.append(cases.KERNELS[name](np.float32)))
    thread.start()
    thread.join()
    assert_same_bits(results[0], cases.KERNELS[name](np.float32))


def test_threads_that_predict_with_one_net_get_the_right_answers():
    net = cases.net()
    inputs = [cases.batch(seed, n)[0] for seed, n in enumerate([1, 24, 3, 17, 8, 2])]
    expected = [net.predict(x) for x in inputs]
    cl.set_num_threads(2)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(net.predict, inputs * 10))
    assert_same_bits(answers, expected * 10)


def test_threads_that_train_nets_of_their_own_do_not_disturb_each_other():
    expected = cases.train()
    cl.set_num_threads(2)
    with ThreadPoolExecutor(3) as pool:
        digests = list(pool.map(lambda _: cases.train(), range(6)))
    assert set(digests) == {expected}


WAKING = """
import os, time
import cnnlayers as cl
from tests.kernels import cases

def restricted():
    return [t for t in os.listdir("/proc/self/task") if os.sched_getaffinity(int(t)) != os.sched_getaffinity(0)]

cl.set_num_threads(3)
digest = cases.train()
for _ in range(20):
    time.sleep(0.002)  # the workers sleep by now: they wake off this thread's processor
    assert cases.train() == digest
deadline = time.monotonic() + 10
while restricted() and time.monotonic() < deadline:
    time.sleep(0.01)
assert not restricted(), restricted()
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads have no set of processors on this system")
def test_workers_that_were_woken_may_run_on_all_their_processors_again():
    result = run(WAKING)
    assert result.returncode == 0, result.stderr


FORK = """
import os, sys
import cnnlayers as cl
from cnnlayers import _kernels
from tests.kernels import cases

_kernels.set_level(sys.argv[1])
cl.set_num_threads(3)
digest = cases.train()
child = os.fork()
if child == 0:
    grandchild = os.fork()
    right = cl.get_num_threads() == 1 and cases.train() == digest
    if grandchild:
        right = right and os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 7
    os._exit(7 if right else 1)
assert cases.train() == digest
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert cl.get_num_threads() == 3 and cases.train() == digest
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works_and_gives_the_same_bits(level):
    result = run(FORK, level)
    assert result.returncode == 0, result.stderr


# Subnormal numbers: slow, so kernels take and give zero for them, and nobody else notices.


@every_level
@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_flush_subnormal_numbers_to_zero(threads):
    cl.set_num_threads(threads)
    tiny, small = np.full((200, 64), 1e-40, np.float32), np.full((200, 64), 1e-25, np.float32)
    huge = np.full((64, 64), 1e25, np.float32)
    assert np.count_nonzero(tiny) == tiny.size
    dW = np.empty((64, 64), np.float32)
    cl.kernels.affine_weight_grad(small, small, dW)
    many = np.full(100_003, 1e-40, np.float32)
    for y in (
        cl.kernels.affine(tiny, huge, None),  # as operands
        cl.kernels.affine(small, np.full_like(huge, 1e-25), None),  # as results
        cl.kernels.affine_input_grad(tiny, huge),
        dW,
        cl.kernels.relu(many),  # in whole vectors and in the rest
        cl.kernels.add(many, many),
    ):
        assert np.count_nonzero(y) == 0


@by_turns("name", cases.KERNELS)
def test_the_caller_keeps_its_floating_point_mode(name, dtype):
    for threads in (1, 3):
        cl.set_num_threads(threads)
        cases.KERNELS[name](dtype)
        tiny = np.full(100, 1e-40, np.float32)
        assert np.count_nonzero(tiny * np.float32(1)) == 100
        assert np.float32(1e-20) * np.float32(1e-20) != 0
