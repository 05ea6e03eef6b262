"""Softmax and its logarithm, as functions: for losses, the Softmax layer and `predict_proba`."""

import numpy as np

__all__ = ["log_softmax", "softmax"]


def softmax(z: np.ndarray) -> np.ndarray:
    """p_i = exp(z_i) / sum_j exp(z_j), along the last axis.

    The largest score is taken off first, which changes nothing in p and keeps exp from overflowing. A row with NaN or
    +Inf in it gives NaN, without a warning; -Inf gives p = 0, as long as the row has a finite score. float64 stays
    float64 and float32 stays float32.

    Source: UC Berkeley CS W182 discussion sheet, Problem 1 (its definition).

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    p = _shifted(z)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    return p


def log_softmax(z: np.ndarray) -> np.ndarray:
    """The logarithm of `softmax`: log p_i = z_i - log sum_j exp(z_j), along the last axis.

    Without overflow or log(0), and true to the last digits where p itself would round to 0 or 1.

    Examples
    --------
    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    log_p = _shifted(z)
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
    return log_p


def _shifted(z: np.ndarray) -> np.ndarray:
    """The scores less their maximum along the last axis, as a new floating-point array."""
    z = np.asarray(z)
    if z.dtype.kind not in "biuf":
        raise TypeError(f"softmax needs real scores; got dtype {z.dtype}")
    if z.ndim == 0 or z.shape[-1] == 0:
        raise ValueError(f"softmax needs at least one score along the last axis; got shape {z.shape}")
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf is NaN, as documented; -max - max is -Inf: p = 0
        return np.subtract(z, z.max(axis=-1, keepdims=True), dtype=np.result_type(z, np.float32))
