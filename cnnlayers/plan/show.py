"""What the kernels will do with a net: the algorithm of each convolution, in each pass, and why."""

from __future__ import annotations

from .. import kernels
from ..checks import as_integer
from ..layers import Conv, ConvTranspose, Layer
from ..layers.inference import InferenceNet

LABELS = {"forward": "forward", "input_grad": "dL/dx", "weight_grad": "dL/dW"}
TRANSPOSED = {"forward": "input_grad", "input_grad": "forward", "weight_grad": "weight_grad"}


def show_plan(net: Layer, batch_size: int = 128) -> None:
    """Print the algorithm that computes each pass of each convolution on a batch of this size, and why.

    A cost of 0.4 means two fifths of the plain kernel's (algorithm "direct"), by the model of `kernels/choice.py`.

    Parameters
    ----------
    net : Layer
        Built.
    batch_size : int
        The choice depends on it: with few samples, transforming the weights costs more than it saves. So a sample's
        results can differ in rounding between a large and a small batch.

    Raises
    ------
    RuntimeError
        If the net is not built.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Conv(6, 7), cl.ReLU(), cl.Conv(32, 3, stride=2)], input_shape=(32, 32, 3), rng=0)
    >>> show_plan(net, 64)
    layer           pass     algorithm  why
    -----------------------------------------------------------------------------
    0: Conv(6, 7)   forward  direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    0: Conv(6, 7)   dL/dx    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    0: Conv(6, 7)   dL/dW    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    2: Conv(32, 3)  forward  direct     a stride
    2: Conv(32, 3)  dL/dx    direct     a stride
    2: Conv(32, 3)  dL/dW    direct     a stride
    """
    print(plan(net, batch_size))


def plan(net: Layer, batch_size: int) -> str:
    """Give the table that `show_plan` prints."""
    n = as_integer("show_plan", "batch_size", batch_size, low=1)
    net._flat_array(0)  # an unbuilt net has no shapes
    rows = [("layer", "pass", "algorithm", "why")]
    for name, layer in net.walk():
        if isinstance(layer, (Conv, ConvTranspose)):
            label = f"{name}: {layer._title}" if name else layer._title
            for which in ("forward",) if isinstance(net, InferenceNet) else kernels.PASSES:
                choice = _choice(layer, which, n)
                rows.append((label, LABELS[which], choice.name, choice.why))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _choice(layer: Conv | ConvTranspose, which: str, n: int) -> kernels.Choice:
    window, shape = layer.window(layer.input_shape), layer.params["W"].shape
    if isinstance(layer, ConvTranspose):  # its forward pass is the input gradient of the Conv that it transposes
        return kernels.choose(TRANSPOSED[which], window, shape, n, layer.dtype)
    ready = layer._packed is not None
    return kernels.choose(which, window, shape, n, layer.dtype, layer.algorithm, ready)
