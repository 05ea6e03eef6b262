"""Affine map: every output sees every input."""

from .. import kernels
from ..checks import as_flag, as_integer, with_batch
from .layer import Layer


class Affine(Layer):
    """y = x W + b.

    Forward     y = x W + b
    Backward    dL/dW = xᵀ δ,  dL/db = sum of δ over the batch,  dL/dx = δ Wᵀ       (δ = dL/dy)

    Shapes      x (N, D);  W (D, M);  b (M,);  y (N, M)
    Errors      ValueError if x is not (N, D)
    Source      UC Berkeley CS W182 discussion sheet, Problems 1 and 2 (which write one sample as a column: z = W x + b)
    Twin        reference.affine.affine_backward

    Parameters
    ----------
    units : int
        M, the number of outputs.
    bias : bool
        Whether to add b.
    init : str or callable
        Initial W: a name from `cnnlayers.initializers` or a function (shape, rng, dtype) -> array. b starts at 0.

    Examples
    --------
    >>> layer = Affine(10)
    >>> layer.build((400,), rng=0)
    (10,)
    """

    def __init__(self, units: int, bias: bool = True, init="he_normal"):
        self.units = as_integer("Affine", "units", units, low=1)
        self.bias = as_flag("Affine", "bias", bias)
        self.init = init

    def allocate(self, input_shape):
        (d,) = input_shape
        self.add_param("W", (d, self.units), self.init)
        if self.bias:
            self.add_param("b", (self.units,))

    def forward(self, x, train=True):
        self.keep(x)
        return kernels.affine(x, self.params["W"], self.params.get("b"))  # x W + b

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        kernels.affine_weight_grad(x, dy, self.grad_of("W"), self.grad_of("b"))  # dL/dW = xᵀ δ, dL/db = sum of δ
        return kernels.affine_input_grad(dy, self.params["W"]) if input_grad else None  # dL/dx = δ Wᵀ

    def output_shape(self, input_shape):
        if len(input_shape) != 1:
            raise ValueError(
                f"{self!r} needs rows (N, D); got shape {with_batch(input_shape)}: put Flatten() before it"
            )
        if input_shape[0] == 0:
            raise ValueError(f"{self!r} needs at least one input; got shape {with_batch(input_shape)}")
        return (self.units,)

    def multiply_adds(self, input_shape):
        return input_shape[0] * self.units
