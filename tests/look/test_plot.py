"""Pictures: each shows the numbers it was given, draws without pyplot, and leaves the user's settings as they are."""

import io
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.look import insight, plot
from cnnlayers.look.plot import style

matplotlib = pytest.importorskip("matplotlib")
imread = pytest.importorskip("matplotlib.image").imread


@pytest.fixture(autouse=True)
def settings_stay_as_they_are():
    """The user's own settings, odd ones, neither matter nor change."""
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "axes.spines.top": True}):
        before = settings()
        yield
        assert settings() == before


def settings():
    """All but the backend: matplotlib looks for one when it is asked which."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


@pytest.fixture(scope="module")
def digits():
    return cl.datasets.digits()


@pytest.fixture(scope="module")
def net(digits):
    net = cl.models.digits_cnn(rng=0)
    solver = cl.Solver(net, digits.train, loss=cl.SoftmaxLoss(), optimizer=cl.Adam(), progress=False)
    solver.train(epochs=1)
    return net


def history_of(epochs=4, steps=8):
    history = cl.History()
    for i in range(epochs):
        accuracy = 1 - 0.5 / (i + 1)
        val_loss = 0.5 + abs(i - 1) / 10
        history.append(
            train_loss=1 / (i + 1),
            train_accuracy=accuracy,
            val_loss=val_loss,
            val_accuracy=accuracy,
            lr=0.1,
            seconds=1.0,
        )
    history.steps["loss"] = list(np.linspace(2, 0.2, epochs * steps))
    return history


def drawn(fig):
    """Draw it in full; the size of the picture in pixels."""
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())
    assert pixels[..., :3].std() > 1  # there is something on it
    return pixels.shape


def words(fig):
    """Every text on it, in the order of drawing."""
    return [text.get_text() for ax in fig.axes for text in ax.texts]


def shown(fig):
    """The images on it."""
    return [np.asarray(image.get_array()) for ax in fig.axes for image in ax.images]


# Training


def test_curves_have_a_panel_for_each_thing_and_a_line_for_each_part():
    history = history_of()
    fig = plot.curves(history)
    drawn(fig)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["loss", "accuracy", "learning rate"]
    loss = [line.get_ydata() for line in fig.axes[0].lines]
    for values in (history["train_loss"], history["val_loss"], history.steps["loss"]):
        assert any(len(line) == len(values) and np.allclose(line, values) for line in loss)
    assert {"train", "val", "best: epoch 2\n0.5"} <= set(words(fig))
    assert fig.axes[2].lines[0].get_ydata().tolist() == history["lr"]


def test_the_steps_lie_between_the_epochs_that_they_make():
    fig = plot.curves(history_of(epochs=4, steps=8))
    (steps,) = (line for line in fig.axes[0].lines if len(line.get_xdata()) == 32)
    assert steps.get_xdata()[7] < 1 < steps.get_xdata()[8]
    assert steps.get_xdata()[-1] < 4


def test_many_steps_are_averaged():
    history = history_of()
    history.steps["loss"] = list(np.tile([1.0, 3.0], 20_000))
    fig = plot.curves(history)
    longest = max(fig.axes[0].lines, key=lambda line: len(line.get_xdata()))
    assert 1000 < len(longest.get_xdata()) <= 1500
    np.testing.assert_allclose(longest.get_ydata(), 2, atol=0.1)


def test_curves_of_one_epoch_without_validation():
    history = cl.History()
    history.append(train_loss=1.0)
    fig = plot.curves(history)
    drawn(fig)
    assert words(fig) == ["train"]


def test_curves_of_a_run_that_went_wrong():
    history = history_of(epochs=3)
    history.epochs["val_loss"] = [float("nan")] * 3
    fig = plot.curves(history)
    drawn(fig)
    assert not any("best" in text for text in words(fig))


def test_curves_with_a_metric_of_ones_own():
    history = history_of()
    history.epochs["train_recall"] = history["train_accuracy"]
    assert [ax.get_title(loc="left") for ax in plot.curves(history).axes][2] == "recall"


def test_a_notebook_shows_a_figure_by_itself():
    fig = cl.plot.curves(history_of())
    assert isinstance(fig, matplotlib.figure.Figure)
    png = fig._repr_png_()
    pixels = imread(io.BytesIO(png), format="png")
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10
    formatter = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed").DisplayFormatter()
    assert formatter.format(fig)[0]["image/png"] == png
    assert pickle.loads(pickle.dumps(fig))._repr_png_() == png


def test_lr_find_shows_the_sweep_and_where_to_begin():
    rates = np.geomspace(1e-5, 1, 30)
    losses = np.concatenate([np.full(15, 2.0), np.linspace(2, 1, 10), [3, 9, 30, 90, 300.0]])
    fig = plot.lr_find(types.SimpleNamespace(rates=rates, losses=losses, suggestion=0.01))
    drawn(fig)
    (ax,) = fig.axes
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), losses)
    assert "begin with 0.01" in words(fig)
    assert ax.get_ylim()[1] < 3  # the end, where the loss blows up, does not hide the rest
    fig = plot.lr_find(types.SimpleNamespace(rates=rates, losses=losses, suggestion=None))
    drawn(fig)
    assert "begin with" not in str(words(fig))


# Tables


def test_confusion_writes_the_counts(net, digits):
    x, y = digits.test
    fig = plot.confusion(net, x, y)
    drawn(fig)
    counts = insight.confusion(net, x, y)
    told = words(fig)
    written = sorted(int(text) for text in told[1:] if text.isdigit())
    assert written == sorted([*counts[counts > 0].tolist(), *range(10), *range(10)])
    assert f"{np.trace(counts)} of 360 right" in told
    assert f"{insight.row_shares(counts)[3, 3]:.1%}" in told


def test_names_of_classes_are_taken_as_they_are():
    net = cl.Sequential([cl.Flatten()], input_shape=(2,))
    net.classes = ("$x^2$", "a very long name of a class")
    fig = plot.confusion(net, [[1.0, 2.0], [2.0, 1.0]], [0, 1])
    drawn(fig)
    assert "$x^2$" in words(fig)
    assert "a very long nam…" in words(fig)
    assert not any(text.get_parse_math() for ax in fig.axes for text in ax.texts)


def test_a_hundred_classes():
    rng = np.random.default_rng(0)
    net = cl.Sequential([cl.Flatten()], input_shape=(100,))
    fig = plot.confusion(net, rng.normal(size=(500, 100)), rng.integers(0, 100, 500))
    height, width, _ = drawn(fig)
    assert max(height, width) < 1200
    assert len(words(fig)) < 30


def test_weights_has_a_row_for_each_layer_and_a_column_for_gradients(net, digits):
    fig = plot.weights(net)
    drawn(fig)
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1: Conv", "3: Conv", "7: Affine", "9: Affine"]
    x, y = digits.train
    fig = plot.weights(net, insight.gradients(net, x[:32], y[:32], cl.SoftmaxLoss()))
    drawn(fig)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["weights", "gradients, by size"]
    drawn(plot.weights(net, True))


def test_weights_of_a_new_net_have_gradients_of_zero():
    fig = plot.weights(cl.models.linear(rng=0), True)
    drawn(fig)
    assert "all zero" in words(fig)


# Images


def test_filters_in_grey_share_one_scale(net):
    fig = plot.filters(net)
    drawn(fig)
    w = net.params["1.W"]
    tiles = shown(fig)
    assert [tile.shape for tile in tiles] == [(3, 3)] * 16
    for f, tile in enumerate(tiles):
        np.testing.assert_allclose(tile, 0.5 + w[:, :, 0, f] / (2 * np.abs(w).max()), rtol=1e-6)


def test_filters_in_colour_and_of_many_channels():
    colour = cl.Sequential([cl.Conv(5, 3)], input_shape=(8, 8, 3), rng=0)
    tiles = shown(plot.filters(colour))
    assert [tile.shape for tile in tiles] == [(3, 3, 3)] * 5
    assert 0 <= min(map(np.min, tiles)) < max(map(np.max, tiles)) <= 1
    many = cl.Sequential([cl.Conv(20, 3)], input_shape=(8, 8, 4), rng=0)
    assert len(shown(plot.filters(many, most=30))) == 30
    assert "the first 30 of 80 pictures" in words(plot.filters(many, most=30))[1]


def test_activations_are_the_maps_of_the_layer(net, digits):
    x = digits.test[0][:1]
    fig = plot.activations(net, x, "2")
    drawn(fig)
    maps = insight.outputs(net, x)["2"][0]
    for k, tile in enumerate(shown(fig)):
        np.testing.assert_array_equal(tile, maps[..., k])
    assert len(shown(fig)) == 16
    assert len(shown(plot.activations(net, x[0]))) == 32  # the last layer that gives images
    assert words(plot.activations(net, x, net[9]))[0] == "layer 9: Affine(10)"


def test_mistakes_say_what_was_what(net, digits):
    x, y = digits.test
    fig = plot.mistakes(net, x, y, count=5)
    drawn(fig)
    found = insight.hardest(net, x, y, count=5)
    for index, tile in zip(found.index, shown(fig), strict=True):
        np.testing.assert_allclose(tile, x[index, :, :, 0] / 16)
    told = words(fig)[2:]  # after the title
    for k, (answer, below) in enumerate(zip(told[::2], told[1::2], strict=True)):
        assert answer == f"{found.predicted[k]}, {found.probability[k]:.0%}"
        wrong = f"true: {found.label[k]}, {found.true_probability[k]:.0%}"
        assert below == (wrong if found.label[k] != found.predicted[k] else "right")


def test_saliency_and_grad_cam_stand_below_the_images(net, digits):
    x = digits.test[0][:3]
    fig = plot.saliency(net, x)
    drawn(fig)
    maps = insight.saliency(net, x)
    for k in range(3):
        np.testing.assert_allclose(shown(fig)[2 * k + 1], maps[k] / maps[k].max())
    fig = plot.grad_cam(net, x, target=3, classes=[f"class {i}" for i in range(10)])
    drawn(fig)
    cam = insight.grad_cam(net, x, target=3)
    veil = shown(fig)[2][..., 3]
    np.testing.assert_allclose(veil / veil.max(), cam[0] / cam[0].max(), rtol=1e-6)
    assert words(fig).count("class 3") == 3
    drawn(plot.evidence(net, x[0]))


def test_pictures_of_photographs_and_other_arrays():
    net = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(2)], input_shape=(8, 6, 3), rng=0)
    rng = np.random.default_rng(0)
    photographs = rng.integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
    drawn(plot.evidence(net, photographs))
    np.testing.assert_allclose(shown(plot.mistakes(net, photographs[:1], [0]))[0], photographs[0] / 255)
    (tile,) = shown(plot.mistakes(net, rng.normal(size=(1, 8, 6, 3)), [0]))
    assert (tile.min(), tile.max()) == (0, 1)


def test_signals_have_filters_and_activations():
    net = cl.Sequential([cl.Conv(5, 7), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(2)], input_shape=(40, 3), rng=0)
    assert [tile.shape for tile in shown(plot.filters(net))] == [(3, 7)] * 5
    fig = plot.activations(net, np.ones((40, 3)), "1")
    drawn(fig)
    assert shown(fig)[0].shape == (5, 34)


# The house


def test_pyplot_is_not_needed():
    program = "import sys, cnnlayers as cl; cl.plot.filters(cl.models.linear(rng=0)).canvas.draw(); "
    program += "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr


def test_labels_keep_apart_and_near_their_places():
    assert style.apart([1.0, 5.0], 1.0) == [1.0, 5.0]
    assert style.apart([2.0, 2.0], 1.0) == [1.5, 2.5]
    assert style.apart([3.0, 2.5], 1.0) == [3.25, 2.25]


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'plot\.curves needs matplotlib: pip install "cnnlayers\[plot\]"'):
        plot.curves(history_of())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: plot.curves(cl.History()), "curves needs a history of at least one epoch"),
        (
            lambda net, x: plot.lr_find(types.SimpleNamespace(rates=[1, 2], losses=[1], suggestion=1)),
            r"as many losses as rates, at least two; got \(2,\) rates, \(1,\) losses",
        ),
        (lambda net, x: plot.confusion(net, x, [0] * 5, classes=["a"]), "all 10 classes of the net; got 1"),
        (lambda net, x: plot.activations(net, x), r"one image is needed.*got shape \(5, 8, 8, 1\)"),
        (lambda net, x: plot.activations(net, x[0], "conv"), "activations: the net has no layer 'conv'"),
        (lambda net, x: plot.saliency(net, x[:0]), r"images \(N, H, W, C\) are needed, at least one"),
        (lambda net, x: plot.mistakes(net, x, [0] * 4), "need labels"),
        (lambda net, x: plot.weights(cl.Sequential([cl.ReLU()], input_shape=(2,))), "needs a net with weights"),
        (lambda net, x: plot.weights(net, {"1.W": np.ones(3)}), "3.W.*are missing"),
    ],
)
def test_errors_say_what_is_wrong(call, message, net, digits):
    with pytest.raises(ValueError, match=message):
        call(net, digits.test[0][:5])


def test_pictures_of_a_net_that_ends_in_one_sigmoid():
    x, y = np.zeros((3, 5, 5, 1)), [0, 1, 1]
    net = cl.Sequential([cl.Conv(2, 3), cl.Flatten(), cl.Affine(1), cl.Sigmoid()], input_shape=(5, 5, 1), rng=0)
    net.params["2.b"][...] = np.log(4)  # p = 0.8
    net.classes = ("dog", "cat")
    said = {text.get_text() for ax in plot.mistakes(net, x, y).axes for text in ax.texts}
    assert {"cat, 80%", "true: dog, 20%", "right"} <= said
    said = {text.get_text() for ax in plot.evidence(net, x[:1]).axes for text in ax.texts}
    assert {"cat", "80%"} <= said
    plot.confusion(net, x, y)
    net.classes = ("cat",)
    assert "not cat" in {text.get_text() for ax in plot.confusion(net, x, y).axes for text in ax.texts}
