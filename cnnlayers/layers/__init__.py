"""The layers: one idea per file."""

from .activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .affine import Affine
from .base import Layer
from .container import Residual, Sequential
from .conv import Conv
from .dropout import Dropout
from .norm import BatchNorm, Normalize
from .pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from .shape import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "Affine",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Layer",
    "LeakyReLU",
    "MaxPool",
    "Normalize",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
