"""First values of parameters: functions `(shape, rng, dtype) -> array`.

A weight's last axis counts its outputs and the others what each output sees: `(D, M)` for Affine,
`(KH, KW, C // groups, F)` or `(K, C // groups, F)` for Conv. So `fan_in = prod(shape[:-1])`, the number of inputs of
one output, and `fan_out = prod(shape[:-2]) * shape[-1]`, the number of outputs that one input reaches (with stride 1).
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from . import kernels
from ._im2col import im2col
from .arrays import as_array
from .checks import as_number

__all__ = [
    "dirac",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "names",
    "ones",
    "standard_normal",
    "torch_default",
    "whitening",
    "zeros",
]

Shape: TypeAlias = tuple[int, ...]
Initializer: TypeAlias = Callable[[Shape, np.random.Generator, Any], np.ndarray]


def he_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 2 / fan_in), untruncated: keeps the variance of activations through ReLU layers.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    fan_in, _ = _fans("he_normal", shape)
    return _normal(math.sqrt(2 / fan_in), shape, rng, dtype)


def he_uniform(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ U(-a, a) with a = sqrt(6 / fan_in): the variance of `he_normal`.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    fan_in, _ = _fans("he_uniform", shape)
    return _uniform(math.sqrt(6 / fan_in), shape, rng, dtype)


def glorot_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 2 / (fan_in + fan_out)), untruncated: for layers followed by tanh or nothing.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _fans("glorot_normal", shape)
    return _normal(math.sqrt(2 / (fan_in + fan_out)), shape, rng, dtype)


def glorot_uniform(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ U(-a, a) with a = sqrt(6 / (fan_in + fan_out)): the variance of `glorot_normal`.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _fans("glorot_uniform", shape)
    return _uniform(math.sqrt(6 / (fan_in + fan_out)), shape, rng, dtype)


def lecun_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 1 / fan_in), untruncated: keeps the variance through a linear layer.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    """
    fan_in, _ = _fans("lecun_normal", shape)
    return _normal(math.sqrt(1 / fan_in), shape, rng, dtype)


def standard_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 1): for a layer whose outputs a Scale brings down afterwards, so that it may take large steps."""
    _fans("standard_normal", shape)
    return _normal(1.0, shape, rng, dtype)


def torch_default(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ U(-a, a) with a = 1 / sqrt(fan_in): the distribution that PyTorch draws the weights of its layers from.

    Its Conv2d and Linear name it kaiming_uniform_ with a = sqrt(5). They draw their biases from the same interval; here
    these start at 0.
    """
    fan_in, _ = _fans("torch_default", shape)
    return _uniform(math.sqrt(1 / fan_in), shape, rng, dtype)


def dirac(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Filter f passes channel f on as it is; filters beyond the channels are drawn as `torch_default` draws them.

    W[..., f] is 1 at channel f of the kernel's centre, element k // 2 of each axis, and 0 elsewhere. So the first
    outputs of a Conv with padding="same" are its input (a kernel of even size shifts it by a pixel at most), those of
    an Affine too. Where there are more channels than filters, the last channels are left out. Channels are counted
    within a group, so this is for convolutions of one group.

    It is how nets start that keep what they see without a shortcut. PyTorch's `dirac_` leaves the other filters at 0,
    where two filters with the same inputs and outputs would learn the same.

    Source: Zagoruyko and Komodakis, "DiracNets", 2017; with drawn filters: Jordan, "94% on CIFAR-10 in 3.29 Seconds on
    a Single GPU", 2024.
    """
    _fans("dirac", shape)
    w = torch_default(shape, rng, dtype)
    passing = np.arange(min(shape[-2:]))
    w[..., passing] = 0
    w[tuple(k // 2 for k in shape[:-2])][passing, passing] = 1
    return w


MOST_IMAGES = 5000  # that `whitening` looks at


def whitening(images: Any, eps: float = 5e-4) -> Initializer:
    """Make an initializer for a first convolution from its images: what it gives is uncorrelated, of variance 1.

    With v_i and λ_i the eigenvectors and eigenvalues of the covariance of all patches of the kernel's size,

        W[..., i] = v_i / sqrt(λ_i + eps),  the largest λ_i first,  and then the same filters with the other sign

    The second half is there for the ReLU or GELU that follows, which would lose what is negative. So a kernel that sees
    D = KH KW C numbers has 2 D filters. They are commonly frozen, and the bias trains: `layer.freeze("W")`.

    Parameters
    ----------
    images : array (N, H, W, C) or (N, L, C)
        The training images as the convolution sees them. Those of a net that begins with a Normalize are
        `normalize.predict(images)`. Of more than 5,000 the first 5,000 are taken.
    eps : float
        Keeps directions in which patches hardly differ from being blown up. Above 0.

    Returns
    -------
    callable
        `(shape, rng, dtype) -> array`, which draws nothing from `rng`. It holds on to the images. A file of the net
        has the weights, and leaves out how they were made.

    Raises
    ------
    ValueError
        If there are no images, or numbers that are not finite; when the layer is built, if the kernel does not fit in
        the images, they have other channels, or the filters are not 2 D.

    Notes
    -----
    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, after an idea of D. Page. The patches' mean
    is subtracted here before their covariance is taken; of images normalised by channel it is 0 but for borders.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 8, 8, 3))
    >>> whitening(x)((2, 2, 3, 24), None, np.float32).shape
    (2, 2, 3, 24)
    """
    eps = as_number("whitening", "eps", eps, low=0, open_low=True)
    x = as_array(images[:MOST_IMAGES] if hasattr(images, "__getitem__") else images, "whitening")
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(f"whitening needs images (N, H, W, C) or signals (N, L, C), at least one; got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("whitening needs finite images; got NaN or infinity among them")

    def init(shape: Shape, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> np.ndarray:
        *kernel, channels, filters = shape
        size = math.prod(shape[:-1])
        if len(shape) != x.ndim or channels != x.shape[-1] or any(np.greater(kernel, x.shape[1:-1])):
            raise ValueError(f"whitening: filters of shape {tuple(shape)} do not fit the images, of shape {x.shape}")
        if filters != 2 * size:
            patch = " x ".join(map(str, shape[:-1]))
            raise ValueError(
                f"whitening gives {2 * size} filters, two for each of the {patch} numbers of a patch; got {filters}: "
                f"make it Conv({2 * size}, ...)"
            )
        values, vectors = np.linalg.eigh(_covariance(x, tuple(kernel)))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]  # the largest first
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(size)])  # an eigenvector's sign is a matter of chance
        half = vectors / np.sqrt(values + eps)
        return np.concatenate([half, -half], axis=1).reshape(shape).astype(dtype)

    init.__name__ = "whitening"
    return init


def _covariance(x: np.ndarray, kernel: Shape) -> np.ndarray:
    """The covariance of the patches of x, (D, D), in float64 and to the same bits on any number of threads."""
    shift = x.mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64)  # keeps the differences below from cancelling
    size, count = math.prod(kernel) * x.shape[-1], 0
    products, sums = np.zeros((size, size)), np.zeros(size)
    for start in range(0, len(x), 100):  # all patches at once would take KH KW times the memory of the images
        patches = im2col(x[start : start + 100] - shift, kernel)
        part, part_sums = np.empty_like(products), np.empty_like(sums)
        kernels.affine_weight_grad(patches, patches, part, part_sums)
        products, sums, count = products + part, sums + part_sums, count + len(patches)
    mean = sums / count
    covariance: np.ndarray = products / count - np.outer(mean, mean)
    return covariance


def zeros(shape: Shape, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> np.ndarray:
    """All zeros; draws nothing from `rng`."""
    return np.zeros(shape, dtype)


def ones(shape: Shape, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> np.ndarray:
    """All ones; draws nothing from `rng`."""
    return np.ones(shape, dtype)


_BY_NAME: dict[str, Initializer] = {
    f.__name__: f
    for f in (
        *(he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal),
        *(standard_normal, torch_default, dirac, zeros, ones),
    )
}


def names() -> tuple[str, ...]:
    """Give the names that `get` knows."""
    return tuple(_BY_NAME)


def get(init: str | Initializer, who: str = "") -> Initializer:
    """Give the function that `init` names; a callable `(shape, rng, dtype) -> array` comes back as it is.

    `who` is whose init it is, for the messages.

    Raises
    ------
    ValueError
        If no initializer has that name.
    TypeError
        If `init` is neither a name nor callable.

    Examples
    --------
    >>> get("he_normal")((3, 3, 16, 32), np.random.default_rng(0), np.float32).shape
    (3, 3, 16, 32)
    """
    what = f"{who}: init" if who else "init"
    if isinstance(init, str):
        if init not in _BY_NAME:
            raise ValueError(f"{what} must be one of {', '.join(_BY_NAME)}, or a callable; got {init!r}")
        return _BY_NAME[init]
    if not callable(init):
        raise TypeError(
            f"{what} must be one of {', '.join(_BY_NAME)}, or a callable (shape, rng, dtype) -> array; got {init!r}"
        )
    return init


def _fans(name: str, shape: Shape) -> tuple[int, int]:
    """Inputs of one output, and outputs that one input reaches."""
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{name} needs a weight of two or more axes, none of size 0; got shape {tuple(shape)}")
    return math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]


def _normal(std: float, shape: Shape, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    w: np.ndarray = rng.standard_normal(shape, dtype=dtype)
    w *= std
    return w


def _uniform(limit: float, shape: Shape, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    w: np.ndarray = rng.random(shape, dtype=dtype)  # in [0, 1)
    w *= 2 * limit
    w -= limit
    return w
