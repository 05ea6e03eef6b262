"""Inference: the scores of a batch, from a net whose running statistics are those of a training.

cnnlayers       `net.for_inference()`
PyTorch         traced and frozen
the others      runtimes that nets are deployed with, from the ONNX file of that net
"""

import tempfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

import cnnlayers as cl

from ..cases import Case
from ..nets import DEPLOYED, NETS
from ..sides import own, runtimes, torch_net
from .training import Problem

SIDES: dict[str, Callable[[Any], Any]] = {
    "cnnlayers": own.Infer,
    "torch:nchw": partial(torch_net.Infer, channels_last=False),
    "torch:channels_last": partial(torch_net.Infer, channels_last=True),
    "torch:frozen": partial(torch_net.Infer, channels_last=True, optimized=False),
    "torch:compile": partial(torch_net.Infer, channels_last=True, compiled=True),
    "onnxruntime": runtimes.OnnxRuntime,
    "openvino": runtimes.OpenVINO,
    "ncnn": runtimes.Ncnn,
}
BATCHES = (1, 16, 128)
SEEN = 16  # images in training: the same at every batch size, so that a net is the same too


class Trained(Problem):
    """A net that has seen a batch in training, so that its running statistics are not 0 and 1."""

    def __init__(self, name: str, batch: int) -> None:
        super().__init__(name, batch)
        self.net.forward(np.random.default_rng(1).random((SEEN, *self.net.input_shape), np.float32))

    @cached_property
    def onnx(self) -> bytes:
        """What `to_onnx` writes, with each BatchNorm folded into its convolution, as every runtime would."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "net.onnx")
            cl.to_onnx(self.net.for_inference(), path, layout="NCHW")
            return path.read_bytes()


def cases() -> list[Case]:
    """Give every net at every batch size. In float32 sides differ by 1e-6; bfloat16 would by 5e-3."""
    return [
        Case("infer", f"{name}-{batch}", "predict", partial(trained, name, batch), SIDES, tolerance=1e-4)
        for name in (*NETS, *DEPLOYED)
        for batch in BATCHES
    ]


def trained(name: str, batch: int, quick: bool = False) -> Trained:
    return Trained(name, min(batch, 3) if quick else batch)
