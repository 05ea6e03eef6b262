"""show_plan: the table of algorithms, and the errors."""

import re

import numpy as np
import pytest

import cnnlayers as cl


@pytest.fixture(autouse=True)
def _same_afterwards():
    yield
    cl.set_precision("fast")


def rows(capsys, net, *batch_size):
    """The table as (layer, pass, algorithm, why); its columns are two spaces apart."""
    cl.show_plan(net, *batch_size)
    head, line, *body = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert re.split(r" {2,}", head) == ["layer", "pass", "algorithm", "why"]
    assert set(line) == {"-"}
    assert len(line) == max(map(len, [head, *body]))
    return [tuple(re.split(r" {2,}", row)) for row in body]


def test_a_small_net(capsys):
    net = cl.Sequential(
        [cl.Conv(6, 7), cl.ReLU(), cl.Conv(8, 3, stride=2, algorithm="im2col"), cl.Flatten(), cl.Affine(3)],
        input_shape=(12, 12, 1),
    )
    cl.show_plan(net, 4)
    assert capsys.readouterr().out == (
        "layer          pass     algorithm  why\n"
        "--------------------------------------------------------------------------------\n"
        "0: Conv(6, 7)  forward  direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5\n"
        "0: Conv(6, 7)  dL/dx    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5\n"
        "0: Conv(6, 7)  dL/dW    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5\n"
        "2: Conv(8, 3)  forward  im2col     as the layer says\n"
        "2: Conv(8, 3)  dL/dx    im2col     as the layer says\n"
        "2: Conv(8, 3)  dL/dW    im2col     as the layer says\n"
        "4: Affine(3)   forward  direct     W is packed, and meets all rows\n"
        "4: Affine(3)   dL/dx    dots       at most 4 rows: W is read once, where it lies\n"
        "4: Affine(3)   dL/dW    direct     x and dy meet where they lie\n"
    )


def test_layers_within_layers_have_their_names(capsys):
    body = [cl.Conv(32, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.Conv(32, 3, padding=1, algorithm="winograd")]
    net = cl.Sequential([cl.Residual(body), cl.Conv(64, 1)], input_shape=(16, 16, 32))
    table = rows(capsys, net, 64)
    names = ["0.body.0: Conv(32, 3)", "0.body.3: Conv(32, 3)", "1: Conv(64, 1)"]
    assert [row[0] for row in table] == [name for name in names for _ in range(3)]
    assert [row[1] for row in table] == ["forward", "dL/dx", "dL/dW"] * 3
    assert {row[2] for row in table[:3]} == {"F(4x4, 3x3)"}
    assert all(row[3].startswith("as the layer says; cost") for row in table[3:6])
    assert {row[2:] for row in table[6:]} == {("direct", "a kernel of 1x1, not 1x3, 1x5, 3x3 or 5x5")}


def test_the_batch_size_decides(capsys):
    net = cl.Sequential([cl.Conv(128, 3, padding=1)], input_shape=(8, 8, 128))
    assert {row[2] for row in rows(capsys, net, 1)} == {"direct"}
    assert {row[2] for row in rows(capsys, net, np.int64(128))} == {"F(4x4, 3x3)"}
    assert rows(capsys, net) == rows(capsys, net, 128)


def test_a_5x5_kernel(capsys):
    net = cl.Sequential([cl.Conv(64, 5, padding=2)], input_shape=(16, 16, 32))
    table = rows(capsys, net, 64)
    assert [row[1:3] for row in table] == [(name, "F(2x2, 5x5)") for name in ("forward", "dL/dx", "dL/dW")]
    assert all(row[3].startswith("cost of direct 1; F(2x2, 5x5) 0.") for row in table)


def test_a_transposed_convolution(capsys):
    """Its forward pass is the input gradient of the Conv that it transposes."""
    net = cl.Sequential([cl.ConvTranspose(48, 3, padding=1)], input_shape=(16, 16, 32))
    twin = cl.Sequential([cl.Conv(32, 3, padding=1)], input_shape=(16, 16, 48))
    transposed, plain = rows(capsys, net, 64), rows(capsys, twin, 64)
    assert [row[0] for row in transposed] == ["0: ConvTranspose(48, 3)"] * 3
    assert [row[1] for row in transposed] == ["forward", "dL/dx", "dL/dW"]
    assert [row[2:] for row in transposed] == [plain[i][2:] for i in (1, 0, 2)]
    (first, *_) = rows(capsys, cl.Sequential([cl.ConvTranspose(8, 2, stride=2)], input_shape=(4, 4, 8)))
    assert first[2:] == ("direct", "a kernel of 2x2, not 1x3, 1x5, 3x3 or 5x5")


def test_a_net_made_for_inference_has_a_forward_pass_alone(capsys):
    layers = [cl.Conv(32, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.Conv(32, 3, padding=1)]
    net = cl.Sequential(layers, input_shape=(16, 16, 32))
    table = rows(capsys, net.for_inference(), 64)
    assert [row[:2] for row in table] == [("0: Conv(32, 3)", "forward"), ("2: Conv(32, 3)", "forward")]
    assert {row[2] for row in table} == {"F(4x4, 3x3)"}


def test_the_program_of_a_net_made_for_inference(capsys):
    layers = [cl.Conv(8, 3), cl.ReLU(), cl.MaxPool(2), cl.Residual([cl.Conv(8, 1)]), cl.Softplus(), cl.Flatten()]
    net = cl.Sequential([*layers, cl.Affine(3)], input_shape=(6, 6, 2), rng=0).for_inference()
    cl.show_plan(net, 2)
    assert capsys.readouterr().out.split("\n\n", 1)[1] == (
        "call            of what lies at  gives shape   at\n"
        "-------------------------------------------------------\n"
        "conv, direct    x                (2, 4, 4, 8)  0\n"
        "max pool        0                (2, 2, 2, 8)  1,024\n"
        "conv, direct    1,024, 1,024     (2, 2, 2, 8)  an array\n"
        "Softplus()      an array         (2, 2, 2, 8)  an array\n"
        "affine, direct  an array         (2, 3)        y\n\n"
        "arena: 1,280 bytes\n"
    )
    assert str(net.plan).splitlines()[-1] == "arena: 81,920 bytes"
    cl.show_plan(cl.Sequential([cl.Flatten()], input_shape=(4,)).for_inference(), 2)
    assert capsys.readouterr().out.endswith("there is no program: no kernel computes any of it\n")


def test_a_layer_by_itself_has_no_number(capsys):
    layer = cl.Conv(6, 5)
    layer.build((9, 9, 1))
    assert [row[0] for row in rows(capsys, layer)] == ["Conv(6, 5)"] * 3


def test_a_net_without_convolutions(capsys):
    assert rows(capsys, cl.Sequential([cl.Flatten(), cl.ReLU()], input_shape=(4,))) == []


def test_a_matrix_that_is_large_beside_the_batch(capsys):
    table = rows(capsys, cl.Sequential([cl.Affine(64)], input_shape=(8192,)), 16)
    assert [row[2:] for row in table] == [
        ("stretched", "W is 8192x64, cut along the sum"),
        ("turned", "dy is packed, and meets all rows of W"),
        ("direct", "x and dy meet where they lie"),
    ]


def test_one_filter_per_channel(capsys):
    table = rows(capsys, cl.Sequential([cl.Conv(24, 3, groups=24)], input_shape=(8, 8, 24)))
    assert [row[2:] for row in table] == [("depthwise", "one filter per channel")] * 3


def test_what_turns_winograd_off_is_told(capsys):
    def why(dtype):
        net = cl.Sequential([cl.Conv(32, 3)], input_shape=(16, 16, 32), dtype=dtype)
        return {row[2:] for row in rows(capsys, net, 64)}

    assert why(np.float64) == {("direct", "float64 is for precision")}
    cl.set_precision("exact")
    assert why(np.float32) == {("direct", 'set_precision("exact")')}


def test_it_says_what_is_done(capsys):
    """The bits are those of the algorithm in the table."""
    x = np.random.default_rng(0).standard_normal((64, 8, 8, 32)).astype(np.float32)
    for algorithm in ("auto", "direct", "winograd"):
        net = cl.Sequential([cl.Conv(32, 3, padding=1, algorithm=algorithm)], input_shape=(8, 8, 32), rng=0)
        side = {"direct": 0, "F(2x2, 3x3)": 2, "F(4x4, 3x3)": 4}[rows(capsys, net, 64)[0][2]]
        layer = net[0]
        y = cl._kernels.conv_forward(x, *layer.params.values(), layer.window((8, 8, 32)), False, None, side)
        assert net.predict(x).tobytes() == y.tobytes()


def test_leaps_over_padding_are_told(capsys):
    net = cl.Sequential([cl.Conv(2, 3, stride=400, padding=1500, algorithm="direct")], input_shape=(8, 8, 4))
    assert {row[2:] for row in rows(capsys, net, 1)} == {("im2col", "almost nothing but padding")}


def test_it_changes_nothing(capsys):
    net = cl.Sequential([cl.Conv(32, 3)], input_shape=(16, 16, 32), rng=0)
    x = np.ones((2, 16, 16, 32), np.float32)
    y, before = net.forward(x), net.flat_params.copy()
    cl.show_plan(net)
    assert net.backward(y).shape == x.shape
    np.testing.assert_array_equal(net.flat_params, before)


def test_a_net_that_is_not_built():
    with pytest.raises(RuntimeError, match="Sequential is not built yet"):
        cl.show_plan(cl.Sequential([cl.Conv(3, 3)]))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one(batch_size):
    net = cl.Sequential([cl.Conv(3, 3)], input_shape=(8, 8, 1))
    with pytest.raises(ValueError, match=f"show_plan: batch_size must be 1 or more; got {batch_size}"):
        cl.show_plan(net, batch_size)


@pytest.mark.parametrize("batch_size", [True, 2.0, "8", None])
def test_a_batch_size_that_is_no_int(batch_size):
    net = cl.Sequential([cl.Conv(3, 3)], input_shape=(8, 8, 1))
    with pytest.raises(TypeError, match=f"show_plan: batch_size must be an int; got {batch_size!r}"):
        cl.show_plan(net, batch_size)
