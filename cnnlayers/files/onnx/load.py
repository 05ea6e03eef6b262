"""An ONNX file as a net: the door to `reading`, which is imported when it is first needed."""

from __future__ import annotations

import os

from ...layers.sequential import Sequential


def from_onnx(path: str | os.PathLike, input_shape: tuple[int, ...] | None = None) -> Sequential:
    """Make a net of the layers here of an ONNX file; it can be trained on, saved, and exported again.

    Images come in and maps go out with their channels last, (N, H, W, C), as everywhere here, also where the file has
    them first; signals likewise. Batches may have any size, also where the file fixes one. A BatchNormalization goes on
    with the running statistics that the file has. Constants by which the input is shifted and scaled become a
    Normalize, arithmetic with single numbers further on a Scale that is frozen; what else has numbers is trained.

    Ways that part and meet again become Residual, Concat and Multiply, nested as they are in the graph; the inputs of
    sums and of concatenations are grouped where that puts what some of them share into one branch. Chains of nodes that
    write out GELU, SiLU, HardSwish or a norm become that layer.

    Parameters
    ----------
    path : str or path
        The file may be of anybody: nothing in it is run. Arrays in files of their own must be in its folder.
    input_shape : tuple of int, optional
        Shape of a sample as the net is to take it, (H, W, C): needed where the file leaves sizes open.

    Returns
    -------
    Sequential
        Built, of the dtype of the file's output; `net.classes` as the file's metadata name them, if it is one of
        `to_onnx`.

    Raises
    ------
    ValueError
        If the file holds what no layer here computes: the error lists every node that stands in the way.
    DataError
        If it is no ONNX file, or damaged.
    ImportError
        If onnx is not installed.
    """
    from .reading.net import read_file

    return read_file(path, None if input_shape is None else tuple(input_shape))
