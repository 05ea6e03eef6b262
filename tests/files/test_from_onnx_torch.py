"""Nets that PyTorch's exporter has written compute here what they compute there, backwards too."""

import numpy as np
import pytest

import cnnlayers as cl

torch = pytest.importorskip("torch")

from tests.files.torch_nets import Drawn  # noqa: E402  (it imports torch)

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own
OPSETS = (11, 13, 16, 17, 18, 20)


def export(net, shape, path, seed, preserve=False):
    """Write a net as a file: with open and with fixed batches, of several opsets, folded and not."""
    torch.onnx.export(
        net,
        torch.zeros(2, *shape, dtype=torch.float64),
        path,
        dynamo=False,
        opset_version=OPSETS[seed % len(OPSETS)],
        input_names=["x"],
        dynamic_axes={"x": {0: "N"}} if seed % 2 else None,
        do_constant_folding=bool(seed % 3),
        training=torch.onnx.TrainingMode.PRESERVE if preserve else torch.onnx.TrainingMode.EVAL,
    )


def close(found, expected, rounding=1e-11):
    """Whether two arrays agree within 1e-5 of the largest number, or `rounding`: some are sums that come to 0."""
    return found.shape == expected.shape and abs(found - expected).max() <= max(1e-5 * abs(expected).max(), rounding)


def channels_last(a):
    return np.ascontiguousarray(np.moveaxis(a.detach().numpy(), 1, -1))


@pytest.mark.parametrize("seed", range(100))
def test_random_nets(seed, tmp_path):
    drawn = Drawn(seed)
    export(drawn.net, drawn.shape, tmp_path / "net.onnx", seed, preserve=True)
    net = cl.from_onnx(tmp_path / "net.onnx")
    assert net.dtype == np.float64
    x = torch.randn(5, *drawn.shape, dtype=torch.float64, requires_grad=True)
    y = drawn.net(x)
    assert close(net.predict(channels_last(x)), channels_last(y))
    assert close(net.astype("float32").predict(channels_last(x)), channels_last(y), rounding=3e-5)

    # Backwards, with the statistics that the file has.
    r = torch.randn(y.shape, dtype=torch.float64)
    (y * r).sum().backward()
    net.forward(channels_last(x), train=False)
    dx = net.backward(channels_last(r))
    assert close(dx, channels_last(x.grad))
    ours = [np.sort(grad.ravel()) for grad in net.grads.values()]
    for name, parameter in drawn.net.named_parameters():
        theirs = np.sort(parameter.grad.numpy().ravel())
        assert any(close(grad, theirs) for grad in ours), name
    assert cl.gradcheck(net, channels_last(x)[:2], samples=6, rng=seed).ok
