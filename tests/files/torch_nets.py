"""Nets of PyTorch drawn at random, and their ONNX files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Do(nn.Module):
    """A function of x as a module; what modules it needs are handed over, so that their parameters are known."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.inner)


class With(nn.Module):
    """A function of x and a parameter of this shape."""

    def __init__(self, function, *shape):
        super().__init__()
        if np.prod(shape) == 1:
            raise ValueError("a single number is no parameter here")
        self.function, self.parameter = function, nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return self.function(x, self.parameter)


def shuffled(groups):
    """Channels of several groups, dealt out in turn."""

    def shuffle(x):
        n, c, h, w = x.shape
        return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)

    return Do(shuffle)


def channels_last(*modules):
    """Modules that work along the last axis, on a map's channels."""
    return Do(lambda x, inner: inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Sequential(*modules))


def along_channels(*modules):
    """The same on signals."""
    return Do(lambda x, inner: inner(x.transpose(1, 2)).transpose(1, 2), nn.Sequential(*modules))


def residual(*modules, shortcut=None):
    """x, or what a shortcut makes of it, and what several modules make of it."""
    return Do(lambda x, f, s: f(x) + s(x), nn.Sequential(*modules), shortcut or nn.Identity())


def squeezed(channels, rng):
    """A gate for each channel, from all positions: written with affine maps, or with convolutions."""
    few, gate = max(1, channels // 2), [nn.Sigmoid(), nn.Hardsigmoid()][rng.integers(2)]
    if rng.integers(2):
        inner = nn.Sequential(nn.Linear(channels, few), nn.ReLU(), nn.Linear(few, channels), gate)
        if rng.integers(2):
            return Do(lambda x, f: x * f(x.mean((2, 3)))[:, :, None, None], inner)
        return Do(lambda x, f: x * f(x.mean((2, 3))).view(x.size(0), -1, 1, 1), inner)
    inner = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, few, 1), nn.SiLU(), nn.Conv2d(few, channels, 1), gate
    )
    return Do(lambda x, f: f(x) * x, inner)


def activation(rng, channels=None):
    """One of PyTorch's activations."""
    made = [
        *(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU()),
        *(nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.5, 0.8), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Mish()),
        *(nn.PReLU(), nn.SELU(), nn.Softmax(1), nn.CELU(0.5)),
        *([nn.PReLU(channels)] if channels else []),
    ]
    return made[rng.integers(len(made))]


def norm(rng, c, *sizes):
    """One of PyTorch's norms, of maps or signals."""
    rank = len(sizes)
    groups = int(rng.choice([n for n in range(1, c + 1) if c % n == 0]))
    made = [
        [nn.BatchNorm1d, nn.BatchNorm2d][rank - 1](c, eps=1e-3),
        [nn.InstanceNorm1d, nn.InstanceNorm2d][rank - 1](c, affine=bool(rng.integers(2))),
        nn.GroupNorm(groups, c) if c > 1 else nn.Identity(),
        nn.LayerNorm([c, *sizes]),
        [along_channels, channels_last][rank - 1](nn.LayerNorm(c)),
    ]
    return made[rng.integers(len(made))]


def convolution(rng, c, rank):
    """A convolution, transposed or not, with every option."""

    def each(low, high):
        return tuple(map(int, rng.integers(low, high + 1, rank)))

    groups = int(rng.choice([n for n in (1, 2, c) if c % n == 0]))
    filters, bias = groups * int(rng.integers(1, 4)), bool(rng.integers(2))
    if rng.integers(4) == 0:
        make, stride = [nn.ConvTranspose1d, nn.ConvTranspose2d][rank - 1], each(1, 3)
        more = tuple(int(rng.integers(0, s)) for s in stride)
        return make(c, filters, each(1, 4), stride, each(0, 1), more, groups, bias, each(1, 2))
    make = [nn.Conv1d, nn.Conv2d][rank - 1]
    mode = ["zeros", "zeros", "reflect", "replicate", "circular"][rng.integers(5)]
    if rng.integers(4) == 0:
        return make(c, filters, each(1, 4), 1, "same", each(1, 2), groups, bias, mode)
    return make(c, filters, each(1, 3), each(1, 2), each(0, 2), each(1, 2), groups, bias, mode)


def pool(rng, rank, sizes):
    """A pool with windows, or to a size that divides the map's."""

    def each(low, high):
        return tuple(map(int, rng.integers(low, high + 1, rank)))

    kernel = each(2, 3)
    rest = {"stride": each(1, 3), "padding": each(0, 1), "ceil_mode": bool(rng.integers(2))}
    to = tuple(int(rng.choice([n for n in range(1, size + 1) if size % n == 0])) for size in sizes)
    made = [
        [nn.MaxPool1d, nn.MaxPool2d][rank - 1](kernel, dilation=each(1, 2), **rest),
        [nn.AvgPool1d, nn.AvgPool2d][rank - 1](kernel, count_include_pad=bool(rng.integers(2)), **rest),
        [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d][rank - 1](to if rank == 2 else to[0]),
        [nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d][rank - 1](1),
    ]
    return made[rng.integers(len(made))]


def over_positions(rng, rank):
    """One number of all positions of a channel."""
    reduce, axes = [torch.mean, torch.amax, torch.sum][rng.integers(3)], tuple(range(2, rank + 2))
    return Do(lambda x: reduce(x, axes))


def border(rng, rank):
    """A border, by a module or a function."""
    pads = [int(n) for n in rng.integers(0, 3, 2 * rank)]
    mode, value = ["constant", "reflect", "replicate"][rng.integers(3)], float(rng.integers(2))
    return Do(lambda x: F.pad(x, pads, mode, *([value] if mode == "constant" else [])))


def larger(rng, rank):
    """A map enlarged."""
    modes = ["nearest", "linear"] if rank == 1 else ["nearest", "bilinear", "bicubic"]
    mode, scale = modes[rng.integers(len(modes))], int(rng.integers(2, 4))
    corners = {} if mode == "nearest" else {"align_corners": bool(rng.integers(2))}
    return nn.Upsample(scale_factor=scale, mode=mode, **corners)


def block(rng, c, rank):
    """A block of a well-known net, on maps."""
    conv = nn.Conv2d
    wide = 2 * c
    made = [
        lambda: residual(conv(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(), conv(c, c, 1)),
        lambda: residual(conv(c, wide, 3, 2, 1), nn.BatchNorm2d(wide), shortcut=conv(c, wide, 1, 2, bias=False)),
        lambda: residual(residual(activation(rng, c), conv(c, c, 1)), nn.Tanh(), residual(nn.GroupNorm(1, c))),
        lambda: Do(lambda x, f, g, h: F.relu(f(x) + g(x) + h(x)), conv(c, 4, 1), conv(c, 4, 1), conv(c, 4, 1)),
        lambda: Do(lambda x, f, g: f(x) + (x + g(x)), conv(c, c, 1), nn.Sequential(conv(c, c, 1), nn.ReLU())),
        lambda: Do(lambda x, f, g: torch.cat([f(x), x, g(x)], 1), activation(rng, c), conv(c, 3, 3, padding=1)),
        lambda: dense(c, int(rng.integers(2, 4))),
        lambda: Do(  # depth-separable, as MobileNetV3 has it
            lambda x, f, s, g: x + g(s(f(x))),
            nn.Sequential(conv(c, wide, 1), nn.Hardswish(), conv(wide, wide, 3, padding=1, groups=wide), nn.ReLU()),
            squeezed(wide, rng),
            nn.Sequential(conv(wide, c, 1, bias=False), nn.BatchNorm2d(c)),
        ),
        lambda: residual(  # ConvNeXt's
            conv(c, c, 3, padding=1, groups=c),
            channels_last(nn.LayerNorm(c, eps=1e-6), nn.Linear(c, wide), nn.GELU(), nn.Linear(wide, c)),
            With(lambda x, gamma: gamma * x, c, 1, 1),
        ),
        lambda: squeezed(c, rng),
        lambda: Do(lambda x, f, g: f(x) - g(x), conv(c, 3, 1), nn.Sequential(conv(c, 3, 3, padding=1), nn.ELU())),
        lambda: Do(lambda x, f, g: f(x) * torch.sigmoid(g(x)), conv(c, 3, 1), conv(c, 1, 1)),
        lambda: unet(c),
        lambda: split(c, rng),
        lambda: nn.Sequential(conv(c, 8, 1), nn.PixelShuffle(2)),
        lambda: Do(lambda x, f: F.glu(f(x), 1), conv(c, 6, 1)),
        lambda: Do(lambda x, f: f(torch.cat([x[..., :-1:2, 1::2], x[:, :1, 1::2, :-1:2]], 1)), conv(c + 1, 3, 1)),
        lambda: nn.Sequential(conv(c, 6, 1), shuffled(int(rng.choice([2, 3])))),
        lambda: With(lambda x, gamma: x * gamma + 0.5, 1, c, 1, 1),
        lambda: Do(lambda x: (x - 0.4) / 0.3),
        lambda: nn.Sequential(nn.LayerNorm(rank), nn.Linear(rank, 5)),  # along the width
    ]
    return made[rng.integers(len(made))]()


def dense(c, times, growth=2):
    """Each convolution reads all that came before, side by side."""
    convolutions = [nn.Conv2d(c + i * growth, growth, 3, padding=1) for i in range(times)]

    def forward(x, *inner):
        for each in inner:
            x = torch.cat([x, F.relu(each(x))], 1)
        return x

    return Do(forward, *convolutions)


def split(c, rng):
    """Parts of the channels go different ways."""
    take = [
        lambda y: y.chunk(2, 1),
        lambda y: y.split([2, 4], 1),
        lambda y: (y[:, 4:], y[:, :4]),
        lambda y: (y[:, 1::2], y[:, ::2]),
        lambda y: (y[:, 3].unsqueeze(1), y[:, -2:]),
    ][rng.integers(5)]

    def forward(x, first, f):
        a, b = take(first(x))
        return torch.cat([f(a), b, torch.tanh(a)], 1)

    return Do(forward, nn.Conv2d(c, 6, 1), nn.Hardtanh())


def unet(c):
    """A step down and up again, with what was there before beside it."""

    def forward(x, down, up):
        y = F.interpolate(down(F.max_pool2d(x, 2, ceil_mode=True)), size=x.shape[2:], mode="nearest")
        return up(torch.cat([x, y], 1))

    return Do(forward, nn.Conv2d(c, 4, 3, padding=1), nn.Conv2d(c + 4, 5, 1))


def drawn(rng, shape):
    """A module for samples of this shape."""
    rank, c = len(shape) - 1, shape[0]
    if rank == 0:
        made = [
            lambda: nn.Sequential(nn.Linear(c, 6, bias=bool(rng.integers(2))), activation(rng)),
            lambda: nn.BatchNorm1d(c),
            lambda: nn.LayerNorm(c),
            lambda: residual(nn.Linear(c, c), nn.Tanh()),
            lambda: Do(lambda x, f: torch.cat([x, f(x)], 1), nn.Linear(c, 3)),
            lambda: nn.Dropout(0.3),
            lambda: With(lambda x, a: x * a + 1, c),
        ]
        return made[rng.integers(len(made))]()
    flattened = [
        nn.Flatten,
        lambda: Do(lambda x: x.view(x.size(0), -1)),
        lambda: Do(lambda x: x.reshape(x.shape[0], -1)),
    ]
    made = [
        lambda: convolution(rng, c, rank),
        lambda: convolution(rng, c, rank),
        lambda: norm(rng, *shape),
        lambda: activation(rng, c),
        lambda: pool(rng, rank, shape[1:]),
        lambda: [border, larger][rng.integers(2)](rng, rank),
        lambda: nn.Linear(shape[-1], 5),
        lambda: nn.Dropout(0.3),
        lambda: flattened[rng.integers(3)](),
        lambda: over_positions(rng, rank),
        lambda: Do(lambda x: x.transpose(1, 2)) if rank == 1 else block(rng, c, shape[-1]),
        lambda: residual(activation(rng, c), [nn.Conv1d, nn.Conv2d][rank - 1](c, c, 1)),
    ] + 4 * [lambda: block(rng, c, shape[-1])] * (rank - 1)
    return made[rng.integers(len(made))]()


def random_net(seed):
    """A net of float64 drawn at random for maps, signals or rows, and the shape of its samples."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rank = int(rng.choice([0, 1, 1, 2, 2, 2, 2, 2]))
    shape = (int(rng.integers(1, 5)), *map(int, rng.integers(6, 10, rank)))
    modules, x = [], torch.zeros(2, *shape, dtype=torch.float64)
    while len(modules) < 1 + seed % 6:
        try:
            module = drawn(rng, tuple(x.shape[1:])).double().eval()
            y = module(x)
        except (RuntimeError, ValueError):  # it does not fit
            continue
        if isinstance(module, With) and not [*nn.Sequential(*modules).parameters()]:
            continue  # constants straight after the input are no parameters here
        if 0 < y[0].numel() <= 4000 and y.isfinite().all():
            modules.append(module)
            x = y
    return settled(nn.Sequential(*modules)), shape


def settled(net):
    """The net with parameters and statistics that are not as they start, all of them other numbers, at inference."""
    with torch.no_grad():
        for name, array in net.state_dict().items():
            if array.dtype.is_floating_point:
                array.uniform_(0.5, 1.5) if "var" in name else array.add_(0.1 * torch.randn_like(array))
    return net.eval()


def exported(net, shape, path, opset, dynamic, fold=True):
    """Write the ONNX file that PyTorch makes of a net of float64, with its norms as they are."""
    options = {
        "opset_version": opset,
        "dynamo": False,
        "input_names": ["x"],
        "dynamic_axes": {"x": {0: "n"}} if dynamic else None,
        "training": torch.onnx.TrainingMode.PRESERVE,
    }
    x = torch.zeros(2, *shape, dtype=torch.float64)
    try:
        torch.onnx.export(net, x, path, do_constant_folding=fold, **options)
    except torch.onnx.errors.OnnxExporterError:  # some modules need sizes that are known by folding alone
        torch.onnx.export(net, x, path, do_constant_folding=True, **options)
