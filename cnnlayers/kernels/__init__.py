"""What the layers compute with: one function for each thing, named for what it computes.

A layer calls these with checked arrays: C-contiguous, of its dtype, of shapes that fit. How a function computes its
result is decided here, never in a layer. Most come from `_kernels.pyx`, the checked door to the C files in `c/`, which
hold one idea each; `doors/` has the door in parts, by topic. The others are in the modules here.
"""

from .. import _kernels
from .._kernels import *  # noqa: F403
from .._kernels import NothingToCompute, Program, Value, cache_bytes, level
from . import recording
from .affine import affine, affine_input_grad, affine_weight_grad
from .channels import concatenate, split_channels
from .choice import PASSES, Choice, choose, choose_affine, unsuited
from .convolution import ALGORITHMS, PackedWeights, conv_forward, conv_input_grad, conv_weight_grad
from .orthogonal import orthogonalize
from .pooling import avg_pool, avg_pool_input_grad, max_pool, max_pool_input_grad
from .products import multiply, multiply_factor_grad
from .softmax import softmax

__all__ = [
    "ALGORITHMS",
    "PASSES",
    "Choice",
    "NothingToCompute",
    "PackedWeights",
    "Program",
    "Value",
    "affine",
    "affine_input_grad",
    "affine_weight_grad",
    "avg_pool",
    "avg_pool_input_grad",
    "cache_bytes",
    "choose",
    "choose_affine",
    "concatenate",
    "conv_forward",
    "conv_input_grad",
    "conv_weight_grad",
    "level",
    "max_pool",
    "max_pool_input_grad",
    "multiply",
    "multiply_factor_grad",
    "orthogonalize",
    "recording",
    "softmax",
    "split_channels",
    "unsuited",
]
__all__ += _kernels.__all__
