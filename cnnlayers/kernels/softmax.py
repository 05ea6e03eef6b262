"""Softmax, for the Softmax layer and `predict_proba`; a loss takes it together with its logarithm (`softmax_loss`)."""

import numpy as np


def softmax(z: np.ndarray) -> np.ndarray:
    """p_i = exp(z_i) / sum_j exp(z_j), along the last axis.

    The largest score is subtracted first, which changes nothing in p and keeps exp from overflowing. A row with NaN or
    +Inf in it gives NaN, without a warning; -Inf gives p = 0, as long as the row has a finite score. float64 stays
    float64 and float32 stays float32.

    Source: UC Berkeley CS W182 discussion sheet, Problem 1 (its definition).

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    z = np.asarray(z)
    if z.dtype.kind not in "biuf":
        raise TypeError(f"softmax needs real scores; got dtype {z.dtype}")
    if z.ndim == 0 or z.shape[-1] == 0:
        raise ValueError(f"softmax needs at least one score along the last axis; got shape {z.shape}")
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf is NaN, as documented; -max - max is -Inf: p = 0
        p = np.subtract(z, z.max(axis=-1, keepdims=True), dtype=np.result_type(z, np.float32))
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    return p
