"""How the tests of ONNX files run them, and nets drawn at random."""

import importlib.util

import numpy as np
import onnx
import onnx.reference

import cnnlayers as cl
from cnnlayers.files.onnx.agreement import mended

RUNTIME = importlib.util.find_spec("onnxruntime") is not None


def run(path, x, layout="NHWC"):
    """What a file gives for x, both with channels last: by ONNX's evaluator."""
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load(path), new_ops=mended())
    with np.errstate(all="ignore"):
        (y,) = evaluator.run(["y"], {"x": x if layout == "NHWC" else np.moveaxis(x, -1, 1)})
    return y if layout == "NHWC" else np.moveaxis(y, 1, -1)


def run_in_runtime(path, x, layout="NHWC"):
    """The same by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": x if layout == "NHWC" else np.moveaxis(x, -1, 1)})
    return y if layout == "NHWC" else np.moveaxis(y, 1, -1)


def agree(net, path, layout="NHWC"):
    """Assert that a file does as its net, on batches of several sizes."""
    for n in (1, 5):
        x = np.random.default_rng(n).standard_normal((n, *net.input_shape)).astype(net.dtype)
        expected = net.predict(x)
        found = [run(path, x, layout)]
        if RUNTIME and net.dtype == np.float32:  # it lacks most of float64
            found.append(run_in_runtime(path, x, layout))
        for y in found:
            assert y.dtype == expected.dtype
            assert y.shape == expected.shape
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * abs(expected).max(initial=1e-30))


def trained(net, seed=0):
    """Give a net other parameters and statistics than those that it began with."""
    rng = np.random.default_rng(seed)
    for name, array in {**net.params, **net.state}.items():
        if name.split(".")[-1] != "W":
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    return net


def operators(path):
    """The operators of a file, in their order."""
    return [node.op_type for node in onnx.load(path).graph.node]


def random_net(seed):
    """A net of layers drawn at random, on images or signals."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3))
    shape = (*map(int, rng.integers(5, 9, rank)), int(rng.integers(1, 4)))
    layers = [_drawn(rng, rank, 1) for _ in range(rng.integers(1, 6))]
    ends = [[], [cl.Flatten(), cl.Affine(4)], [cl.GlobalAvgPool(), cl.Affine(3), cl.Softmax()], [cl.GlobalMaxPool()]]
    layers += ends[rng.integers(len(ends))]
    dtype = ["float32", "float64"][rng.integers(2)]
    try:
        return trained(cl.Sequential(layers, shape, rng=seed, dtype=dtype), seed)
    except ValueError:  # a kernel that does not fit
        return random_net(seed + 1000)


def _drawn(rng, rank, depth):
    """One layer; `depth` levels of containers are allowed within."""

    def per_axis(low, high):
        return tuple(map(int, rng.integers(low, high + 1, rank)))

    def pads():
        return [(int(p), int(q)) for p, q in rng.integers(0, 3, (rank, 2))]

    def list_of(n):
        return [_drawn(rng, rank, depth - 1) for _ in range(n)]

    def same_size():
        return [cl.Conv(4, per_axis(1, 3), padding="same", dilation=per_axis(1, 2)), _drawn_activation(rng)]

    kinds = [
        lambda: cl.Conv(4, per_axis(1, 3), per_axis(1, 2), pads(), per_axis(1, 2), bias=bool(rng.integers(2))),
        lambda: cl.ConvTranspose(4, per_axis(1, 3), per_axis(1, 2), padding="same"),
        lambda: cl.MaxPool(per_axis(2, 3), per_axis(1, 2), padding=per_axis(0, 1), ceil_mode=bool(rng.integers(2))),
        lambda: cl.AvgPool(per_axis(2, 3), per_axis(1, 2), 1, count_include_pad=bool(rng.integers(2))),
        lambda: _one_of(rng, cl.BatchNorm(), cl.LayerNorm(), cl.GroupNorm(1), cl.InstanceNorm(), cl.Normalize(0.5, 2)),
        lambda: _one_of(rng, cl.Scale(), cl.Scale(shape=(1,) * (rank + 1)), cl.Scale(bias=False), cl.Scale(gain=False)),
        lambda: _one_of(rng, cl.PReLU(), cl.PReLU(shape=(1,)), cl.PReLU(shape=(1,) * (rank + 1))),
        lambda: cl.Permute(tuple(map(int, rng.permutation(rank + 1)))),
        lambda: cl.Slice(int(rng.integers(2)), step=int(rng.integers(1, 3)), axis=int(rng.integers(-rank - 1, 0))),
        lambda: _one_of(rng, cl.Resize(per_axis(3, 9)), cl.Resize(scale=1.7, mode="nearest")),
        lambda: [cl.Dropout(0.3), cl.SpatialDropout(0.3), _drawn_activation(rng)][rng.integers(3)],
        lambda: cl.Pad(pads(), mode=["constant", "edge"][rng.integers(2)]),
        lambda: cl.Upsample(per_axis(1, 2), ["nearest", "bilinear"][rng.integers(2)]),
        lambda: cl.Sequential(list_of(2)),
        lambda: cl.Residual(same_size(), shortcut=[cl.Conv(4, 1)] if rng.integers(2) else same_size()),
        lambda: cl.Concat([[], same_size(), [cl.Residual([_drawn_activation(rng), cl.LayerNorm()])]]),
        lambda: cl.Multiply([[], [cl.Conv(1, 1), cl.Sigmoid()], [cl.Softmax()]]),
        lambda: _gated(rank),
    ]
    return kinds[rng.integers(len(kinds) if depth else 13)]()


def _gated(rank):
    """Four channels, and a gate for each from all positions."""
    gate = [cl.GlobalAvgPool(), cl.Affine(2), cl.ReLU(), cl.Affine(4), cl.HardSigmoid(), cl.Reshape((1,) * rank + (4,))]
    return cl.Sequential([cl.Conv(4, 1), cl.Multiply([[], gate])])


def _one_of(rng, *layers):
    return layers[rng.integers(len(layers))]


def _drawn_activation(rng):
    kinds = [cl.ReLU, cl.LeakyReLU, cl.ELU, cl.GELU, cl.SiLU, cl.Sigmoid, cl.Tanh, cl.Softmax, cl.ReLU6, cl.HardSigmoid]
    kinds += [cl.HardSwish, cl.Softplus, lambda: cl.Clip(-0.5, 0.7), lambda: cl.GELU("tanh"), lambda: cl.Clip(high=1)]
    return kinds[rng.integers(len(kinds))]()
