"""What the layer tests share: every layer with an input shape, data, and arrays in odd layouts."""

import numpy as np

import cnnlayers as cl

# A factory and an input shape for each layer; sizes, kernels, strides and pads differ on the two axes.
CASES = {
    "Affine": (lambda: cl.Affine(3), (5,)),
    "Affine without bias": (lambda: cl.Affine(2, bias=False, init="glorot_uniform"), (4,)),
    "Conv on images": (
        lambda: cl.Conv(4, (3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2)),
        (6, 7, 3),
    ),
    "Conv on signals": (lambda: cl.Conv(3, 3, stride=2, padding="same"), (8, 2)),
    "Conv in groups": (lambda: cl.Conv(4, (2, 3), groups=2, bias=False), (4, 5, 6)),
    "Conv by channel": (lambda: cl.Conv(6, 3, padding=1, groups=3, algorithm="im2col"), (4, 5, 3)),
    "Conv by Winograd": (lambda: cl.Conv(5, 3, padding=((1, 0), (0, 2)), algorithm="winograd"), (6, 7, 3)),
    "Conv 5x5 by Winograd": (lambda: cl.Conv(3, 5, padding=((2, 0), (1, 4)), algorithm="winograd"), (4, 5, 2)),
    "Conv on signals by Winograd": (lambda: cl.Conv(5, 3, padding=((1, 2),), algorithm="winograd"), (9, 2)),
    "Conv 1x5 by Winograd": (lambda: cl.Conv(4, (1, 5), padding=((1, 0), (2, 1)), algorithm="winograd"), (3, 6, 2)),
    "Conv 1x1": (lambda: cl.Conv(5, 1), (3, 4, 2)),
    "ConvTranspose on images": (
        lambda: cl.ConvTranspose(4, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)), output_padding=(1, 2)),
        (3, 4, 2),
    ),
    "ConvTranspose on signals": (lambda: cl.ConvTranspose(3, 3, stride=2, padding="same", dilation=2), (4, 2)),
    "ConvTranspose in groups": (lambda: cl.ConvTranspose(6, (2, 3), groups=2, bias=False), (3, 4, 4)),
    "MaxPool": (lambda: cl.MaxPool((2, 3), stride=(1, 2), padding=((0, 1), (1, 0))), (5, 6, 2)),
    "MaxPool on signals": (lambda: cl.MaxPool(3, 2, ceil_mode=True), (8, 3)),
    "AvgPool": (lambda: cl.AvgPool((3, 2), stride=(2, 3), padding=1, count_include_pad=True), (6, 7, 2)),
    "AvgPool on signals": (lambda: cl.AvgPool(2, dilation=2, padding="same"), (7, 3)),
    "GlobalAvgPool": (lambda: cl.GlobalAvgPool(), (4, 3, 2)),
    "GlobalAvgPool on signals": (lambda: cl.GlobalAvgPool(), (5, 2)),
    "GlobalMaxPool": (lambda: cl.GlobalMaxPool(), (4, 3, 2)),
    "GlobalMaxPool on signals": (lambda: cl.GlobalMaxPool(), (5, 2)),
    "ReLU": (lambda: cl.ReLU(), (4, 3, 2)),
    "LeakyReLU": (lambda: cl.LeakyReLU(0.2), (5,)),
    "ELU": (lambda: cl.ELU(0.7), (3, 2)),
    "GELU": (lambda: cl.GELU(), (5,)),
    "GELU by tanh": (lambda: cl.GELU("tanh"), (2, 3, 2)),
    "SiLU": (lambda: cl.SiLU(), (4, 3, 2)),
    "Sigmoid": (lambda: cl.Sigmoid(), (3, 2)),
    "Tanh": (lambda: cl.Tanh(), (2, 3, 2)),
    "Softplus": (lambda: cl.Softplus(), (2, 3, 2)),
    "Reciprocal": (lambda: cl.Reciprocal(), (5,)),
    "Clip": (lambda: cl.Clip(-0.5, 0.8), (4, 3, 2)),
    "Clip from below": (lambda: cl.Clip(low=-0.4), (5,)),
    "Clip from above": (lambda: cl.Clip(high=0.4), (3, 2)),
    "Clip of nothing": (lambda: cl.Clip(), (5,)),
    "ReLU6": (lambda: cl.ReLU6(), (4, 3, 2)),
    "HardSigmoid": (lambda: cl.HardSigmoid(), (5,)),
    "HardSigmoid of a steep line": (lambda: cl.HardSigmoid(alpha=-0.7, beta=0.3), (3, 2)),
    "HardSwish": (lambda: cl.HardSwish(), (4, 3, 2)),
    "PReLU": (lambda: cl.PReLU(), (4, 3, 2)),
    "PReLU of one slope": (lambda: cl.PReLU(-0.5, shape=(1,)), (3, 2)),
    "PReLU by row": (lambda: cl.PReLU(0.1, shape=(4, 1, 1)), (4, 3, 2)),
    "PReLU of each number": (lambda: cl.PReLU(shape=(4, 3, 2)), (4, 3, 2)),
    "Scale": (lambda: cl.Scale(), (4, 3, 2)),
    "Scale of rows, without a bias": (lambda: cl.Scale(bias=False), (5,)),
    "Scale without a gain": (lambda: cl.Scale((1, 3, 2), gain=False), (4, 3, 2)),
    "Scale by position": (lambda: cl.Scale(shape=(4, 1)), (3, 4, 2)),
    "Scale by a fixed factor": (lambda: cl.Scale(-0.3), (4, 3, 2)),
    "Scale by one number": (lambda: cl.Scale((1, 1)), (4, 2)),
    "Softmax": (lambda: cl.Softmax(), (5,)),
    "Softmax on images": (lambda: cl.Softmax(), (2, 3, 4)),
    "BatchNorm": (lambda: cl.BatchNorm(momentum=0.7, eps=1e-3), (3, 4, 2)),
    "BatchNorm without a gamma": (lambda: cl.BatchNorm(scale=False), (4, 3, 2)),
    "BatchNorm on rows": (lambda: cl.BatchNorm(), (4,)),
    "LayerNorm": (lambda: cl.LayerNorm(eps=1e-3), (3, 2, 5)),
    "LayerNorm on rows": (lambda: cl.LayerNorm(), (37,)),
    "GroupNorm": (lambda: cl.GroupNorm(2, eps=1e-3), (3, 4, 6)),
    "GroupNorm on signals": (lambda: cl.GroupNorm(3), (5, 3)),
    "InstanceNorm": (lambda: cl.InstanceNorm(eps=1e-3), (3, 4, 2)),
    "InstanceNorm on signals": (lambda: cl.InstanceNorm(), (5, 3)),
    "Normalize": (lambda: cl.Normalize(mean=0.5, std=2), (4, 3, 2)),
    "Normalize by channel": (lambda: cl.Normalize(mean=(0.1, 0.2, 0.3), std=[1, 2, 4]), (2, 5, 3)),
    "Dropout": (lambda: cl.Dropout(0.4), (4, 3, 2)),
    "SpatialDropout": (lambda: cl.SpatialDropout(0.4), (4, 3, 5)),
    "Pad": (lambda: cl.Pad(((1, 0), (2, 3)), value=0.5), (4, 3, 2)),
    "Pad on signals": (lambda: cl.Pad(2, mode="edge"), (4, 2)),
    "Pad by reflection": (lambda: cl.Pad(((1, 2), (0, 1)), mode="reflect"), (4, 3, 2)),
    "Upsample": (lambda: cl.Upsample((2, 3)), (3, 2, 2)),
    "Upsample bilinear": (lambda: cl.Upsample((2, 3), "bilinear"), (3, 4, 2)),
    "Upsample of signals": (lambda: cl.Upsample(3, "bilinear"), (4, 1)),
    "Resize": (lambda: cl.Resize((5, 2)), (3, 4, 2)),
    "Resize bicubic": (lambda: cl.Resize((4, 9), "bicubic", antialias=True, exclude_outside=True), (7, 4, 2)),
    "Resize of signals": (lambda: cl.Resize(scale=1.7, mode="nearest"), (4, 2)),
    "Resize of a part": (
        lambda: cl.Resize((4, 3), coordinates="tf_crop_and_resize", roi=((-0.3, 0.8), (0.9, 0.2)), value=0.5),
        (3, 5, 2),
    ),
    "Slice": (lambda: cl.Slice(1, 3), (3, 2, 5)),
    "Slice backwards, of rows": (lambda: cl.Slice(-1, None, -2), (5,)),
    "Slice of the width": (lambda: cl.Slice(stop=-1, step=2, axis=1), (2, 6, 3)),
    "Flatten": (lambda: cl.Flatten(), (4, 3, 2)),
    "Reshape": (lambda: cl.Reshape((3, -1)), (4, 3, 2)),
    "Permute": (lambda: cl.Permute((2, 0, 1)), (4, 3, 2)),
    "Permute of signals": (lambda: cl.Permute((1, 0)), (4, 3)),
    "Sequential": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.BatchNorm(), cl.ReLU(), cl.Flatten(), cl.Dropout(0.2), cl.Affine(2)]),
        (4, 3, 2),
    ),
    "Residual": (lambda: cl.Residual([cl.Conv(2, (3, 1), padding=((1, 1), (0, 0))), cl.Tanh()]), (4, 3, 2)),
    "Residual with projection": (
        lambda: cl.Residual([cl.Conv(4, 3, 2, padding=1), cl.BatchNorm()], shortcut=cl.Conv(4, 1, 2)),
        (4, 5, 2),
    ),
    "Concat": (
        lambda: cl.Concat([[], cl.Conv(3, 1), [cl.Conv(2, 3, padding=1), cl.BatchNorm(), cl.ReLU()]]),
        (4, 3, 2),
    ),
    "Multiply": (
        lambda: cl.Multiply([[], [cl.Conv(2, 3, padding=1), cl.BatchNorm(), cl.Sigmoid()], cl.Conv(1, (1, 3))]),
        (4, 3, 2),
    ),
    "Multiply by a gate for each channel": (
        lambda: cl.Multiply([[cl.GlobalAvgPool(), cl.Affine(3), cl.Tanh(), cl.Reshape((1, 1, 3))], cl.Conv(3, 1)]),
        (4, 3, 2),
    ),
    "Multiply of rows": (lambda: cl.Multiply([cl.Affine(3), cl.Affine(1), cl.Affine(3, bias=False)]), (5,)),
    "Concat of rows": (lambda: cl.Concat([cl.Affine(3), cl.Affine(2, bias=False)]), (5,)),
}

# The layers that take images, on images of one pixel.
ONE_PIXEL = {
    "Conv": lambda: cl.Conv(4, (3, 2), stride=(2, 1), padding="same"),
    "Conv 1x1": lambda: cl.Conv(4, 1, stride=3),
    "Conv by Winograd": lambda: cl.Conv(4, 3, padding=1, algorithm="winograd"),
    "Conv 5x5 by Winograd": lambda: cl.Conv(4, 5, padding=2, algorithm="winograd"),
    "ConvTranspose": lambda: cl.ConvTranspose(4, (3, 2), stride=2, padding="same"),
    "ConvTranspose 1x1": lambda: cl.ConvTranspose(4, 1),
    "MaxPool": lambda: cl.MaxPool(1),
    "MaxPool padded": lambda: cl.MaxPool(3, stride=2, padding=1),
    "AvgPool": lambda: cl.AvgPool(3, stride=2, padding=1),
    "GlobalAvgPool": lambda: cl.GlobalAvgPool(),
    "GlobalMaxPool": lambda: cl.GlobalMaxPool(),
    "ReLU": lambda: cl.ReLU(),
    "BatchNorm": lambda: cl.BatchNorm(),
    "LayerNorm": lambda: cl.LayerNorm(),
    "GroupNorm": lambda: cl.GroupNorm(1),
    "GroupNorm by channel": lambda: cl.GroupNorm(3),
    "InstanceNorm": lambda: cl.InstanceNorm(),
    "PReLU": lambda: cl.PReLU(),
    "Scale": lambda: cl.Scale(),
    "Dropout": lambda: cl.Dropout(0.5),
    "SpatialDropout": lambda: cl.SpatialDropout(0.5),
    "Pad": lambda: cl.Pad(2, mode="edge"),
    "Upsample": lambda: cl.Upsample(2),
    "Upsample bilinear": lambda: cl.Upsample(3, "bilinear"),
    "Resize": lambda: cl.Resize((3, 2)),
    "Resize bicubic": lambda: cl.Resize(2, "bicubic", coordinates="align_corners"),
    "Concat": lambda: cl.Concat([[], cl.Conv(2, 3, padding=1)]),
    "Multiply": lambda: cl.Multiply([[], cl.Conv(1, 3, padding=1)]),
    "Slice": lambda: cl.Slice(1),
    "Flatten": lambda: cl.Flatten(),
    "Permute": lambda: cl.Permute((1, 0, 2)),
    "Residual": lambda: cl.Residual([cl.Conv(3, 3, padding=1)]),
}


def built(name, dtype=np.float64):
    """Make the layer of that name, ready; the same one, with the same draws to come, at each call."""
    factory, shape = CASES[name]
    layer = factory()
    layer.build(shape, rng=7, dtype=dtype)
    return layer


def data(name, n=3, dtype=np.float64, seed=0):
    """Make a batch for that layer, of numbers that all differ."""
    return batch(n, *CASES[name][1], dtype=dtype, seed=seed)


def batch(*shape, dtype=np.float64, seed=0):
    """Make normal numbers that all differ."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    assert np.unique(x).size == x.size
    return x


def gradient_for(y, seed=5):
    """Make a dy for this y."""
    return np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


def step(layer, x, seed=5, train=True):
    """One forward and backward pass: y, dx and copies of the gradients."""
    y = layer.forward(x, train)
    dx = layer.backward(gradient_for(y, seed))
    return y, dx, {name: grad.copy() for name, grad in layer.grads.items()}


def _transposed(x, folder):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1)


def _reversed(x, folder):
    flip = (slice(None, None, -1),) * x.ndim
    return x[flip].copy()[flip]


def _sliced(x, folder):
    wide = np.full([2 * size + 1 for size in x.shape], 99, x.dtype)
    view = wide[(slice(1, None, 2),) * x.ndim]
    view[...] = x
    return view


def _broadcast(x, folder):
    return np.broadcast_to(x[:1, ..., :1], x.shape)


def _read_only(x, folder):
    x = x.copy()
    x.flags.writeable = False
    return x


def _memory_mapped(x, folder):
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def _misaligned(x, folder):
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
    view = raw.view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


# Functions (array, folder) -> an array of the same shape and dtype, but laid out oddly.
LAYOUTS = {
    "Fortran order": lambda x, folder: np.asfortranarray(x),
    "transposed": _transposed,
    "negative strides": _reversed,
    "slices": _sliced,
    "zero strides": _broadcast,
    "read-only": _read_only,
    "memory-mapped": _memory_mapped,
    "byte-swapped": lambda x, folder: x.astype(x.dtype.newbyteorder()),
    "misaligned": _misaligned,
}


def odd(x, dtype):
    """Give these float32 numbers as no kernel takes them: not of this dtype, byte-swapped, with gaps, read-only."""
    given = np.dtype(np.float64 if dtype == np.float32 else np.float32).newbyteorder()
    x = _sliced(x.astype(given), None)
    x.flags.writeable = False
    return x
