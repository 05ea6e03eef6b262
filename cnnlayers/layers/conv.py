"""Convolution: the same small affine map at every position."""

from math import prod

from .. import kernels
from ..checks import as_flag, as_integer, as_padding, as_sizes
from ..geometry import cached_window
from .layer import Layer


class Conv(Layer):
    """y = x ⋆ W + b: cross-correlation with F filters, which is Affine on patches.

    Forward     y[n, oh, ow] = sum over kh, kw of x[n, oh s + kh, ow s + kw] W[kh, kw] + b
    Backward    dL/dW[kh, kw] = sum over n, oh, ow of x[n, oh s + kh, ow s + kw]ᵀ δ[n, oh, ow]
                dL/db = sum of δ over n, oh, ow
                dL/dx[n, i, j] = sum of δ[n, oh, ow] W[kh, kw]ᵀ over all that read pixel (i, j)       (δ = dL/dy)

    As matrices, with cols = im2col(x):  y = cols W + b,  dL/dW = colsᵀ δ,  dL/dx = col2im(δ Wᵀ).

    Shapes      x (N, H, W, C);  W (KH, KW, C / groups, F);  b (F,);  y (N, OH, OW, F)
                x (N, L, C);     W (K, C / groups, F);       b (F,);  y (N, OL, F)
                OH = floor((H + padding before and after - dilation (KH - 1) - 1) / stride) + 1
    Errors      ValueError if x is neither images nor signals, the kernel does not fit, or groups do not divide C and F
    Source      UC Berkeley CS W182 discussion sheet, Problems 4, 5 and 6
    Twin        reference.conv.conv_backward

    Parameters
    ----------
    filters : int
        F, the number of output channels.
    kernel, stride, dilation : int or one int per spatial axis
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"
        "same" gives ceil(size / stride) positions; the odd pixel goes after.
    groups : int
        Split the channels: each group of filters reads its own C / groups channels.
    bias : bool
        Whether to add b.
    init : str or callable
        Initial W: a name from `cnnlayers.initializers` or a function (shape, rng, dtype) -> array. b starts at 0.
    algorithm : {"auto", "direct", "winograd", "im2col"}
        How the kernels compute it: "im2col" writes the patches down as a matrix, "direct" reads them where they lie,
        "winograd" does so with fewer multiplications (kernels of 3 or 5 a side, stride and dilation 1). "auto" is
        "direct", or in float32 "winograd" where it costs less; `cnnlayers.show_plan` tells which.

    Examples
    --------
    >>> Conv(10, 5, padding=2).build((32, 32, 3), rng=0)
    (32, 32, 10)
    """

    resizable = True

    def __init__(
        self, filters, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True, init="he_normal", algorithm="auto"
    ):
        self.filters = as_integer("Conv", "filters", filters, low=1)
        self.kernel = as_sizes("Conv", "kernel", kernel)
        self.stride = as_sizes("Conv", "stride", stride)
        self.padding = as_padding("Conv", padding)
        self.dilation = as_sizes("Conv", "dilation", dilation)
        self.groups = as_integer("Conv", "groups", groups, low=1)
        self.bias = as_flag("Conv", "bias", bias)
        self.init = init
        self.algorithm = algorithm
        self.title = f"Conv({filters}, {kernel})"
        if not isinstance(algorithm, str) or algorithm not in kernels.ALGORITHMS:
            raise ValueError(
                f"Conv: algorithm must be one of {', '.join(map(repr, kernels.ALGORITHMS))}; got {algorithm!r}"
            )

    def window(self, input_shape):
        """Where the kernel goes on an input of this shape."""
        return cached_window(tuple(input_shape), self.kernel, self.stride, self.padding, self.dilation, who=self.title)

    def allocate(self, input_shape):
        window = self.window(input_shape)
        self.add_param("W", (*window.kernel, window.channels // self.groups, self.filters), self.init)
        if self.bias:
            self.add_param("b", (self.filters,))

    def forward(self, x, train=True):
        self.keep(x)
        window = self.window(x.shape[1:])
        return kernels.conv_forward(x, self.params["W"], self.params.get("b"), window, self.algorithm)  # x ⋆ W + b

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        window = self.window(x.shape[1:])
        W, dW, db = self.params["W"], self.grad_of("W"), self.grad_of("b")
        kernels.conv_weight_grad(x, dy, window, dW, db, self.algorithm)  # dL/dW = colsᵀ δ, dL/db = sum of δ
        return kernels.conv_input_grad(dy, W, window, self.algorithm) if input_grad else None  # dL/dx = col2im(δ Wᵀ)

    def output_shape(self, input_shape):
        window = self.window(input_shape)
        if window.channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{self!r}: groups must divide channels and filters; got {window.channels} channels, "
                f"{self.filters} filters and {self.groups} groups"
            )
        if self.algorithm == "winograd" and (why := kernels.unsuited(window)):
            raise ValueError(
                f"{self!r}: Winograd's method needs a kernel of 3 or 5 a side, stride 1 and dilation 1; got {why}"
            )
        return (*window.out, self.filters)

    def multiply_adds(self, input_shape):
        window = self.window(input_shape)
        return prod(window.out) * prod(window.kernel) * window.channels // self.groups * self.filters
