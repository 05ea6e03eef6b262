"""A small zoo of networks: each a function that reads like the table in its paper."""

from typing import Any

from .layers import Affine, BatchNorm, Conv, Flatten, GlobalAvgPool, MaxPool, Normalize, ReLU, Residual, Sequential


def lenet(input_shape=(28, 28, 1), classes: int = 10, *, rng: Any = None, dtype: Any = "float32") -> Sequential:
    """LeNet in its modern form: two 5x5 convolutions, each with a 2x2 maximum pool, and two affine layers.

    Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998 (there with 6 and 16
    filters, average pools and sigmoids).

    >>> lenet(rng=0).flat_params.size
    80202
    """
    return Sequential(
        [
            *(Conv(16, 5), ReLU(), MaxPool(2)),
            *(Conv(32, 5), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(128), ReLU(), Affine(classes)),
        ],
        input_shape=input_shape,
        rng=rng,
        dtype=dtype,
    )


def digits_resnet(input_shape=(8, 8, 1), classes: int = 10, *, rng: Any = None, dtype: Any = "float32") -> Sequential:
    """Build a small residual net for the 8x8 digits: values 0 to 16, about 20,000 parameters.

    Source: the blocks are those of K. He et al., "Deep Residual Learning for Image Recognition", 2015.

    >>> digits_resnet(rng=0).output_shape((8, 8, 1))
    (10,)
    """
    return Sequential(
        [
            Normalize(mean=4.9, std=6.0),
            *(Conv(16, 3, padding="same", bias=False), BatchNorm(), ReLU()),
            *(basic_block(16), ReLU()),
            *(basic_block(32, stride=2), ReLU()),
            *(GlobalAvgPool(), Affine(classes)),
        ],
        input_shape=input_shape,
        rng=rng,
        dtype=dtype,
    )


def digits_cnn(input_shape=(8, 8, 1), classes: int = 10, *, rng: Any = None, dtype: Any = "float32") -> Sequential:
    """Build a plain convolutional net for the 8x8 digits: convolution, convolution, pool, twice affine.

    >>> digits_cnn(rng=0).output_shape((8, 8, 1))
    (10,)
    """
    return Sequential(
        [
            Normalize(mean=4.9, std=6.0),
            *(Conv(16, 3, padding="same"), ReLU()),
            *(Conv(32, 3, padding="same"), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(64), ReLU(), Affine(classes)),
        ],
        input_shape=input_shape,
        rng=rng,
        dtype=dtype,
    )


def linear(input_shape=(8, 8, 1), classes: int = 10, *, rng: Any = None, dtype: Any = "float32") -> Sequential:
    """Build multiclass logistic regression on the 8x8 digits' pixels.

    Source: UC Berkeley CS W182 discussion sheet, Problem 1.

    >>> linear(rng=0).flat_params.size
    650
    """
    layers = [Normalize(mean=4.9, std=6.0), Flatten(), Affine(classes)]
    return Sequential(layers, input_shape=input_shape, rng=rng, dtype=dtype)


def basic_block(filters: int, stride: int = 1) -> Residual:
    """Build the residual block of two 3x3 convolutions; with a stride, the shortcut is a 1x1 projection."""
    shortcut = [Conv(filters, 1, stride=stride, bias=False), BatchNorm()] if stride != 1 else None
    return Residual(
        [
            *(Conv(filters, 3, stride=stride, padding=1, bias=False), BatchNorm(), ReLU()),
            *(Conv(filters, 3, padding=1, bias=False), BatchNorm()),
        ],
        shortcut=shortcut,
    )
