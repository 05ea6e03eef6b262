"""Transposed convolution: what a convolution's backward pass does, as a forward pass."""

from math import prod, sqrt

from .. import initializers, kernels
from ..checks import as_flag, as_integer, as_padding, as_sizes
from ..geometry import cached_transposed_window
from .layer import Layer


class ConvTranspose(Layer):
    """y = xᵀ-convolution with W: the transpose, as a linear map, of the Conv that would give x from y.

    Forward     y[n, i s + kh, j s + kw] += x[n, i, j] W[kh, kw]ᵀ for all i, j, kh, kw;  y += b
    Backward    dL/dx = δ ⋆ W;  dL/dW[kh, kw] = sum over n, i, j of δ[n, i s + kh, j s + kw]ᵀ x[n, i, j]
                dL/db = sum of δ over all positions       (δ = dL/dy)

    Each pixel of x is spread over a patch of y, where Conv gathers a patch of x for each pixel of y. So its passes are
    those of Conv in other roles: forward is Conv's dL/dx, and dL/dx is Conv's forward.

    Shapes      x (N, H, W, C);  W (KH, KW, F / groups, C);  b (F,);  y (N, OH, OW, F)
                x (N, L, C);     W (K, F / groups, C);       b (F,);  y (N, OL, F)
                OH = (H - 1) stride - padding before and after + dilation (KH - 1) + 1 + output_padding
    Errors      ValueError if x is neither images nor signals, nothing of y is left, or groups do not divide C and F
    Source      M. D. Zeiler et al., "Deconvolutional Networks", 2010; UC Berkeley CS W182 discussion sheet, Problem 6
    Twin        reference.transposed.conv_transpose_backward

    Parameters
    ----------
    filters : int
        F, the number of output channels.
    kernel, stride, dilation : int or one int per spatial axis
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"
        What the Conv pads, and so what is cut off y here; "same" gives sizes times stride.
    output_padding : int or one int per spatial axis
        Make y so much larger, below the stride: several sizes of y give the same size of x.
    groups : int
        Split the channels: each group of filters reads its own C / groups channels.
    bias : bool
        Whether to add b.

    Examples
    --------
    >>> ConvTranspose(8, 3, stride=2, padding=1, output_padding=1).build((7, 7, 16), rng=0)
    (14, 14, 8)
    """

    resizable = True

    def __init__(self, filters, kernel, stride=1, padding=0, output_padding=0, dilation=1, groups=1, bias=True):
        self.filters = as_integer("ConvTranspose", "filters", filters, low=1)
        self.kernel = as_sizes("ConvTranspose", "kernel", kernel)
        self.stride = as_sizes("ConvTranspose", "stride", stride)
        self.padding = as_padding("ConvTranspose", padding)
        self.output_padding = as_sizes("ConvTranspose", "output_padding", output_padding, low=0)
        self.dilation = as_sizes("ConvTranspose", "dilation", dilation)
        self.groups = as_integer("ConvTranspose", "groups", groups, low=1)
        self.bias = as_flag("ConvTranspose", "bias", bias)
        self.title = f"ConvTranspose({filters}, {kernel})"

    def window(self, input_shape):
        """Where the kernel of the transposed Conv goes on the output: its positions are the pixels of the input."""
        options = (self.kernel, self.stride, self.padding, self.output_padding, self.dilation)
        return cached_transposed_window(tuple(input_shape), self.filters, *options, who=self.title)

    def allocate(self, input_shape):
        shape = (*self.window(input_shape).kernel, self.filters // self.groups, input_shape[-1])
        self.add_param("W", shape, self._initial_weights)
        if self.bias:
            self.add_param("b", (self.filters,))

    def _initial_weights(self, shape, rng, dtype):
        """He's normal values for the inputs that an output really has: every stride-th kernel element of C channels."""
        *kernel, filters, channels = shape
        W = initializers.he_normal((*kernel, channels // self.groups, filters * self.groups), rng, dtype)
        strides = [axis.stride for axis in self.window(self.input_shape).axes]
        seen = [max(1, k / s) / k for k, s in zip(kernel, strides, strict=True)]  # share of the kernel's elements
        return (W / dtype.type(sqrt(prod(seen)))).reshape(shape)

    def forward(self, x, train=True):
        self.keep(x)
        y = kernels.conv_input_grad(x, self.params["W"], self.window(x.shape[1:]))  # xᵀ-convolution with W
        if self.bias:
            kernels.add_bias(y, self.params["b"])  # + b
        return y

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        window = self.window(x.shape[1:])
        kernels.conv_weight_grad(dy, x, window, self.grad_of("W"))  # dL/dW = sum of δᵀ x
        if self.bias:
            kernels.column_sums(dy, self.grads["b"])  # dL/db = sum of δ
        return kernels.conv_forward(dy, self.params["W"], None, window) if input_grad else None  # δ ⋆ W

    def output_shape(self, input_shape):
        window = self.window(input_shape)
        if input_shape[-1] % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{self!r}: groups must divide channels and filters; got {input_shape[-1]} channels, "
                f"{self.filters} filters and {self.groups} groups"
            )
        return (*window.sizes, self.filters)

    def multiply_adds(self, input_shape):
        *sizes, channels = input_shape
        return prod(sizes) * prod(self.window(input_shape).kernel) * channels * (self.filters // self.groups)
