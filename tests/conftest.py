"""What all tests share: the instruction-set levels, and the number of threads, which each test leaves as it was."""

import os
import signal

import pytest

import cnnlayers as cl
from cnnlayers import _kernels

# What a shell starts in the background ignores Ctrl-C, which some tests press.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where CNNLAYERS_ISA names a level, the kernels use it, and the tests that ask for levels run on this one alone.
LEVELS = [_kernels.level()] if os.environ.get("CNNLAYERS_ISA") else _kernels.levels()


@pytest.fixture(params=LEVELS)
def level(request):
    """Every level that this processor has: the test runs on each. What no vector computes does not ask for it."""
    before = _kernels.level()
    _kernels.set_level(request.param)
    yield request.param
    _kernels.set_level(before)


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards():
    before = cl.get_num_threads()
    yield
    cl.set_num_threads(before)
