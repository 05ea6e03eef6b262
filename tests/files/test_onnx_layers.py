"""Every layer and every net of the package as an ONNX file, beside `predict`."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import layers, models
from cnnlayers.files.onnx.export import LAYOUTS
from cnnlayers.files.onnx.nodes import WRITERS
from cnnlayers.layers.inference import InferenceNet
from tests.files.onnx_files import agree, operators, random_net, run, trained
from tests.layers.common import CASES

# More geometries: a factory and an input shape, as in CASES.
MORE = {
    "Conv of one channel": (lambda: cl.Conv(1, (2, 3), stride=(3, 2), padding="same"), (7, 6, 1)),
    "Conv larger than the image": (lambda: cl.Conv(2, (5, 4), padding=((4, 1), (2, 3))), (2, 3, 2)),
    "Conv by channel with holes": (lambda: cl.Conv(8, 3, dilation=(2, 1), padding=2, groups=4), (6, 5, 4)),
    "Conv on one position": (lambda: cl.Conv(3, 3, stride=4, padding="same"), (1, 2)),
    "ConvTranspose by channel": (
        lambda: cl.ConvTranspose(6, (3, 2), (2, 1), groups=3, padding=((0, 1), (1, 0))),
        (3, 4, 3),
    ),
    "ConvTranspose with gaps": (lambda: cl.ConvTranspose(2, 1, stride=3, output_padding=2), (2, 3, 1)),
    "ConvTranspose same with holes": (lambda: cl.ConvTranspose(3, (4, 3), (3, 2), "same", dilation=(1, 3)), (3, 2, 2)),
    "MaxPool over the end": (lambda: cl.MaxPool((3, 2), (2, 3), ceil_mode=True), (6, 6, 1)),
    "MaxPool with holes and wide padding": (lambda: cl.MaxPool(2, 1, padding=((2, 3), (3, 2)), dilation=4), (5, 6, 2)),
    "MaxPool on signals, padded after": (lambda: cl.MaxPool(2, 1, padding=[(0, 1)]), (5, 2)),
    "AvgPool over the end": (lambda: cl.AvgPool((3, 2), (2, 3), ceil_mode=True), (6, 6, 3)),
    "AvgPool over the end, padding counted": (
        lambda: cl.AvgPool(3, 2, padding=((1, 0), (0, 1)), ceil_mode=True, count_include_pad=True),
        (6, 7, 2),
    ),
    "AvgPool, padding not counted": (lambda: cl.AvgPool(3, 1, padding=((1, 2), (0, 1))), (4, 5, 2)),
    "AvgPool with holes, padding counted": (lambda: cl.AvgPool((2, 3), 2, 2, (3, 2), True, True), (7, 6, 3)),
    "AvgPool wider than the signal": (lambda: cl.AvgPool(4, 3, ceil_mode=True), (3, 1)),
    "GlobalMaxPool on one pixel": (lambda: cl.GlobalMaxPool(), (1, 1, 3)),
    "BatchNorm on five axes": (lambda: cl.BatchNorm(), (2, 3, 2, 2)),
    "BatchNorm without a gamma, of a convolution": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.BatchNorm(scale=False), cl.GELU()]),
        (5, 4, 2),
    ),
    "GroupNorm on rows": (lambda: cl.GroupNorm(2), (6,)),
    "GroupNorm by channel": (lambda: cl.GroupNorm(3), (2, 4, 3)),
    "InstanceNorm on five axes": (lambda: cl.InstanceNorm(), (2, 3, 2, 2)),
    "InstanceNorm of a convolution": (lambda: cl.Sequential([cl.Conv(3, 2), cl.InstanceNorm()]), (5, 4, 2)),
    "LayerNorm on signals": (lambda: cl.LayerNorm(), (5, 3)),
    "Normalize rows": (lambda: cl.Normalize((1, 2), (3,)), (2,)),
    "Pad with nothing": (lambda: cl.Pad(0), (3, 2)),
    "Pad signals by reflection": (lambda: cl.Pad([(2, 1)], mode="reflect"), (4, 2)),
    "PReLU by column": (lambda: cl.PReLU(0.1, shape=(4, 1)), (3, 4, 2)),
    "PReLU of a convolution, by row": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.PReLU(-0.2, shape=(4, 1, 1)), cl.Flatten(), cl.PReLU(0.5)]),
        (5, 3, 2),
    ),
    "Scale of a convolution": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.Scale(shape=(2, 3)), cl.Scale(shape=(1,)), cl.Scale(gain=False)]),
        (5, 3, 2),
    ),
    "Scale of a convolution by fixed factors": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.Scale(0.5), cl.Flatten(), cl.Affine(4), cl.Scale(1 / 256)]),
        (5, 3, 2),
    ),
    "Scale on five axes": (lambda: cl.Scale((3, 1, 1, 5)), (2, 3, 2, 4, 5)),
    "HardSwish of a convolution": (lambda: cl.Sequential([cl.Conv(8, 1), cl.HardSwish(), cl.ReLU6()]), (3, 4, 2)),
    "Resize to a multiple": (lambda: cl.Resize((6, 6)), (3, 2, 2)),
    "Resize, smaller": (lambda: cl.Resize((2, 5), "nearest"), (7, 6, 2)),
    "Resize by corners": (lambda: cl.Resize((4, 7), coordinates="align_corners"), (3, 5, 2)),
    "Resize by a scale": (lambda: cl.Resize(scale=(0.7, 2.5)), (5, 4, 2)),
    "Resize by a scale and a size": (lambda: cl.Resize((3, 8), scale=(0.7, 2.1)), (5, 4, 2)),
    "Resize, larger and bicubic": (lambda: cl.Resize((5, 7), "bicubic", cubic_coeff=-0.5), (3, 4, 2)),
    "Resize, smaller and bicubic": (lambda: cl.Resize(3, "bicubic", exclude_outside=True), (5, 4, 2)),
    "Resize by middles": (lambda: cl.Resize(scale=0.7, coordinates="half_pixel_symmetric"), (5, 2)),
    "Resize to places right beside a pixel": (lambda: cl.Resize((6, 14)), (9, 10, 1)),
    "Resize to one": (lambda: cl.Resize(1, "bicubic", coordinates="pytorch_half_pixel"), (4, 3, 2)),
    "Resize of a convolution": (lambda: cl.Sequential([cl.Conv(3, 2), cl.Resize((3, 6)), cl.Flatten()]), (5, 4, 2)),
    "Flatten rows": (lambda: cl.Flatten(), (4,)),
    "Reshape rows": (lambda: cl.Reshape((2, 2, 3)), (12,)),
    "Permute rows": (lambda: cl.Permute((0,)), (4,)),
    "Permute five axes": (lambda: cl.Permute((3, 0, 2, 1)), (2, 3, 4, 5)),
    "Permute of a convolution": (
        lambda: cl.Sequential([cl.Conv(3, 2), cl.Permute((1, 2, 0)), cl.Conv(2, 1), cl.Permute((2, 1, 0))]),
        (5, 4, 2),
    ),
    "Softmax of one": (lambda: cl.Softmax(), (3, 1)),
    "Sequential of nothing": (lambda: cl.Sequential([]), (3, 2)),
    "Sequential of Dropout": (lambda: cl.Sequential([cl.Dropout(0.5)]), (4,)),
    "Residual of nothing": (lambda: cl.Residual([]), (3, 4, 2)),
    "Concat of one": (lambda: cl.Concat([[]]), (3, 4, 2)),
    "Concat of nested": (
        lambda: cl.Concat([cl.Concat([[], cl.Conv(1, 1)]), [cl.LayerNorm(), cl.Residual([cl.Conv(2, 1)])]]),
        (3, 4, 2),
    ),
    "Multiply of one": (lambda: cl.Multiply([[]]), (3, 4, 2)),
    "Multiply of nested": (
        lambda: cl.Multiply([cl.Multiply([[], cl.Conv(1, 1)]), [cl.LayerNorm(), cl.Residual([cl.Conv(2, 1)])]]),
        (3, 4, 2),
    ),
    "Multiply along each axis": (
        lambda: cl.Multiply(
            [cl.Conv(2, (3, 1)), cl.MaxPool((1, 4)), cl.Concat([cl.Conv(1, (3, 4)), cl.Conv(1, (3, 4))])]
        ),
        (3, 4, 2),
    ),
    "Multiply by a gate": (
        lambda: cl.Multiply(
            [cl.Conv(3, 2), [cl.GlobalAvgPool(), cl.Affine(3), cl.Reshape((1, 1, 3)), cl.HardSigmoid()]]
        ),
        (5, 4, 2),
    ),
    "Flatten to Reshape": (
        lambda: cl.Sequential([cl.Conv(2, 2), cl.Flatten(), cl.Affine(12), cl.Reshape((3, 2, 2)), cl.Conv(3, 2)]),
        (4, 3, 2),
    ),
}
EVERY = CASES | MORE


def test_every_layer_of_the_package_is_in_the_table():
    named = {getattr(layers, name) for name in layers.__all__} - {layers.Layer}
    assert set(WRITERS) - {InferenceNet} == named
    assert {type(factory()) for factory, _ in CASES.values()} == named


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EVERY)
def test_each_layer_alone(name, dtype, layout, tmp_path):
    factory, shape = EVERY[name]
    layer = factory()
    layer.build(shape, rng=0, dtype=dtype)
    cl.to_onnx(trained(layer), tmp_path / "layer.onnx", layout)
    agree(layer, tmp_path / "layer.onnx", layout)


ZOO = {
    "linear": (models.linear, {}, 0),
    "lenet": (models.lenet, {"input_shape": (16, 20, 1)}, 2),
    "three_layer": (models.three_layer, {"input_shape": (8, 8, 3)}, 2),
    "vgg": (models.vgg, {"input_shape": (8, 8, 3)}, 2),
    "resnet8": (models.resnet8, {"input_shape": (8, 8, 3)}, 1),
    "resnet20": (models.resnet20, {"input_shape": (8, 8, 3)}, 1),
    "resnet32": (models.resnet32, {"input_shape": (8, 8, 3)}, 1),
    "mobilenet": (models.mobilenet, {"input_shape": (16, 16, 3)}, 1),
    "speedrun": (models.speedrun, {"input_shape": (8, 8, 3)}, 1),
    "conv1d_classifier": (models.conv1d_classifier, {"input_shape": (40, 2)}, 1),
    "digits_cnn": (models.digits_cnn, {}, 2),
    "digits_resnet": (models.digits_resnet, {}, 1),
}


@pytest.mark.parametrize("name", ZOO)
def test_each_net_of_the_package(name, tmp_path):
    """With one transposition on the way in, and a second one only where a map is flattened."""
    model, options, transposed = ZOO[name]
    net = model(rng=0, **options)
    cl.to_onnx(net, tmp_path / "net.onnx")
    agree(net, tmp_path / "net.onnx")
    assert operators(tmp_path / "net.onnx").count("Transpose") == transposed


def test_no_net_of_the_package_is_left_out():
    """All functions but the one that the residual nets share, and their block."""
    given = {name for name, what in vars(models).items() if callable(what) and what.__module__ == models.__name__}
    assert {name for name in given if name[0] != "_"} == {*ZOO, "resnet", "basic_block"}


@pytest.mark.parametrize("seed", range(50))
def test_random_nets(seed, tmp_path):
    net = random_net(seed)
    layout = LAYOUTS[seed % 2]
    cl.to_onnx(net, tmp_path / "net.onnx", layout)
    agree(net, tmp_path / "net.onnx", layout)


@pytest.mark.parametrize("name", ["digits_resnet", "conv1d_classifier"])
def test_a_net_for_inference_has_no_batch_norm_left(name, tmp_path):
    model, options, _ = ZOO[name]
    net = trained(model(rng=0, **options))
    cl.to_onnx(net.for_inference(), tmp_path / "net.onnx")
    agree(net, tmp_path / "net.onnx")
    assert "BatchNormalization" not in operators(tmp_path / "net.onnx")


def test_flatten_keeps_the_order_of_channels_last(tmp_path):
    net = cl.Sequential([cl.Conv(2, 1, bias=False), cl.Flatten()], (2, 2, 2), rng=0)
    net.params["0.W"] = np.eye(2).reshape(1, 1, 2, 2)
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    for layout in LAYOUTS:
        cl.to_onnx(net, tmp_path / "net.onnx", layout)
        assert run(tmp_path / "net.onnx", x, layout).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("layer", "opset", "expected"),
    [
        (cl.Resize((6, 10)), 17, ["Resize"]),  # 2 and 2.5 are scales without rounding
        (cl.Resize((4, 7)), 17, ["Shape", "Gather", "Concat", "Resize"]),
        (cl.Resize(scale=(0.7, 1.3)), 17, ["Resize"]),
        (cl.Resize((6, 10), "bicubic"), 13, ["Resize"]),
        (cl.Resize((2, 2), antialias=True), 17, ["MatMul", "Transpose"] * 2),  # which opset 18 brought
        (cl.Resize((2, 2), antialias=True), 18, ["Shape", "Gather", "Concat", "Resize"]),
        (cl.Resize((2, 2), "bicubic"), 18, ["MatMul", "Transpose"] * 2),  # which runtimes do in one order of axes alone
        (cl.Resize((2, 2), scale=(0.5, 0.3)), 17, ["MatMul", "Transpose"] * 2),  # no multiple by the scale
    ],
)
def test_resize_is_one_node_where_all_find_the_same(layer, opset, expected, tmp_path):
    layer = layer.copy()
    layer.build((3, 4, 2))
    cl.to_onnx(layer, tmp_path / "layer.onnx", "NCHW", opset=opset)
    agree(layer, tmp_path / "layer.onnx", "NCHW")
    assert [each for each in operators(tmp_path / "layer.onnx") if each != "Identity"] == expected


@pytest.mark.parametrize(("size", "shape"), [((6, 7), (10, 9, 2)), ((15, 2), (4, 9, 2))])
def test_a_bicubic_in_float64_has_its_own_weights(size, shape, tmp_path):
    """Those of ONNX's operator have the digits of float32."""
    layer = cl.Resize(size, "bicubic", antialias=True)
    layer.build(shape, dtype="float64")
    cl.to_onnx(layer, tmp_path / "layer.onnx", opset=18)
    x = np.random.default_rng(0).standard_normal((2, *shape))
    np.testing.assert_allclose(run(tmp_path / "layer.onnx", x), layer.predict(x), rtol=0, atol=1e-12)
