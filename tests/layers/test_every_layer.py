"""The questions that every layer must answer, asked of all in the same order."""

import copy
import itertools
import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.look import summary
from tests.html import words_of, words_of_text
from tests.layers.common import CASES, LAYOUTS, ONE_PIXEL, batch, built, data, gradient_for, odd, step
from tests.marks import both_dtypes, by_turns

every_layer = pytest.mark.parametrize("name", CASES)
# The guards around every layer (layers/guards.py) are asked all questions on three layers, and some on each.
three_layers = pytest.mark.parametrize("name", ["Affine", "Conv on images", "Residual"])


def same(a, b):
    """Whether two results of `step` hold the same bits."""
    for one, other in zip(a[:2], b[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert a[2].keys() == b[2].keys()
    for name in a[2]:
        np.testing.assert_array_equal(a[2][name], b[2][name])


def test_the_table_has_every_layer():
    layers = {cls for cls in vars(cl).values() if isinstance(cls, type) and issubclass(cls, cl.Layer)} - {cl.Layer}
    assert {type(factory()) for factory, _ in CASES.values()} == layers


# Gradients


@every_layer
@pytest.mark.parametrize("train", [True, False])
def test_gradients_agree_with_numeric_ones(name, train):
    report = cl.gradcheck(built(name), data(name), train=train)
    assert report.ok, report
    assert not any(report.kinks.values())


@every_layer
def test_gradients_of_a_frozen_layer_agree_with_numeric_ones(name):
    layer = built(name)
    layer.trainable = False
    report = cl.gradcheck(layer, data(name, seed=3))
    assert report.ok, report


@every_layer
def test_backward_overwrites_gradients_and_does_not_add(name):
    layer, other = built(name), built(name)
    x = data(name)
    layer.forward(x, train=False)
    y = layer.forward(x, train=False)
    layer.backward(gradient_for(y, seed=1))
    layer.forward(x, train=False)
    layer.backward(gradient_for(y))
    other.forward(x, train=False)
    other.backward(gradient_for(y))
    np.testing.assert_array_equal(layer.flat_grads, other.flat_grads)


@every_layer
def test_gradients_are_sums_over_the_batch(name):
    layer, x = built(name), data(name)
    y = layer.forward(x, train=False)
    dy = gradient_for(y)
    layer.backward(dy)
    whole = layer.flat_grads.copy()
    parts = np.zeros_like(whole)
    for i in range(len(x)):
        layer.forward(x[i : i + 1], train=False)
        layer.backward(dy[i : i + 1])
        parts += layer.flat_grads
    np.testing.assert_allclose(whole, parts, rtol=1e-12, atol=1e-12)


@every_layer
def test_without_the_input_gradient_the_rest_is_the_same(name):
    layer, other, x = built(name), built(name), data(name)
    y = layer.forward(x)
    assert layer.backward(gradient_for(y), input_grad=False) is None
    other.forward(x)
    assert other.backward(gradient_for(y)) is not None
    np.testing.assert_array_equal(layer.flat_grads, other.flat_grads)


# dtype


@by_turns("name", CASES)
def test_an_odd_input_gives_the_answer_of_a_plain_one(name, dtype):
    """Of the other dtype, byte-swapped, with gaps, read-only: x and dy alike."""
    layer, other = built(name, dtype), built(name, dtype)
    x = data(name, dtype=np.float32)
    dy = gradient_for(np.empty((3, *layer.output_shape(CASES[name][1])), np.float32))
    y, dx, grads = layer.forward(odd(x, dtype)), layer.backward(odd(dy, dtype)), layer.grads
    same((y, dx, grads), (other.forward(x.astype(dtype)), other.backward(dy.astype(dtype)), other.grads))
    assert {y.dtype, dx.dtype, *(grad.dtype for grad in grads.values())} == {np.dtype(dtype)}
    np.testing.assert_array_equal(layer.predict(odd(x, dtype)), other.predict(x.astype(dtype)))


@three_layers
@both_dtypes
@pytest.mark.parametrize(
    "given", ["float16", "float32", "float64", "longdouble", "int8", "uint8", "int64", "uint64", "bool", "list"]
)
def test_the_dtype_is_the_layers_whatever_comes_in(name, dtype, given):
    x = np.random.default_rng(0).integers(0, 100, (3, *CASES[name][1]))
    x = x / 10 if given.startswith(("float", "long")) else x
    x = x > 50 if given == "bool" else x
    x = x.tolist() if given == "list" else x.astype(given)
    result = step(built(name, dtype), x)
    same(result, step(built(name, dtype), np.asarray(x).astype(dtype)))
    y, dx, grads = result
    assert {y.dtype, dx.dtype, *(grad.dtype for grad in grads.values())} == {np.dtype(dtype)}


@three_layers
@both_dtypes
def test_the_dtype_of_dy_does_not_matter(name, dtype):
    layer = built(name, dtype)
    y = layer.forward(data(name, dtype=dtype))
    dy = np.random.default_rng(0).integers(-9, 9, y.shape)
    results = []
    for given in (dy.astype(dtype), dy.astype(np.float16), dy, dy.tolist(), dy.astype(np.float64)):
        other = built(name, dtype)
        other.forward(data(name, dtype=dtype))
        results.append((y, other.backward(given), dict(other.grads)))
        assert results[-1][1].dtype == dtype
    for result in results[1:]:
        same(result, results[0])


@every_layer
def test_float32_and_float64_agree(name):
    results = {}
    for dtype in (np.float32, np.float64):
        layer = built(name).astype(dtype)
        results[dtype] = step(layer, data(name))
        arrays = [a for d in (layer.params, layer.grads, layer.state) for a in d.values()]
        assert {a.dtype for a in (*arrays, *results[dtype][:2], layer.predict(data(name)))} == {np.dtype(dtype)}
    (y32, dx32, _), (y64, dx64, _) = results.values()
    np.testing.assert_allclose(y32, y64, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dx32, dx64, rtol=1e-3, atol=1e-4)


@every_layer
def test_an_unbuilt_layer_builds_itself_in_float32(name):
    for n in (3, 0):
        layer = CASES[name][0]()
        assert not layer.built
        y = layer.forward(data(name, n))
        assert layer.built
        assert y.dtype == np.float32
        assert y.shape == (n, *layer.output_shape(CASES[name][1]))


# Inputs


@every_layer
def test_inputs_are_not_written_to(name):
    layer, x = built(name), data(name)
    kept = x.copy()
    y = layer.forward(x)
    dy = gradient_for(y)
    dy_kept = dy.copy()
    layer.backward(dy)
    layer.forward(x, train=False)
    layer.backward(dy)
    layer.predict(x)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, dy_kept)


@three_layers
@both_dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_answer_of_the_contiguous_copy(name, dtype, layout, tmp_path):
    x = LAYOUTS[layout](data(name, dtype=dtype), tmp_path)
    layer, other = built(name, dtype), built(name, dtype)
    y = layer.forward(x)
    dy = LAYOUTS[layout](gradient_for(y), tmp_path)
    dx = layer.backward(dy)
    y_copy = other.forward(np.array(x, dtype, order="C"))
    dx_copy = other.backward(np.array(dy, dtype, order="C"))
    same((y, dx, layer.grads), (y_copy, dx_copy, other.grads))
    np.testing.assert_array_equal(layer.predict(x), other.predict(np.array(x, dtype, order="C")))


@every_layer
def test_an_input_that_does_not_fit_is_refused(name):
    x, layers = data(name), (CASES[name][0](), built(name))
    for layer, call in itertools.product(layers, ("forward", "predict")):
        before = layer.built
        with pytest.raises(ValueError, match=re.escape(f"{layer.who} needs")):
            getattr(layer, call)(3.0)
        with pytest.raises(ValueError, match=re.escape(f"{layer.who} needs an array of numbers; got list")):
            getattr(layer, call)([[1.0], [1.0, 2.0]])
        with pytest.raises(TypeError, match=re.escape(f"{layer.who} needs real numbers")):
            getattr(layer, call)(x + 1j)
        assert layer.built == before
    for wrong in (x[..., np.newaxis], x[0, ..., 0]):
        with pytest.raises(ValueError, match=f"{type(layer).__name__}|Conv"):  # a container names the layer within
            layer.forward(wrong)


@three_layers
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("complex128", 1j),
        ("object", None),
        ("<U1", "a"),
        ("|S1", b"a"),
        ("datetime64[s]", np.datetime64(0, "s")),
        ("[('a', '<f8')]", np.zeros((), [("a", "<f8")])),
    ],
)
@pytest.mark.parametrize("call", ["forward", "predict", "backward"])
def test_what_is_no_real_number_is_refused(name, kind, values, call):
    layer = built(name)
    shape = (3, *CASES[name][1]) if call != "backward" else layer.forward(data(name)).shape
    bad = np.full(shape, values, dtype=np.asarray(values).dtype)
    with pytest.raises(TypeError, match=re.escape(f"{layer.who} needs real numbers")) as caught:
        getattr(layer, call)(bad)
    assert f"got dtype {kind}" in str(caught.value)


@every_layer
def test_nan_comes_through_or_is_dropped_but_never_breaks(name):
    layer, x = built(name), data(name)
    x[0] = np.nan
    y = layer.forward(x, train=False)
    assert np.isnan(y[0]).any()
    assert np.isfinite(y[1:]).all()  # samples do not see each other
    assert layer.backward(gradient_for(y)).shape == x.shape


# Batch sizes


@by_turns("name", CASES)
def test_an_empty_batch(name, dtype):
    layer = built(name, dtype)
    step(layer, data(name))  # gradients of before must not stay
    state = layer.flat_state.copy()
    for train in (True, False):
        y, dx, _ = step(layer, np.zeros((0, *CASES[name][1])), train=train)
        assert y.shape == (0, *layer.output_shape(CASES[name][1]))
        assert dx.shape == (0, *CASES[name][1])
        assert {y.dtype, dx.dtype} == {np.dtype(dtype)}
        np.testing.assert_array_equal(layer.flat_grads, 0)
    np.testing.assert_array_equal(layer.flat_state, state)
    assert layer.predict(np.zeros((0, *CASES[name][1]))).shape == y.shape


@every_layer
def test_a_batch_of_one_is_a_row_of_a_larger_batch(name):
    layer, x = built(name), data(name, n=4)
    together = layer.predict(x)
    for i in range(4):
        np.testing.assert_allclose(layer.predict(x[i : i + 1]), together[i : i + 1], rtol=1e-12, atol=1e-12)
    y, dx, grads = step(built(name), x[:1])  # and can be trained on
    for array in (y, dx, *grads.values()):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", ONE_PIXEL)
def test_images_of_one_pixel(name):
    for n in (1, 3):
        layer = ONE_PIXEL[name]()
        layer.build((1, 1, 3), rng=0, dtype=np.float64)
        report = cl.gradcheck(layer, batch(n, 1, 1, 3))
        assert report.ok, report


@pytest.mark.parametrize("name", ["MaxPool", "AvgPool", "GlobalAvgPool", "GlobalMaxPool", "Flatten"])
def test_one_pixel_pools_to_itself(name):
    x = batch(3, 1, 1, 3)
    np.testing.assert_array_equal(ONE_PIXEL[name]().forward(x).reshape(3, 3), x.reshape(3, 3).astype(np.float32))


# The protocol


@every_layer
def test_dy_of_the_wrong_shape_is_refused_and_the_right_one_still_taken(name):
    layer, other = built(name), built(name)
    y = layer.forward(data(name))
    dy = gradient_for(y)
    for wrong in (dy[:-1], dy[..., :-1], dy[..., np.newaxis], dy.reshape(-1, 1), np.array(1.0)):
        if wrong.shape != dy.shape:
            with pytest.raises(ValueError, match=re.escape(f"{layer.who}: dy must have the shape of y, {y.shape}")):
                layer.backward(wrong)
    other.forward(data(name))
    np.testing.assert_array_equal(layer.backward(dy), other.backward(dy))


@every_layer
def test_backward_needs_a_forward(name):
    layer = built(name)
    y = layer.predict(data(name))
    message = re.escape(f"{layer.who}: backward() needs a forward() before it")
    with pytest.raises(RuntimeError, match=message):
        layer.backward(y)
    layer.forward(data(name))
    layer.backward(y)
    with pytest.raises(RuntimeError, match=message):
        layer.backward(y)
    with pytest.raises(RuntimeError, match=message):
        CASES[name][0]().backward(y)


@every_layer
def test_predict_is_forward_at_inference_and_writes_nothing(name):
    layer, other, x = built(name), built(name), data(name)
    y = layer.forward(x)  # running statistics move
    other.forward(x)
    draws = [part.rng.bit_generator.state for _, part in layer.walk() if part.random]
    flat = [a.copy() for a in (layer.flat_params, layer.flat_grads, layer.flat_state)]
    more = data(name, n=5, seed=1)
    predicted = layer.predict(more)
    assert [part.rng.bit_generator.state for _, part in layer.walk() if part.random] == draws
    for before, after in zip(flat, (layer.flat_params, layer.flat_grads, layer.flat_state), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(layer.backward(gradient_for(y)), other.backward(gradient_for(y)))
    np.testing.assert_array_equal(layer.flat_grads, other.flat_grads)
    np.testing.assert_array_equal(predicted, layer.forward(more, train=False))


@every_layer
def test_no_returned_array_is_overwritten_by_later_calls(name):
    layer = built(name)
    held, copies = [], []
    for seed in range(3):
        x = data(name, seed=seed)
        y = layer.forward(x)
        arrays = [y, layer.backward(gradient_for(y, seed)), layer.predict(x), layer.forward(x, train=False)]
        held += arrays
        copies += [a.copy() for a in arrays]
        layer.flat_params[...] += 0.1  # as an optimiser does
    for array, kept in zip(held, copies, strict=True):
        np.testing.assert_array_equal(array, kept)


@every_layer
def test_output_shape_is_pure_and_true(name):
    factory, shape = CASES[name]
    layer = factory()
    promised = layer.output_shape(shape)
    assert not layer.built
    assert layer.build(shape, rng=0) == promised
    assert layer.forward(data(name)).shape == (3, *promised)
    assert all(type(size) is int for size in promised)


@every_layer
def test_the_same_seed_builds_the_same_layer(name):
    factory, shape = CASES[name]
    one, same_one, other = factory(), factory(), factory()
    one.build(shape, rng=1)
    same_one.build(shape, rng=1)
    other.build(shape, rng=2)
    np.testing.assert_array_equal(one.flat_params, same_one.flat_params)
    same(step(one, data(name)), step(same_one, data(name)))
    if "W" in "".join(one.params):
        assert not np.array_equal(one.flat_params, other.flat_params)


@every_layer
def test_config_and_repr_make_an_equal_layer(name):
    layer = CASES[name][0]()
    expected = step(built(name), data(name))
    for twin in (type(layer)(**copy.deepcopy(layer.config())), eval(repr(layer), vars(cl).copy())):
        assert type(twin) is type(layer)
        assert not twin.built
        assert repr(twin) == repr(layer)
        twin.build(CASES[name][1], rng=7, dtype=np.float64)
        same(step(twin, data(name)), expected)


@every_layer
def test_a_copy_is_equal_and_independent(name):
    layer, x = built(name), data(name)
    step(layer, x)
    twin = layer.copy()
    for one, other in (
        (layer.flat_params, twin.flat_params),
        (layer.flat_grads, twin.flat_grads),
        (layer.flat_state, twin.flat_state),
    ):
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)
    before = layer.predict(x)
    with pytest.raises(RuntimeError, match=re.escape("backward() needs a forward() before it")):
        twin.backward(before)
    same(step(layer, x), step(twin, x))  # and the same random draws
    before = layer.predict(x)
    twin.flat_params[...] += 1
    step(twin, data(name, seed=3))
    np.testing.assert_array_equal(layer.predict(x), before)


@every_layer
def test_params_are_views_of_the_flat_arrays(name):
    layer = built(name)
    for arrays, flat in (
        (layer.params, layer.flat_params),
        (layer.grads, layer.flat_grads),
        (layer.state, layer.flat_state),
    ):
        assert sum(a.size for a in arrays.values()) == flat.size
        np.testing.assert_array_equal(np.concatenate([flat[:0], *(a.ravel() for a in arrays.values())]), flat)
        assert all(np.shares_memory(a, flat) for a in arrays.values())
    assert {key: a.shape for key, a in layer.grads.items()} == {key: a.shape for key, a in layer.params.items()}


@every_layer
def test_a_layer_does_the_same_within_a_net(name):
    factory, shape = CASES[name]
    net = cl.Sequential([cl.Tanh(), factory()], input_shape=shape, rng=0, dtype=np.float64)
    alone = net[1].copy()
    y, _, grads = step(net, data(name))
    y_alone, _, grads_alone = step(alone, cl.kernels.tanh(data(name)))
    np.testing.assert_array_equal(y, y_alone)
    assert grads.keys() == {f"1.{key}" for key in grads_alone}
    for key, grad in grads_alone.items():
        np.testing.assert_array_equal(grads[f"1.{key}"], grad)


# In a notebook


@every_layer
def test_a_notebook_shows_the_summary(name):
    layer, new = built(name), CASES[name][0]()
    assert words_of(layer._repr_html_()) == words_of_text(summary.table(layer))
    assert (new._repr_html_() is None) == (not new.children())
