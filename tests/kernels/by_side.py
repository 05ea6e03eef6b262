"""Convolutions in Winograd's tiles of a side, or for side 0 by the plain kernel that suits."""

from cnnlayers.kernels import Choice, convolution
from cnnlayers.kernels.choice import choose_plain


def choice(which, window, W, x, side):
    return (
        Choice("winograd", "the test says so", side) if side else choose_plain(which, window, W.shape, len(x), x.dtype)
    )


def conv_forward(x, W, b, window, relu=False, side=0, plus=None):
    return convolution.forward_by(choice("forward", window, W, x, side), x, W, b, window, relu, None, plus)


def conv_input_grad(dy, W, window, side=0, plus=None, mask=None):
    return convolution.input_grad_by(choice("input_grad", window, W, dy, side), dy, W, window, plus, mask)


def conv_weight_grad(x, dy, window, dW, db=None, side=0):
    convolution.weight_grad_by(choice("weight_grad", window, dW, x, side), x, dy, window, dW, db)
