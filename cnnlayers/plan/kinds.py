"""The steps of the layers that do a neighbour's work in the same pass over memory: a kind for each type of layer.

Each runs the equations of its layer's file, with the ends that its kernel takes along: see `step` for what they mean.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..kernels import recording
from ..layers.affine import Affine
from ..layers.batch_norm import BatchNorm
from ..layers.conv import Conv
from ..layers.conv_transpose import ConvTranspose
from ..layers.group_norm import GroupNorm
from ..layers.instance_norm import InstanceNorm
from ..layers.layer import Layer
from ..layers.pool import MaxPool
from .step import Plain, Step


class ProductStep(Plain):
    """A product of x with weights, rectified: y is the mask of its ReLU, and x is all that backward needs."""

    takes_relu = True

    def forward(self, x, train, plus=None):
        y = self.predict(x, plus)
        self.mask = y if self.relu and plus is None else None
        self._keep(x)
        return y

    def _weights(self):
        """W, b and both packed, by a net for prediction; or None for what there is not."""
        params = self.layer.params
        return params["W"], params.get("b"), vars(self.layer).get("packed")


class ConvStep(ProductStep):
    """y = x ⋆ W + b (+ plus), rectified; dx takes the other gradient and the mask as it is written."""

    takes_sum = True

    def backward(self, dy, input_grad=True, plus=None, mask=None):
        (x,) = self._take()
        self.mask = None
        layer: Any = self.layer
        window = layer.window(x.shape[1:])
        kernels.conv_weight_grad(x, dy, window, layer.grad_of("W"), layer.grad_of("b"), layer.algorithm)
        if not input_grad:
            return None
        return kernels.conv_input_grad(dy, layer.params["W"], window, layer.algorithm, plus=plus, mask=mask)

    def predict(self, x, plus=None):
        return kernels.conv_forward(x, *self._numbers(x.shape[1:]), plus)

    def lower(self, program, x, plus=None):
        y = recording.conv_forward(program, x, *self._numbers(x.shape[1:]), plus)
        return super().lower(program, x, plus) if y is None else y

    def lower_with(self, program, x, following, plus=None):
        if type(following) is not ConvStep:
            return None
        between = self.layer.output_shape(x.shape[1:])
        return recording.two_convs(program, x, self._numbers(x.shape[1:]), following._numbers(between), plus)

    def _numbers(self, shape) -> tuple[Any, Any, Any, str, bool, Any]:
        layer: Any = self.layer
        W, b, packed = self._weights()
        return W, b, layer.window(shape), layer.algorithm, self.relu, packed


class ConvTransposeStep(ProductStep):
    """y = the transposed convolution of x with W, + b, rectified; backward is the layer's own."""

    def predict(self, x, plus=None):
        layer: Any = self.layer
        y = kernels.conv_input_grad(x, layer.params["W"], layer.window(x.shape[1:]))
        if layer.bias:
            kernels.add_bias(y, layer.params["b"], self.relu)
        return kernels.relu(y) if self.relu and not layer.bias else y

    def lower(self, program, x, plus=None):
        layer: Any = self.layer
        y = recording.conv_input_grad(program, x, layer.params["W"], layer.window(x.shape[1:]))
        if y is None:
            return super().lower(program, x, plus)
        if layer.bias:
            return program.add_bias(y, layer.params["b"], self.relu)
        return program.relu(y) if self.relu else y


class AffineStep(ProductStep):
    """y = x W + b, rectified; backward is the layer's own."""

    def predict(self, x, plus=None):
        W, b, packed = self._weights()
        return kernels.affine(x, W, b, self.relu, packed)

    def lower(self, program, x, plus=None):
        W, b, packed = self._weights()
        return recording.affine(program, x, W, b, self.relu, packed)


class MaxPoolStep(Plain):
    """The larger of 0 and the maximum of each window; where that is 0 there is no winner, so no gradient passes."""

    takes_relu = True

    def forward(self, x, train, plus=None):
        y, winner = kernels.max_pool(x, self._window(x), self.relu)
        self._keep(winner, x.shape[1:])
        return y

    def predict(self, x, plus=None):
        return kernels.max_pool(x, self._window(x), self.relu, named=False)[0]

    def lower(self, program, x, plus=None):
        y = recording.max_pool(program, x, self._window(x), self.relu)
        return super().lower(program, x, plus) if y is None else y

    def _window(self, x):
        layer: Any = self.layer
        return layer.window(x.shape[1:])


class BatchNormStep(Step):
    """y = gamma x̂ + beta (+ plus), rectified, or its GELU; backward computes again from x what goes in there.

    It keeps copies of gamma and beta, as that must be of this y whatever happens to the parameters until then.
    """

    takes_relu = takes_gelu = takes_sum = True

    def forward(self, x, train, plus=None):
        layer: Any = self.layer
        gamma, beta = layer.factors(), layer.params["beta"]
        on_batch = layer.learns_from(x, train)
        if on_batch:
            y, mean, var, scale = kernels.batch_norm(
                x, gamma, beta, layer.eps, relu=self.relu, plus=plus, gelu=self.gelu
            )
            layer.learn(mean, var, x.size // x.shape[-1])
        else:
            mean, scale = layer.running()
            y = kernels.batch_norm_apply(x, gamma, beta, mean, scale, relu=self.relu, plus=plus, gelu=self.gelu)
        self._keep(x, gamma.copy(), beta.copy(), mean, scale, on_batch, self.relu and plus is None)
        return y

    def _backward(self, dy, input_grad):
        layer: Any = self.layer
        x, gamma, beta, mean, scale, on_batch, relu = self._take()
        return kernels.batch_norm_grad(
            x,
            dy,
            gamma,
            mean,
            scale,
            into=layer.gradients_into(),
            on_batch=on_batch,
            input_grad=input_grad,
            relu_beta=beta if relu else None,
            gelu_beta=beta if self.gelu else None,
        )

    def predict(self, x, plus=None):
        layer: Any = self.layer
        mean, scale = layer.running()
        gamma, beta = layer.factors(), layer.params["beta"]
        return kernels.batch_norm_apply(x, gamma, beta, mean, scale, relu=self.relu, plus=plus, gelu=self.gelu)

    def lower(self, program, x, plus=None):
        layer: Any = self.layer
        gamma, beta = layer.factors(), layer.params["beta"]
        y = program.batch_norm_apply(x, gamma, beta, *layer.running(), self.relu, plus)
        return program.activation(y, "gelu") if self.gelu else y


class GroupNormStep(Step):
    """y = gamma x̂ + beta, rectified; backward computes the mask of its ReLU again, as that of BatchNorm does."""

    takes_relu = True

    def forward(self, x, train, plus=None):
        y, mean, scale = self._run(x)
        gamma, beta = self.layer.params["gamma"].copy(), self.layer.params["beta"].copy()
        self._keep(x, gamma, beta, mean, scale)
        return y

    def _backward(self, dy, input_grad):
        x, gamma, beta, mean, scale = self._take()
        layer: Any = self.layer
        into, relu_beta = (layer.grads["gamma"], layer.grads["beta"]), beta if self.relu else None
        return kernels.group_norm_grad(
            x, dy, layer.groups, gamma, mean, scale, into=into, input_grad=input_grad, relu_beta=relu_beta
        )

    def predict(self, x, plus=None):
        return self._run(x)[0]

    def lower(self, program, x, plus=None):
        layer: Any = self.layer
        return program.group_norm(x, layer.groups, layer.params["gamma"], layer.params["beta"], layer.eps, self.relu)

    def _run(self, x):
        layer: Any = self.layer
        gamma, beta = layer.params["gamma"], layer.params["beta"]
        return kernels.group_norm(x, layer.groups, gamma, beta, layer.eps, relu=self.relu)


# Which step runs a layer of exactly this type; any other layer of the package is `Plain`.
KINDS: dict[type[Layer], type[Step]] = {
    Conv: ConvStep,
    ConvTranspose: ConvTransposeStep,
    Affine: AffineStep,
    BatchNorm: BatchNormStep,
    GroupNorm: GroupNormStep,
    InstanceNorm: GroupNormStep,
    MaxPool: MaxPoolStep,
}
