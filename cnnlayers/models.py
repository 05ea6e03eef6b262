"""A small zoo of networks: each a function that reads like the table in its paper.

All take the shape of one input, the number of classes, and what `Sequential` takes to build itself.
"""

from typing import Any

from .initializers import whitening
from .layers import (
    GELU,
    Affine,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Layer,
    MaxPool,
    Normalize,
    ReLU,
    Residual,
    Scale,
    Sequential,
)


def linear(input_shape=(8, 8, 1), classes: int = 10, **build: Any) -> Sequential:
    """Build multiclass logistic regression on the 8x8 digits' pixels.

    Source: UC Berkeley CS W182 discussion sheet, Problem 1.

    >>> linear(rng=0).flat_params.size
    650
    """
    return _net([_digits_scale(), Flatten(), Affine(classes)], input_shape, **build)


def lenet(input_shape=(28, 28, 1), classes: int = 10, **build: Any) -> Sequential:
    """LeNet in its modern form: two 5x5 convolutions, each with a 2x2 maximum pool, and two affine layers.

    Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998 (there with 6 and 16
    filters, average pools and sigmoids).

    >>> lenet(rng=0).flat_params.size
    80202
    """
    return _net(
        [
            *(Conv(16, 5), ReLU(), MaxPool(2)),
            *(Conv(32, 5), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(128), ReLU(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def three_layer(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build the three-layer net of the course: convolution with a pool, affine, affine.

    Source: the homework of UC Berkeley CS W182.

    >>> three_layer(rng=0).flat_params.size
    825046
    """
    return _net(
        [
            *(Conv(32, 7, padding=3), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(100), ReLU()),
            Affine(classes),
        ],
        input_shape,
        **build,
    )


def vgg(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build a small VGG: pairs of 3x3 convolutions, a maximum pool after each pair, twice as many filters in the next.

    Source: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014 (there
    from 64 filters on, for photographs of 224 x 224).

    >>> vgg(rng=0).flat_params.size
    307498
    """
    return _net(
        [
            *(Conv(32, 3, padding=1), ReLU(), Conv(32, 3, padding=1), ReLU(), MaxPool(2)),
            *(Conv(64, 3, padding=1), ReLU(), Conv(64, 3, padding=1), ReLU(), MaxPool(2)),
            *(Conv(128, 3, padding=1), ReLU(), Conv(128, 3, padding=1), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def resnet8(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build the residual net for CIFAR with one block in each stage: see `resnet`.

    >>> resnet8(rng=0).flat_params.size
    78042
    """
    return resnet(1, input_shape, classes, **build)


def resnet20(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build the residual net for CIFAR with three blocks in each stage: see `resnet`.

    >>> resnet20(rng=0).flat_params.size
    272474
    """
    return resnet(3, input_shape, classes, **build)


def resnet32(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build the residual net for CIFAR with five blocks in each stage: see `resnet`.

    >>> resnet32(rng=0).flat_params.size
    466906
    """
    return resnet(5, input_shape, classes, **build)


def resnet(blocks: int, input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build a residual net of 6 * blocks + 2 layers: three stages of `blocks` blocks, with 16, 32 and 64 filters.

    Source: K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2 (there the shortcut of a
    block that halves the image pads channels with zeros; here it is a 1x1 projection, as in the same paper's option B).
    """
    stages = [(16, 1), (32, 2), (64, 2)]  # filters, stride of the first block
    return _net(
        [
            *(Conv(16, 3, padding=1, bias=False), BatchNorm(), ReLU()),
            *(layer for filters, stride in stages for layer in _stage(blocks, filters, stride)),
            *(GlobalAvgPool(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def mobilenet(input_shape=(32, 32, 3), classes: int = 10, **build: Any) -> Sequential:
    """Build a MobileNet for CIFAR: 3x3 convolutions by channel and 1x1 convolutions across them, in turn.

    Source: A. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    2017: of its Table 1 the first convolution, with stride 1 as the images are small, and the next five pairs.

    >>> mobilenet(rng=0).flat_params.size
    136778
    """
    return _net(
        [
            *(Conv(32, 3, padding=1, bias=False), BatchNorm(), ReLU()),
            *_separable(32, 64),
            *_separable(64, 128, stride=2),
            *_separable(128, 128),
            *_separable(128, 256, stride=2),
            *_separable(256, 256),
            *(GlobalAvgPool(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def speedrun(input_shape=(32, 32, 3), classes: int = 10, images: Any = None, **build: Any) -> Sequential:
    """Build the net of the fastest known trainings on CIFAR-10: three groups of two 3x3 convolutions, no shortcuts.

    `images` are training images as the net sees them, normalised: their whitening is the first convolution, whose
    weights are frozen; its bias trains. Without images its weights are drawn, and train too. The scores are divided by
    the number of filters that they come from, so that the last layer may take large steps.

    Source: K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024 (arXiv 2404.00498), as in the code that
    goes with it, whose rates are for sums of losses, `SoftmaxLoss(reduction="sum")`. There the first convolution is not
    padded, and maps have sizes of 31, 15, 7 and 3; those of 32, 16, 8 and 4 take no longer here, as the kernels compute
    tiles of 4 x 4.

    >>> speedrun(rng=0).flat_params.size
    1971640
    """
    filters = 2 * 2 * 2 * input_shape[-1]  # two for each number of a patch
    first = Conv(filters, 2, padding="same", init="he_normal" if images is None else whitening(images))
    if images is not None:
        first.freeze("W")
    return _net(
        [
            *(first, GELU()),
            *_speedrun_group(64),
            *_speedrun_group(256),
            *_speedrun_group(256),
            *(GlobalMaxPool(), Affine(classes, bias=False, init="standard_normal"), Scale(1 / 256)),
        ],
        input_shape,
        **build,
    )


def conv1d_classifier(input_shape=(128, 1), classes: int = 10, **build: Any) -> Sequential:
    """Build the fully convolutional net for signals: three convolutions, a mean over all times, affine.

    Source: Z. Wang, W. Yan, T. Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong
    Baseline", 2017.

    >>> conv1d_classifier(rng=0).flat_params.size
    265994
    """
    return _net(
        [
            *(Conv(128, 8, padding="same"), BatchNorm(), ReLU()),
            *(Conv(256, 5, padding="same"), BatchNorm(), ReLU()),
            *(Conv(128, 3, padding="same"), BatchNorm(), ReLU()),
            *(GlobalAvgPool(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def digits_cnn(input_shape=(8, 8, 1), classes: int = 10, **build: Any) -> Sequential:
    """Build a plain convolutional net for the 8x8 digits: convolution, convolution, pool, twice affine.

    >>> digits_cnn(rng=0).output_shape((8, 8, 1))
    (10,)
    """
    return _net(
        [
            _digits_scale(),
            *(Conv(16, 3, padding="same"), ReLU()),
            *(Conv(32, 3, padding="same"), ReLU(), MaxPool(2)),
            *(Flatten(), Affine(64), ReLU(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


def digits_resnet(input_shape=(8, 8, 1), classes: int = 10, **build: Any) -> Sequential:
    """Build a small residual net for the 8x8 digits: values 0 to 16, about 20,000 parameters.

    Source: the blocks are those of K. He et al., "Deep Residual Learning for Image Recognition", 2015.

    >>> digits_resnet(rng=0).output_shape((8, 8, 1))
    (10,)
    """
    return _net(
        [
            _digits_scale(),
            *(Conv(16, 3, padding="same", bias=False), BatchNorm(), ReLU()),
            *(basic_block(16), ReLU()),
            *(basic_block(32, stride=2), ReLU()),
            *(GlobalAvgPool(), Affine(classes)),
        ],
        input_shape,
        **build,
    )


# Parts


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


def _stage(blocks: int, filters: int, stride: int) -> list[Layer]:
    """Blocks one after the other, the first with the stride."""
    strides = [stride, *[1] * (blocks - 1)]
    return [layer for s in strides for layer in (basic_block(filters, s), ReLU())]


def _speedrun_group(filters: int) -> list[Layer]:
    """Two convolutions that begin by passing on what they see; the image is halved between the first and its norm."""
    return [
        *(Conv(filters, 3, padding=1, bias=False, init="dirac"), MaxPool(2), _speedrun_norm(), GELU()),
        *(Conv(filters, 3, padding=1, bias=False, init="dirac"), _speedrun_norm(), GELU()),
    ]


def _speedrun_norm() -> BatchNorm:
    """A norm with a bias alone, whose running statistics are those of the last few batches."""
    return BatchNorm(momentum=0.6, eps=1e-12, scale=False)


def _separable(channels: int, filters: int, stride: int = 1) -> list[Layer]:
    """A 3x3 convolution of each channel, and a 1x1 convolution across them."""
    return [
        *(Conv(channels, 3, stride=stride, padding=1, groups=channels, bias=False), BatchNorm(), ReLU()),
        *(Conv(filters, 1, bias=False), BatchNorm(), ReLU()),
    ]


def _digits_scale() -> Normalize:
    """Mean 0 and variance 1, over the pixels of the 8x8 digits' training part."""
    return Normalize(mean=4.9, std=6.0)


def _net(layers: list[Layer], input_shape, *, rng: Any = None, dtype: Any = "float32") -> Sequential:
    return Sequential(layers, input_shape=input_shape, rng=rng, dtype=dtype)
