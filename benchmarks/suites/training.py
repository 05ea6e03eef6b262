"""What steps and inference work on: a net of `nets.py` and a batch of random images and labels."""

import numpy as np

from ..nets import NETS


# After a step from biases of 0 a net's parameters hold its gradients, which jump where rounding moves an activation
# across the kink of a ReLU. With depth and BatchNorm PyTorch's own two layouts differ by 2% of the largest.
TOLERANCE = {"resnet8": 5e-2, "resnet20": 5e-2, "separable": 5e-2}


def tolerance(name: str) -> float:
    return TOLERANCE.get(name, 1e-3)


class Problem:
    """A batch, and a net that each side takes its parameters from."""

    lr = 1e-3  # small, so that the loss does not vanish, and the gradients with it, while the clock runs
    momentum = 0.9

    def __init__(self, name: str, batch: int) -> None:
        build, shape = NETS[name]
        rng = np.random.default_rng(0)
        self.x = rng.random((batch, *shape), np.float32)
        self.y = rng.integers(10, size=batch)
        self.net = build(input_shape=shape, rng=0)


def problem(name: str, batch: int, quick: bool = False) -> Problem:
    return Problem(name, min(batch, 3) if quick else batch)
