"""The protocol of a layer, on small layers of a user's own."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.config import REGISTRY
from cnnlayers.layers.layer import Layer


class Scale(Layer):
    """y = s x, one s per feature, with a count of the samples seen as its state."""

    def __init__(self, init="ones", offset=0.0):
        self.init = init
        self.offset = offset

    def allocate(self, input_shape):
        self.add_param("s", input_shape, self.init)
        self.add_state("seen", (1,))

    def forward(self, x, train=True):
        self.keep(x)
        if train:
            self.state["seen"] += len(x)
        return x * self.params["s"] + self.offset

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        self.grads["s"][...] = (dy * x).sum(axis=0)
        return dy * self.params["s"]


class Nothing(Layer):
    """A layer that defines nothing."""


def scale(*shape, dtype=np.float64, **options):
    layer = Scale(**options)
    layer.build(shape or (3,), rng=0, dtype=dtype)
    return layer


# By hand


def test_a_layer_of_ones_own_by_hand():
    layer = scale(3)
    layer.params["s"] = [1, 2, 3]
    np.testing.assert_array_equal(layer.forward([[1, 1, 1], [2, 0, -1]]), [[1, 2, 3], [2, 0, -3]])
    np.testing.assert_array_equal(layer.backward([[1, 1, 1], [1, 1, 1]]), [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(layer.grads["s"], [3, 1, 0])
    np.testing.assert_array_equal(layer.state["seen"], [2])


def test_a_layer_of_ones_own_is_right_by_gradcheck():
    assert cl.gradcheck(Scale(), np.random.default_rng(0).standard_normal((4, 3))).ok


def test_a_layer_of_ones_own_trains_in_a_net():
    net = cl.Sequential([Scale(), cl.Affine(2)], input_shape=(3,), rng=0)
    assert list(net.params) == ["0.s", "1.W", "1.b"]
    x, loss = np.random.default_rng(0).standard_normal((8, 3)), cl.SoftmaxLoss()
    target = (x[:, 0] > 0).astype(int)
    values = []
    for _ in range(20):
        values.append(loss.forward(net.forward(x), target))
        net.backward(loss.backward(), input_grad=False)
        net.flat_params[...] -= 0.5 * net.flat_grads
    assert values[-1] < values[0] / 2


def test_a_layer_of_a_users_own_does_not_enter_the_registry():
    assert "Scale" not in {name for name, cls in REGISTRY.items() if cls is Scale}
    assert REGISTRY["Affine"] is cl.Affine


# What a subclass must define


def test_a_layer_that_defines_nothing_says_so():
    with pytest.raises(NotImplementedError, match=r"Nothing defines no forward\(x, train=True\)"):
        Nothing().forward([[1.0]])
    with pytest.raises(NotImplementedError, match="Nothing defines no backward"):
        Nothing().backward([[1.0]])


def test_an_argument_without_its_attribute_is_named():
    class Forgets(Scale):
        def __init__(self, power):
            super().__init__()

    with pytest.raises(TypeError, match="Forgets keeps no attribute 'power'"):
        Forgets(2).config()


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Scale()) == "Scale()"
    assert repr(Scale(offset=2.0)) == "Scale(offset=2.0)"
    assert repr(cl.Affine(10)) == "Affine(10)"
    assert repr(cl.Affine(10, bias=False)) == "Affine(10, bias=False)"


def test_an_output_of_another_shape_than_promised_is_told():
    class Promises(Scale):
        def forward(self, x, train=True):
            return x[:, :2]

    with pytest.raises(ValueError, match=r"forward gave shape \(1, 2\), but output_shape promises \(1, 3\)"):
        Promises().forward([[1.0, 2.0, 3.0]])


def test_a_dx_of_another_shape_is_told():
    class Narrow(Scale):
        def backward(self, dy, input_grad=True):
            return dy[:, :2]

    layer = Narrow()
    y = layer.forward([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"backward must return dx of shape \(1, 3\); got shape \(1, 2\)"):
        layer.backward(y)


def test_outputs_and_dx_of_another_dtype_are_cast():
    class Careless(Scale):
        def forward(self, x, train=True):
            return x.astype(np.float64)

        def backward(self, dy, input_grad=True):
            return dy.astype(np.float64)

    layer = Careless()
    y = layer.forward([[1.0]])
    assert y.dtype == layer.backward(y).dtype == np.float32


# Build


def test_build_gives_the_output_shape_and_draws_the_parameters():
    layer = Scale("he_normal")
    assert layer.build((3, 4), rng=0) == (3, 4)
    assert layer.built
    assert layer.input_shape == (3, 4)
    assert layer.dtype == np.float32
    assert np.unique(layer.params["s"]).size == 12


def test_an_unbuilt_layer_has_no_arrays():
    layer = Scale()
    assert not layer.built
    assert layer.input_shape is None
    assert layer.dtype is None
    assert dict(layer.params) == {}
    with pytest.raises(RuntimeError, match=r"Scale\(\) is not built yet"):
        layer.flat_params  # noqa: B018


def test_predict_needs_parameters():
    with pytest.raises(RuntimeError, match=r"Scale\(\) has no parameters yet"):
        Scale().predict([[1.0]])
    layer = cl.ReLU()
    np.testing.assert_array_equal(layer.predict([[-1.0, 1.0]]), [[0, 1]])
    assert not layer.built


def test_a_build_that_fails_leaves_the_layer_unbuilt():
    def broken(shape, rng, dtype):
        raise KeyError("no values")

    layer = Scale(broken)
    with pytest.raises(KeyError, match="no values"):
        layer.build((3,))
    assert not layer.built
    layer.init = "ones"
    assert layer.build((3,)) == (3,)


@pytest.mark.parametrize("shape", [(-1,), (2.0,), (True,), "ab", 3])
def test_shapes_that_are_none(shape):
    with pytest.raises((TypeError, ValueError), match=r"Scale\(\)"):
        Scale().build(shape)


def test_shapes_take_numpy_ints_and_lists():
    layer = Scale()
    assert layer.build([np.int64(3), 2]) == (3, 2)
    assert layer.input_shape == (3, 2)


def test_a_layer_too_large_for_any_machine_is_refused_before_it_is_allocated():
    with pytest.raises(ValueError, match=r"Scale\(\): the array 's' of shape \(1073741824, 1048576\) would need"):
        Scale().build((2**30, 2**20))
    with pytest.raises(ValueError, match=r"Affine\(1152921504606846976\): the array 'W'"):
        cl.Affine(2**60).build((2**40,))


@pytest.mark.parametrize("dtype", ["float16", int, complex, object, "nonsense"])
def test_a_dtype_that_is_neither_float32_nor_float64(dtype):
    with pytest.raises(TypeError, match=r"Scale\(\): dtype must be float32 or float64; got"):
        Scale().build((2,), dtype=dtype)


def test_an_init_function_is_given_shape_generator_and_dtype():
    def init(shape, rng, dtype):
        assert isinstance(rng, np.random.Generator)
        assert dtype == np.float64
        return np.arange(np.prod(shape), dtype=np.int64).reshape(shape)

    layer = scale(2, 3, init=init)
    np.testing.assert_array_equal(layer.params["s"], [[0, 1, 2], [3, 4, 5]])
    assert layer.params["s"].dtype == np.float64


def test_an_init_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"init must give an array of shape \(3,\); got shape \(2,\)"):
        scale(3, init=lambda shape, rng, dtype: np.ones(2))


def test_an_init_that_does_not_exist():
    with pytest.raises(ValueError, match=r"Affine\(2, init='best'\): init must be one of he_normal, .*; got 'best'"):
        cl.Affine(2, init="best").build((3,))
    with pytest.raises(TypeError, match=r"Affine\(2, init=5\): init must be one of .* or a callable .*; got 5"):
        cl.Affine(2, init=5).build((3,))


def test_an_init_array_is_copied():
    mine = np.ones(3)
    layer = scale(3, init=lambda shape, rng, dtype: mine)
    layer.params["s"] = [5, 6, 7]
    np.testing.assert_array_equal(mine, 1)


def test_building_again_keeps_the_values():
    layer = scale(3)
    layer.params["s"] = [5, 6, 7]
    assert layer.build((3,), dtype=np.float64, rng=9) == (3,)
    np.testing.assert_array_equal(layer.params["s"], [5, 6, 7])
    with pytest.raises(ValueError, match=r"was built in float64; it cannot join a net in float32: use astype\(\)"):
        layer.build((3,))
    with pytest.raises(ValueError, match=r"was built for \(N, 3\); got shape \(N, 4\)"):
        layer.build((4,), dtype=np.float64)


def test_the_global_random_state_is_not_used():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    cl.Sequential([cl.Affine(3), cl.Dropout(0.5)], input_shape=(4,)).forward(np.ones((2, 4)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# Arrays


def test_assigning_copies_into_the_array():
    layer = scale(3)
    array, flat = layer.params["s"], layer.flat_params
    mine = np.array([4.0, 5.0, 6.0])
    layer.params["s"] = mine
    mine[:] = 0
    assert layer.params["s"] is array
    assert layer.flat_params is flat
    np.testing.assert_array_equal(flat, [4, 5, 6])
    layer.params.update(s=[1, 2, 3])
    layer.params |= {"s": [1, 2, 4]}
    np.testing.assert_array_equal(flat, [1, 2, 4])


def test_writing_into_the_flat_array_is_writing_into_params():
    layer = scale(3)
    layer.flat_params[1] = 9
    np.testing.assert_array_equal(layer.params["s"], [1, 9, 1])
    np.testing.assert_array_equal(layer.forward([[1.0, 1.0, 1.0]]), [[1, 9, 1]])


def test_arrays_cannot_be_added_removed_or_misshapen():
    layer = scale(3)
    with pytest.raises(ValueError, match=r"'s' has shape \(3,\); got shape \(2,\)"):
        layer.params["s"] = [1, 2]
    with pytest.raises(KeyError, match="no array is named 't'; there are 's'"):
        layer.params["t"] = [1, 2]
    for remove in (lambda p: p.pop("s"), lambda p: p.clear(), lambda p: p.popitem(), lambda p: p.__delitem__("s")):
        with pytest.raises(TypeError, match="cannot be removed"):
            remove(layer.params)
    np.testing.assert_array_equal(layer.params["s"], 1)


def test_arrays_are_the_same_objects_for_life():
    layer = scale(3)
    objects = [id(layer.params["s"]), id(layer.grads["s"]), id(layer.state["seen"])]
    for _ in range(3):
        layer.backward(layer.forward(np.ones((2, 3))))
    assert [id(layer.params["s"]), id(layer.grads["s"]), id(layer.state["seen"])] == objects


def test_weight_decay_is_for_arrays_of_two_axes_or_more():
    layer = cl.Affine(2)
    layer.build((3,), rng=0)
    assert layer.param_runs() == [(slice(0, 6), True), (slice(6, 8), False)]
    assert layer.param_runs(decay_all=True) == [(slice(0, 8), True)]
    layer.trainable = False
    assert layer.param_runs() == []


def test_walk_of_a_single_layer_is_itself():
    layer = scale(3)
    assert list(layer.walk()) == [("", layer)]
    assert layer.leaves() == [layer]
    assert layer.children() == {}


# Forward, backward, predict


def test_the_layer_sees_clean_arrays():
    class Looks(Scale):
        def forward(self, x, train=True):
            assert x.dtype == self.dtype
            assert x.flags.c_contiguous
            assert x.flags.aligned
            assert x.dtype.isnative
            return super().forward(x, train)

        def backward(self, dy, input_grad=True):
            assert dy.dtype == self.dtype
            assert dy.flags.c_contiguous
            return super().backward(dy, input_grad)

    layer = Looks()
    for x in (np.ones((3, 2), ">f8").T, [[1, 2, 3]], np.ones((2, 6))[:, ::2], np.ones((2, 3), np.uint8)):
        assert layer.backward(layer.forward(x).astype(np.float16).T.copy().T).shape == np.shape(x)


def test_inputs_of_another_size_only_where_the_layer_takes_them():
    with pytest.raises(ValueError, match=r"Scale\(\) was built for \(N, 3\); got shape \(N, 4\)"):
        scale(3).forward(np.ones((2, 4)))
    layer = cl.ReLU()
    layer.build((4, 4, 2))
    assert layer.forward(np.ones((1, 7, 5, 2))).shape == (1, 7, 5, 2)
    with pytest.raises(ValueError, match=r"ReLU\(\) was built for \(N, 4, 4, 2\); got shape \(N, 4, 4, 3\)"):
        layer.forward(np.ones((1, 4, 4, 3)))


def test_a_refused_input_leaves_the_pending_backward():
    layer = scale(3)
    y = layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match="was built for"):
        layer.forward(np.ones((2, 4)))
    with pytest.raises(TypeError, match="needs real numbers"):
        layer.forward(np.ones((2, 3), complex))
    np.testing.assert_array_equal(layer.backward(y), 1)


def test_a_backward_that_fails_is_spent():
    class Fails(Scale):
        def backward(self, dy, input_grad=True):
            raise ZeroDivisionError("mine")

    layer = Fails()
    y = layer.forward(np.ones((2, 3)))
    with pytest.raises(ZeroDivisionError, match="mine"):
        layer.backward(y)
    with pytest.raises(RuntimeError, match=r"backward\(\) needs a forward\(\)"):
        layer.backward(y)


def test_predict_does_not_call_for_state():
    layer = scale(3)
    layer.predict(np.ones((5, 3)))
    np.testing.assert_array_equal(layer.state["seen"], 0)


# Copies


def test_astype_gives_a_copy_in_the_other_dtype():
    layer = scale(3)
    layer.params["s"] = [0.1, 0.2, 0.3]
    twin = layer.astype("float32")
    assert twin.dtype == twin.params["s"].dtype == twin.flat_grads.dtype == np.float32
    np.testing.assert_allclose(twin.params["s"], [0.1, 0.2, 0.3])
    assert layer.dtype == layer.params["s"].dtype == np.float64
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        layer.astype(int)


def test_astype_of_an_unbuilt_layer_is_a_copy():
    layer = Scale(offset=2.0)
    assert repr(layer.astype(np.float64)) == repr(layer)
    assert layer.astype(np.float64) is not layer


def test_a_copy_keeps_trainable_and_belongs_to_no_net():
    layer = scale(3)
    layer.trainable = False
    net = cl.Sequential([layer])
    with pytest.raises(ValueError, match=r"belongs to a net already: use its copy\(\) here"):
        cl.Sequential([layer])
    other = cl.Sequential([layer.copy()])
    assert not other[0].trainable
    assert net[0] is layer
