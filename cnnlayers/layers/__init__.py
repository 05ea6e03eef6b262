"""The layers: one idea per file."""

from .activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .affine import Affine
from .base import Layer
from .concat import Concat
from .container import Residual, Sequential
from .conv import Conv
from .conv_transpose import ConvTranspose
from .dropout import Dropout, SpatialDropout
from .layer_norm import GroupNorm, LayerNorm
from .norm import BatchNorm, Normalize
from .pad import Pad
from .pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from .shape import Flatten, Reshape
from .upsample import Upsample

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
