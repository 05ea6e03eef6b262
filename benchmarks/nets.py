"""The nets that are trained and asked in the benchmarks.

Padding is written as a number, "same" nowhere: NumPy's and PyTorch's sides read it.
"""

from functools import partial
from typing import Any

import cnnlayers as cl

CIFAR = (32, 32, 3)


def lenet(**build: Any) -> cl.Sequential:
    return cl.models.lenet(**build)


def lenet20_50(**build: Any) -> cl.Sequential:
    """LeNet with the filters that it has in Caffe's example."""
    return cl.Sequential(
        [
            *(cl.Conv(20, 5), cl.ReLU(), cl.MaxPool(2)),
            *(cl.Conv(50, 5), cl.ReLU(), cl.MaxPool(2)),
            *(cl.Flatten(), cl.Affine(500), cl.ReLU(), cl.Affine(10)),
        ],
        **build,
    )


def cifar_quick(**build: Any) -> cl.Sequential:
    """The quick net of Caffe's example for CIFAR-10, all its pools of maxima over 2 x 2."""
    layers: list[cl.Layer] = []
    for filters in (32, 32, 64):
        layers += [cl.Conv(filters, 5, padding=2), cl.ReLU(), cl.MaxPool(2)]
    return cl.Sequential([*layers, cl.Flatten(), cl.Affine(64), cl.ReLU(), cl.Affine(10)], **build)


def course(units: int = 100, **build: Any) -> cl.Sequential:
    """The three-layer net of the course's homework: convolution, affine, affine."""
    return cl.Sequential(
        [
            *(cl.Conv(32, 7, padding=3), cl.ReLU(), cl.MaxPool(2)),
            *(cl.Flatten(), cl.Affine(units), cl.ReLU(), cl.Affine(10)),
        ],
        **build,
    )


def resnet8(**build: Any) -> cl.Sequential:
    return resnet(1, **build)


def resnet14(**build: Any) -> cl.Sequential:
    return resnet(2, **build)


def resnet20(**build: Any) -> cl.Sequential:
    return resnet(3, **build)


def resnet(blocks: int, **build: Any) -> cl.Sequential:
    """Three stages of so many residual blocks: 6 blocks + 2 layers. Source: K. He et al., 2015, section 4.2."""
    layers: list[cl.Layer] = [cl.Conv(16, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU()]
    for filters in (16, 32, 64):
        for block in range(blocks):
            stride = 2 if filters > 16 and block == 0 else 1
            layers += [cl.models.basic_block(filters, stride), cl.ReLU()]
    return cl.Sequential([*layers, cl.GlobalAvgPool(), cl.Affine(10)], **build)


def vgg(norm: bool = False, **build: Any) -> cl.Sequential:
    """Pairs of 3x3 convolutions with a maximum pool after each. Source: K. Simonyan, A. Zisserman, 2014."""
    layers: list[cl.Layer] = []
    for filters in (32, 64, 128):
        for _ in range(2):
            layers.append(cl.Conv(filters, 3, padding=1, bias=not norm))
            layers += [cl.BatchNorm(), cl.ReLU()] if norm else [cl.ReLU()]
        layers.append(cl.MaxPool(2))
    return cl.Sequential([*layers, cl.Flatten(), cl.Affine(10)], **build)


def vgg_bn(**build: Any) -> cl.Sequential:
    return vgg(norm=True, **build)


def separable(**build: Any) -> cl.Sequential:
    """Depthwise 3x3 and pointwise 1x1 convolutions in turn. Source: A. Howard et al., "MobileNets", 2017."""
    layers: list[cl.Layer] = [cl.Conv(32, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU()]
    channels = 32
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        depthwise = cl.Conv(channels, 3, stride=stride, padding=1, groups=channels, bias=False)
        layers += [depthwise, cl.BatchNorm(), cl.ReLU()]
        layers += [cl.Conv(filters, 1, bias=False), cl.BatchNorm(), cl.ReLU()]
        channels = filters
    return cl.Sequential([*layers, cl.GlobalAvgPool(), cl.Affine(10)], **build)


def signals(**build: Any) -> cl.Sequential:
    """Pairs of convolutions of signals with a maximum pool after each, as the VGG net has them of images."""
    layers: list[cl.Layer] = [cl.Conv(32, 5, padding=2), cl.ReLU(), cl.MaxPool(2)]
    for filters, kernel in ((64, 5), (128, 3), (128, 3)):
        for _ in range(2):
            layers += [cl.Conv(filters, kernel, padding=kernel // 2), cl.ReLU()]
        layers.append(cl.MaxPool(2))
    return cl.Sequential([*layers, cl.GlobalAvgPool(), cl.Affine(10)], **build)


# name: (how to build it, the shape of an image)
NETS = {
    "lenet": (lenet, (28, 28, 1)),
    "course": (course, CIFAR),
    "resnet8": (resnet8, CIFAR),
    "resnet20": (resnet20, CIFAR),
    "vgg": (vgg, CIFAR),
    "separable": (separable, CIFAR),
}
DEPLOYED = {  # in infer alone
    "lenet20-50": (lenet20_50, (28, 28, 1)),
    "cifar-quick": (cifar_quick, CIFAR),
    "resnet14": (resnet14, CIFAR),
    "vgg-bn": (vgg_bn, CIFAR),
}
SIGNALS = {"signals": (signals, (512, 2))}
SIZES = {  # in ranks alone: by the number of parameters
    "course-0.1M": (partial(course, 12), CIFAR),
    "course-1M": (partial(course, 122), CIFAR),
    "course-10M": (partial(course, 1220), CIFAR),
}
