"""Every test of this folder runs on every instruction-set level that this processor has."""

import pytest

from cnnlayers import _kernels


@pytest.fixture(autouse=True, params=_kernels.levels())
def level(request):
    before = _kernels.level()
    _kernels.set_level(request.param)
    yield request.param
    _kernels.set_level(before)
