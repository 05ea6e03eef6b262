"""Last layers that are a mistake in front of a loss, and those that are none."""

import warnings

import pytest

import cnnlayers as cl
from cnnlayers.training.last_layer import mistake
from tests.training.solving import data, solver_of


class Bounded(cl.SoftmaxLoss):
    def forward(self, scores, target):
        return super().forward(scores * 10, target)


class OwnPass(cl.Sequential):
    def forward(self, x, train=True):
        return self.layers[0].forward(x, train)


WRONG = [
    ([cl.Affine(2), cl.Softmax()], cl.SoftmaxLoss, "Softmax"),
    ([cl.Affine(2), cl.Sigmoid()], cl.SoftmaxLoss, "Sigmoid"),
    ([cl.Affine(2), cl.Tanh()], cl.SoftmaxLoss, "Tanh"),
    ([cl.Affine(2), cl.HardSigmoid()], cl.SoftmaxLoss, "HardSigmoid"),
    ([cl.Affine(2), cl.ReLU()], cl.SoftmaxLoss, "ReLU"),
    ([cl.Affine(2), cl.ReLU6()], cl.SoftmaxLoss, "ReLU6"),
    ([cl.Affine(2), cl.Softmax()], cl.HingeLoss, "Softmax"),
    ([cl.Affine(2), cl.Sigmoid()], cl.HingeLoss, "Sigmoid"),
    ([cl.Affine(2), cl.HardSigmoid()], cl.HingeLoss, "HardSigmoid"),
    ([cl.Affine(2), cl.ReLU()], cl.HingeLoss, "ReLU"),
    ([cl.Affine(2), cl.ReLU6()], cl.HingeLoss, "ReLU6"),
    ([cl.Sequential([cl.Affine(2), cl.Sequential([cl.Softmax()])])], cl.SoftmaxLoss, "Softmax"),
    ([cl.Affine(2), cl.Softmax(), cl.Reshape((2,)), cl.Dropout(0.1)], cl.SoftmaxLoss, "Softmax"),
    ([cl.Conv(2, 1), cl.Softmax(), cl.GlobalAvgPool()], cl.SoftmaxLoss, "Softmax"),
    ([cl.Affine(2), cl.ReLU(), cl.Flatten()], cl.SoftmaxLoss, "ReLU"),
]
RIGHT = [
    ([cl.Affine(2)], cl.SoftmaxLoss),
    ([], cl.SoftmaxLoss),
    ([cl.ReLU(), cl.Affine(2)], cl.SoftmaxLoss),
    ([cl.Conv(2, 1), cl.ReLU(), cl.GlobalAvgPool()], cl.SoftmaxLoss),
    ([cl.Affine(2), cl.LeakyReLU()], cl.SoftmaxLoss),
    ([cl.Affine(2), cl.PReLU()], cl.SoftmaxLoss),
    ([cl.Affine(2), cl.GELU()], cl.SoftmaxLoss),
    ([cl.Residual([cl.Affine(3), cl.Softmax()])], cl.SoftmaxLoss),
    ([cl.Affine(2), cl.Tanh()], cl.HingeLoss),
    ([cl.Affine(2), cl.Sigmoid()], cl.MSELoss),
    ([cl.Affine(2), cl.Softmax()], cl.MSELoss),
    ([cl.Affine(2), cl.ReLU()], cl.MSELoss),
    ([cl.Affine(2), cl.Softmax()], Bounded),
]


def fresh(layers):
    return cl.Sequential([layer.copy() for layer in layers])


@pytest.mark.parametrize(("layers", "loss", "named"), WRONG)
def test_what_is_a_mistake(layers, loss, named):
    said = mistake(fresh(layers), loss())
    assert said.startswith(f"the net ends in {named}, but ")
    assert f"leave {named}() out" in said


@pytest.mark.parametrize(("layers", "loss"), RIGHT)
def test_what_is_none(layers, loss):
    assert mistake(fresh(layers), loss()) == ""


def test_a_net_with_a_pass_of_its_own_is_not_judged():
    assert mistake(OwnPass([cl.Affine(2), cl.Softmax()]), cl.SoftmaxLoss()) == ""


def test_a_single_layer():
    assert mistake(cl.Softmax(), cl.SoftmaxLoss())


@pytest.mark.parametrize("built", [True, False])
def test_the_solver_warns_as_it_is_made_where_it_is_made(built):
    net = cl.Sequential([cl.Affine(2), cl.Softmax()], **({"input_shape": (3,)} if built else {}))
    words = r"Solver: the net ends in Softmax, but .*: leave Softmax\(\) out \(net\.predict_proba takes the softmax\)"
    with pytest.warns(UserWarning, match=words) as said:
        solver = cl.Solver(net, data(), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), progress=False)
    assert [warning.filename for warning in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solver.overfit_batch(steps=3)
        solver.train(1)
    assert found.mistake.startswith("the net ends in Softmax")
    assert "leave Softmax() out" in str(found)
    found.ok = True
    assert "; but the net ends in Softmax" in str(found)


def test_it_says_nothing_of_a_net_that_is_right():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver = solver_of()
    assert solver.overfit_batch(steps=3).mistake == ""
