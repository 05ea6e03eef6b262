"""The layers: one idea per file."""

from .activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .affine import Affine
from .batch_norm import BatchNorm
from .concat import Concat
from .conv import Conv
from .conv_transpose import ConvTranspose
from .dropout import Dropout, SpatialDropout
from .group_norm import GroupNorm
from .layer import Layer
from .layer_norm import LayerNorm
from .normalize import Normalize
from .pad import Pad
from .pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from .residual import Residual
from .sequential import Sequential
from .shape import Flatten, Reshape
from .upsample import Upsample

# Written out, since type checkers read it: `cl` has these names by `from .layers import *`.
__all__ = [
    "ELU",
    "GELU",
    "Affine",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool",
    "Normalize",
    "Pad",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SpatialDropout",
    "Tanh",
    "Upsample",
]
