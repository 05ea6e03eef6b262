"""What the layers compute with: one function for each thing, named for what it computes.

A layer calls these with checked arrays: C-contiguous, of its dtype, of shapes that fit. How a function computes its
result is decided behind its name, never in a layer. The C files beside this one hold the kernels, one idea per file;
`_kernels.pyx` is the checked door to them.
"""

from .._kernels import (
    adagrad,
    adam,
    add,
    affine,
    affine_input_grad,
    affine_weight_grad,
    batch_norm,
    batch_norm_apply,
    batch_norm_grad,
    column_sums,
    dropout,
    gather_rows,
    indices_fit,
    relu,
    relu_input_grad,
    rmsprop,
    sgd,
    softmax_loss,
)
from .convolution import ALGORITHMS, conv_forward, conv_input_grad, conv_weight_grad
from .pooling import avg_pool, avg_pool_input_grad, max_pool, max_pool_input_grad

__all__ = [
    "ALGORITHMS",
    "adagrad",
    "adam",
    "add",
    "affine",
    "affine_input_grad",
    "affine_weight_grad",
    "avg_pool",
    "avg_pool_input_grad",
    "batch_norm",
    "batch_norm_apply",
    "batch_norm_grad",
    "column_sums",
    "conv_forward",
    "conv_input_grad",
    "conv_weight_grad",
    "dropout",
    "gather_rows",
    "indices_fit",
    "max_pool",
    "max_pool_input_grad",
    "relu",
    "relu_input_grad",
    "rmsprop",
    "sgd",
    "softmax_loss",
]
