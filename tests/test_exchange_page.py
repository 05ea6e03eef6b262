"""The page about other programs: what its doctests leave out."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import onnx.reference
import pytest

import cnnlayers as cl

PAGE = (Path(__file__).parents[1] / "docs" / "exchange.md").read_text(encoding="utf-8")


class InferenceSession(onnx.reference.ReferenceEvaluator):
    """As much of ONNX Runtime as the page uses."""


HOW = ["by hand", "onnxruntime"] if importlib.util.find_spec("onnxruntime") else ["by hand"]


@pytest.mark.parametrize("how", HOW)
def test_train_here_and_run_there(how, tmp_path, monkeypatch):
    """With ONNX Runtime where it is installed, and with what stands for it."""
    monkeypatch.chdir(tmp_path)
    here, there = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(here.replace("rng=0).train", "rng=0, progress=False).train"), names)
    images, labels = cl.datasets.digits().test
    other = {"images": images}
    if how == "by hand":
        other["onnxruntime"] = type("onnxruntime", (), {"InferenceSession": InferenceSession})
        there = there.replace("import onnxruntime\n", "")
    exec(there, other)
    np.testing.assert_allclose(other["scores"], names["net"].predict(images), atol=1e-4)
    assert cl.accuracy(other["scores"], labels) > 0.8
