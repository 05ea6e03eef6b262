"""Nets that PyTorch's exporter has written compute here what they compute there, backwards too."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.files.onnx.reading.net import read_model
from cnnlayers.files.onnx.reading.protobuf import loaded

torch = pytest.importorskip("torch")

from tests.files.torch_architectures import ARCHITECTURES  # noqa: E402  (it imports torch)
from tests.files.torch_nets import exported, random_net, settled  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own
OPSETS = (12, 13, 16, 17, 18, 20)


def close(found, expected, rounding=1e-9):
    """Whether two arrays agree within 1e-5 of the largest number, or `rounding`: some are sums that come to 0."""
    return found.shape == expected.shape and abs(found - expected).max() <= max(1e-5 * abs(expected).max(), rounding)


def agree(theirs, shape, path):
    """Assert that the net in a file is one of PyTorch's, forwards and backwards; it is given back."""
    read = read_model(*loaded(path), path)
    net, axes = read.net, (read.x, read.y)
    assert net.dtype == np.float64
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    y = theirs(x)
    r = torch.randn(y.shape, dtype=torch.float64)
    (y * r).sum().backward()
    our_x, dx = (a.detach().numpy().transpose(axes[0]) for a in (x, x.grad))
    our_y, dy = (a.detach().numpy().transpose(axes[1]) for a in (y, r))
    assert close(net.predict(our_x), our_y)
    assert close(net.astype("float32").predict(our_x), our_y, rounding=1e-5)

    net.forward(our_x, train=False)  # with the statistics that the file has
    assert close(net.backward(dy), dx)
    ours = {}
    for name, array in net.params.items():  # a parameter is known by its numbers, which lie in another order
        order = np.argsort(array, axis=None)
        ours[array.ravel()[order].tobytes()] = net.grads[name].ravel()[order]
    for name, parameter in theirs.named_parameters():
        array = parameter.detach().numpy().ravel()
        order = np.argsort(array)
        assert close(ours[array[order].tobytes()], parameter.grad.numpy().ravel()[order]), name
    return net, our_x


@pytest.mark.parametrize("seed", range(100))
def test_random_nets(seed, tmp_path):
    opset = OPSETS[seed % len(OPSETS)]
    for attempt in range(9):
        theirs, shape = random_net(seed + 1000 * attempt)
        try:
            exported(theirs, shape, tmp_path / "net.onnx", opset, dynamic=bool(seed % 2), fold=bool(seed % 3))
            break
        except torch.onnx.errors.OnnxExporterError:  # there are nets that PyTorch cannot write
            continue
    net, x = agree(theirs, shape, tmp_path / "net.onnx")
    assert cl.gradcheck(net, x[:2], train=False, samples=6, rng=seed, tol=1e-5).ok


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_well_known_nets(name, tmp_path):
    torch.manual_seed(0)
    theirs = settled(ARCHITECTURES[name]().double())
    exported(theirs, (3, 32, 40), tmp_path / "net.onnx", opset=17, dynamic=True)
    agree(theirs, (3, 32, 40), tmp_path / "net.onnx")
