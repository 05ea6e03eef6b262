"""The layers: one idea per file."""

from .activation import ELU, GELU, LeakyReLU, Reciprocal, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .affine import Affine
from .batch_norm import BatchNorm
from .concat import Concat
from .conv import Conv
from .conv_transpose import ConvTranspose
from .dropout import Dropout, SpatialDropout
from .group_norm import GroupNorm
from .hard import Clip, HardSigmoid, HardSwish, ReLU6
from .instance_norm import InstanceNorm
from .layer import Layer
from .layer_norm import LayerNorm
from .multiply import Multiply
from .normalize import Normalize
from .pad import Pad
from .pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from .prelu import PReLU
from .residual import Residual
from .resize import Resize
from .scale import Scale
from .sequential import Sequential
from .shape import Flatten, Permute, Reshape
from .slice import Slice
from .upsample import Upsample

# Written out, since type checkers read it: `cl` has these names by `from .layers import *`.
__all__ = [
    "ELU",
    "GELU",
    "Affine",
    "AvgPool",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool",
    "Multiply",
    "Normalize",
    "PReLU",
    "Pad",
    "Permute",
    "ReLU",
    "ReLU6",
    "Reciprocal",
    "Reshape",
    "Residual",
    "Resize",
    "Scale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "SpatialDropout",
    "Tanh",
    "Upsample",
]
