"""The orthogonal matrix next to a given one, nearly: by the products of the affine map, so to the same bits always."""

import math

import numpy as np

from .affine import affine, affine_input_grad, affine_weight_grad

COEFFICIENTS = 3.4445, -4.775, 2.0315  # of x -> a x + b x³ + c x⁵: takes 0 < x <= 1 to 0.7 .. 1.2 in a few steps
TOGETHER = 5  # steps that are taken in the small matrices


def orthogonalize(d: np.ndarray, steps: int) -> np.ndarray:
    """Give about U Vᵀ, where d = U S Vᵀ (rows, columns): Newton and Schulz's iteration.

    X = d / |d|, then X = X P, P = a I + b A + c A², A = XᵀX, `steps` times. A and P are polynomials of the same matrix,
    so the next A is P A P: only the first A and the last X take products with all rows. But each time the rounding
    errors of what should be small in A grow by a², so A is formed of X anew after five. Where d is wide, the small
    matrices stand on the left, A = X Xᵀ.

    Source: the coefficients are those of K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks",
    2024.
    """
    x = d / d.dtype.type(norm(d) + 1e-7)
    tall = x.shape[0] >= x.shape[1]
    for done in range(0, steps, TOGETHER):
        gram = _gram(x) if tall else affine_input_grad(x, x)  # XᵀX, X Xᵀ
        product = p = _polynomial(gram)
        for _ in range(min(TOGETHER, steps - done) - 1):
            gram = affine(affine(p, gram, None), p, None)
            p = _polynomial(gram)
            product = affine(product, p, None)
        x = affine(x, product, None) if tall else affine(product, x, None)
    return x


def norm(a: np.ndarray) -> float:
    """Give the Euclidean norm |a|, in float64; not by BLAS, whose sums may depend on the threads."""
    return math.sqrt(np.square(a, dtype=np.float64).sum())


def _gram(x: np.ndarray) -> np.ndarray:
    """XᵀX."""
    a = np.empty((x.shape[1], x.shape[1]), x.dtype)
    affine_weight_grad(x, x, a)
    return a


def _polynomial(gram: np.ndarray) -> np.ndarray:
    """P = a I + b A + c A²."""
    a, b, c = COEFFICIENTS
    p: np.ndarray = b * gram + c * affine(gram, gram, None)
    p.flat[:: len(p) + 1] += a
    return p
