"""Multiply: several branches read the same input; what they give is multiplied, number by number."""

from ..plan.join import alone, multiply_step, steps_of
from .branches import Branches


class Multiply(Branches):
    """y = f_1(x) f_2(x) ... f_k(x), number by number; an axis of size 1 is stretched to what the others have there.

    Forward     y = f_1(x) ... f_k(x)
    Backward    dL/dx = sum over i of (∂f_i/∂x)ᵀ δ_i,  δ_i = sum of δ times all f_j(x) but f_i(x)       (δ = dL/dy)
                over the axes along which f_i(x) was stretched

    So one branch can be a gate for another: squeeze-and-excitation multiplies a map (H, W, C) by one number for each
    channel, a branch that gives (1, 1, C). No gradient divides, so it is right where a factor is 0.

    Shapes      all branches give as many axes; along each they have the same size, which y has too, or 1
    Errors      ValueError if the branches' shapes do not go together
    Source      J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", 2017
    Twin        reference.products.multiply_backward

    Parameters
    ----------
    branches : iterable of Layer or of lists of layers
        A list becomes a Sequential; the empty one is the identity.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> gate = [cl.GlobalAvgPool(), cl.Affine(2), cl.ReLU(), cl.Affine(8), cl.Sigmoid(), cl.Reshape((1, 1, 8))]
    >>> cl.Multiply([[], gate]).build((5, 6, 8), rng=0)
    (5, 6, 8)
    """

    def _steps(self, notes):
        return [multiply_step(self, self.branches, notes, alone if self._has_own_pass else steps_of)]

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = self._outputs(shape)
        if len({len(out) for out in outs}) > 1 or any(len({*sizes} - {1}) > 1 for sizes in zip(*outs, strict=True)):
            given = ", ".join(map(str, outs))
            raise ValueError(
                "Multiply: the branches must give as many axes, along each of the same size or of size 1; "
                f"they map {shape} to {given}"
            )
        return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*outs, strict=True))
