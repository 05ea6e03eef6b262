"""Nets with PyTorch's weights give PyTorch's outputs, where it is installed."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import models
from cnnlayers.files.torch_file import read_torch

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    """A basic block as torchvision writes it."""

    def __init__(self, channels, filters, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None
        if stride != 1:
            projection = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(filters))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def lenet():
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 2 * 3, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    return theirs, models.lenet((20, 24, 3))


def resnet():
    stem = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = (Block(16, 16), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), models.resnet8()


def conv1d():
    theirs = nn.Sequential(
        *(nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2), nn.LeakyReLU(), nn.GroupNorm(3, 6)),
        *(nn.Conv1d(6, 8, 4, groups=2), nn.InstanceNorm1d(8, affine=True), nn.GELU()),
        *(nn.Flatten(), nn.LayerNorm(56), nn.Linear(56, 5, bias=False)),
    )
    ours = cl.Sequential(
        [
            *(cl.Conv(6, 3, stride=2, padding=2, dilation=2), cl.LeakyReLU(), cl.GroupNorm(3)),
            *(cl.Conv(8, 4, groups=2), cl.InstanceNorm(), cl.GELU()),
            *(cl.Flatten(), cl.LayerNorm(), cl.Affine(5, bias=False)),
        ],
        input_shape=(20, 4),
    )
    return theirs, ours


def autoencoder():
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 8, (3, 4), stride=(2, 3), padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten()),
        *(nn.Linear(160, 12), nn.ELU(), nn.Linear(12, 160), nn.BatchNorm1d(160), nn.Unflatten(1, (8, 5, 4))),
        nn.ConvTranspose2d(8, 6, (3, 4), stride=(2, 3), padding=1, output_padding=(1, 2)),
        *(nn.Upsample(scale_factor=2, mode="bilinear"), nn.ConvTranspose2d(6, 4, 3, dilation=2, groups=2)),
        *(nn.ReflectionPad2d((1, 2, 3, 0)), nn.Upsample(scale_factor=(1, 3)), nn.Conv2d(4, 3, 1)),
    )
    ours = cl.Sequential(
        [
            *(cl.Conv(8, (3, 4), stride=(2, 3), padding=1), cl.BatchNorm(), cl.SiLU(), cl.Flatten()),
            *(cl.Affine(12), cl.ELU(), cl.Affine(160), cl.BatchNorm(), cl.Reshape((5, 4, 8))),
            cl.ConvTranspose(6, (3, 4), stride=(2, 3), padding=1, output_padding=(1, 2)),
            *(cl.Upsample(2, "bilinear"), cl.ConvTranspose(4, 3, dilation=2, groups=2)),
            *(cl.Pad(((3, 0), (1, 2)), mode="reflect"), cl.Upsample((1, 3)), cl.Conv(3, 1)),
        ],
        input_shape=(9, 12, 3),
    )
    return theirs, ours


def bent():
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 8, 3), nn.Hardswish()),
        *(nn.PReLU(), nn.Hardtanh(-0.5, 2), nn.Flatten(), nn.PReLU(8 * 2 * 3), nn.PReLU(), nn.Linear(48, 7)),
        *(nn.Softplus(), nn.Linear(7, 5), nn.Hardsigmoid()),
    )
    ours = cl.Sequential(
        [
            *(cl.Conv(6, 3), cl.PReLU(), cl.BatchNorm(), cl.ReLU6(), cl.Conv(8, 3), cl.HardSwish()),
            *(cl.PReLU(shape=(1, 1, 1)), cl.Clip(-0.5, 2), cl.Flatten(), cl.PReLU(), cl.PReLU(shape=(1,))),
            *(cl.Affine(7), cl.Softplus(), cl.Affine(5), cl.HardSigmoid()),
        ],
        input_shape=(6, 7, 3),
    )
    return theirs, ours


@pytest.fixture(params=[lenet, resnet, conv1d, autoencoder, bent], ids=lambda f: f.__name__)
def pair(request):
    torch.manual_seed(0)
    theirs, ours = request.param()
    for name, array in theirs.state_dict().items():  # nothing as it starts
        if array.dtype.is_floating_point and array.ndim == 1:
            array.uniform_(0.5, 1.5) if "var" in name else array.add_(0.1 * torch.randn(array.shape))
    return theirs, ours


def inputs(net):
    x = np.random.default_rng(0).standard_normal((4, *net.input_shape)).astype(np.float32)
    return x, torch.from_numpy(cl.to_nchw(x))


def as_ours(y):
    y = y.detach().numpy()
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("train", [True, False])
def test_from_torch(pair, train):
    theirs, ours = pair
    cl.from_torch(ours, theirs.state_dict())
    x, their_x = inputs(ours)
    theirs.train(train)
    assert_close(ours.forward(x, train), as_ours(theirs(their_x)))


def test_to_torch(pair):
    theirs, ours = pair
    ours.flat_params[...] += 0.1 * np.random.default_rng(1).standard_normal(ours.flat_params.size)
    for _ in range(2):
        ours.forward(inputs(ours)[0])  # statistics run
    modules = [name for name, module in theirs.named_modules() if list(module.parameters(recurse=False))]
    arrays = cl.to_torch(ours, names=modules)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    x, their_x = inputs(ours)
    assert_close(ours.predict(x), as_ours(theirs.eval()(their_x)))


def test_gradients_are_those_of_pytorch(pair):
    theirs, ours = pair
    cl.from_torch(ours, theirs.state_dict())
    x, their_x = inputs(ours)
    y, their_y = ours.forward(x), theirs(their_x)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    ours.backward(dy)
    their_y.backward(torch.from_numpy(np.ascontiguousarray(np.moveaxis(dy, -1, 1))))
    twin = ours.copy()
    grads = theirs.state_dict() | {name: parameter.grad for name, parameter in theirs.named_parameters()}
    cl.from_torch(twin, grads)
    for name, grad in ours.grads.items():
        scale = max(1, np.abs(twin.params[name]).max())
        np.testing.assert_allclose(grad, twin.params[name], rtol=0, atol=1e-4 * scale, err_msg=name)


def test_a_file_of_safetensors(pair, tmp_path):
    safetensors_torch = pytest.importorskip("safetensors.torch")
    theirs, ours = pair
    other = ours.copy()
    safetensors_torch.save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    cl.from_torch(ours, tmp_path / "net.safetensors")
    cl.from_torch(other, theirs.state_dict())
    np.testing.assert_array_equal(ours.flat_params, other.flat_params)
    np.testing.assert_array_equal(ours.flat_state, other.flat_state)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
def test_a_file_of_torch_save(pair, how, tmp_path):
    """A checkpoint of training, with an optimiser's state in it."""
    theirs, ours = pair
    other = ours.copy()
    optimizer = torch.optim.Adam(theirs.parameters())
    theirs(inputs(ours)[1]).sum().backward()
    optimizer.step()
    content = {"epoch": 3, "model": nn.DataParallel(theirs).state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content, tmp_path / "net.pt", **how)
    cl.from_torch(ours, tmp_path / "net.pt")
    cl.from_torch(other, theirs.state_dict())
    np.testing.assert_array_equal(ours.flat_params, other.flat_params)
    np.testing.assert_array_equal(ours.flat_state, other.flat_state)


@pytest.mark.parametrize("protocol", range(1, 6))
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_type_and_form_in_a_file(zipped, protocol, tmp_path):
    base = torch.randn(4, 5, 6)
    names = [
        f"{kind}{bits}" for kind in ("uint", "int", "float") for bits in (8, 16, 32, 64) if (kind, bits) != ("float", 8)
    ]
    tensors = {name: (10 * base.abs()).to(getattr(torch, name)) for name in [*names, "bfloat16", "bool"]}
    tensors |= {"transposed": base.transpose(0, 2), "cut": base[1:, ::2, 3], "one": base[0, 0, 0], "same": base}
    tensors |= {"none": torch.empty(0, 3), "repeated": base.expand(2, 4, 5, 6), "half": base.bfloat16()[1:, 2:].mT}
    tensors["parameter"] = nn.Parameter(base)
    path = tmp_path / "net.pt"
    torch.save(tensors, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_torch(str(path), path.read_bytes())
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        wanted = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        assert (found[name].shape, found[name].dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.filterwarnings("ignore")  # what torch.jit says of itself
@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_in_a_file(zipped, tmp_path):
    net = nn.Sequential(nn.Linear(2, 2))
    torch.save(net, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    ours = cl.Sequential([cl.Affine(2)], input_shape=(2,), rng=0)
    with pytest.raises(
        cl.CheckpointError, match=r"Sequential: a whole module .* torch.save\(net.state_dict\(\), path\)"
    ):
        cl.from_torch(ours, tmp_path / "net.pt")
    torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    with pytest.raises(cl.CheckpointError, match=r"found one of torch.jit.save, which is a program"):
        cl.from_torch(ours, tmp_path / "net.pt")


INTERPOLATED = {  # what `interpolate` is called with, and what Resize
    "nearest": ({"mode": "nearest"}, {"mode": "nearest"}),
    "nearest-exact": (
        {"mode": "nearest-exact"},
        {"mode": "nearest", "coordinates": "half_pixel", "rounding": "round_prefer_ceil"},
    ),
    "bilinear": ({"mode": "bilinear"}, {}),
    "bilinear by corners": ({"mode": "bilinear", "align_corners": True}, {"coordinates": "align_corners"}),
    "bilinear without aliasing": (
        {"mode": "bilinear", "antialias": True},
        {"antialias": True, "exclude_outside": True},
    ),
    "bicubic": ({"mode": "bicubic"}, {"mode": "bicubic"}),
    "bicubic by corners": (
        {"mode": "bicubic", "align_corners": True},
        {"mode": "bicubic", "coordinates": "align_corners"},
    ),
    "bicubic without aliasing": (
        {"mode": "bicubic", "antialias": True},
        {"mode": "bicubic", "antialias": True, "exclude_outside": True, "cubic_coeff": -0.5},
    ),
}


@pytest.mark.parametrize("name", INTERPOLATED)
@pytest.mark.parametrize("size", [(3, 11), (1, 6), (13, 2), (7, 5)])
def test_resize_is_interpolate(name, size):
    theirs, ours = INTERPOLATED[name]
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    y = nn.functional.interpolate(x, size, **theirs)
    dy = torch.randn_like(y)
    y.backward(dy)
    layer = cl.Resize(size, **ours)
    layer.build((7, 5, 3), dtype=np.float64)
    np.testing.assert_allclose(cl.to_nchw(layer.forward(cl.from_nchw(x.detach().numpy()))), y.detach(), atol=1e-12)
    np.testing.assert_allclose(cl.to_nchw(layer.backward(cl.from_nchw(dy.numpy()))), x.grad, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_resize_by_a_scale_is_interpolate(mode):
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    y = nn.functional.interpolate(x, scale_factor=(0.6, 2.3), mode=mode)
    layer = cl.Resize(scale=(0.6, 2.3), mode=mode)
    layer.build((7, 5, 3), dtype=np.float64)
    np.testing.assert_allclose(cl.to_nchw(layer.forward(cl.from_nchw(x.numpy()))), y, atol=1e-12)
