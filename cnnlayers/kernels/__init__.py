"""What the layers compute with: one function for each thing, named for what it computes.

A layer calls these with checked arrays: C-contiguous, of its dtype, of shapes that fit. How a function computes its
result is decided behind its name, never in a layer.
"""

from .convolution import conv_forward, conv_input_grad, conv_weight_grad
from .matmul import affine, affine_input_grad, affine_weight_grad
from .pooling import avg_pool, avg_pool_input_grad, max_pool, max_pool_input_grad

__all__ = [
    "affine",
    "affine_input_grad",
    "affine_weight_grad",
    "avg_pool",
    "avg_pool_input_grad",
    "conv_forward",
    "conv_input_grad",
    "conv_weight_grad",
    "max_pool",
    "max_pool_input_grad",
]
