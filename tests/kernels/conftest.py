"""Every test of this folder runs on every instruction-set level that this processor has, and may set the threads."""

import pytest

import cnnlayers as cl
from cnnlayers import _kernels


@pytest.fixture(autouse=True, params=_kernels.levels())
def level(request):
    before = _kernels.level()
    _kernels.set_level(request.param)
    yield request.param
    _kernels.set_level(before)


@pytest.fixture(autouse=True)
def _same_number_afterwards():
    before = cl.get_num_threads()
    yield
    cl.set_num_threads(before)
