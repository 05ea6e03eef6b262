from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .geometry import Axis, Window

__all__ = [  # what `kernels` takes from here
    "adagrad",
    "adam",
    "add",
    "add_bias",
    "batch_norm",
    "batch_norm_apply",
    "batch_norm_grad",
    "blend_images",
    "column_sums",
    "dropout",
    "elu",
    "elu_input_grad",
    "finish_grad",
    "gather_rows",
    "gelu",
    "gelu_input_grad",
    "global_avg_pool",
    "global_avg_pool_input_grad",
    "global_max_pool",
    "global_max_pool_input_grad",
    "group_norm",
    "group_norm_grad",
    "indices_fit",
    "jitter_images",
    "layer_norm",
    "layer_norm_grad",
    "leaky_relu",
    "leaky_relu_input_grad",
    "line_max_pool",
    "line_max_pool_input_grad",
    "line_sum_pool",
    "line_sum_pool_input_grad",
    "move_average",
    "place_images",
    "relu",
    "relu_input_grad",
    "rmsprop",
    "scale_channels",
    "sgd",
    "sigmoid",
    "sigmoid_input_grad",
    "silu",
    "silu_input_grad",
    "softmax_loss",
    "tanh",
    "tanh_input_grad",
    "warp_images",
]

TILES: set[tuple[int, int, int]]

def levels() -> list[str]: ...
def level() -> str: ...
def lanes(dtype: np.dtype) -> int: ...
def tile(dtype: np.dtype) -> tuple[int, int]: ...
def set_level(name: str) -> None: ...
def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray: ...
def pool_bytes() -> tuple[int, int]: ...
def release_memory() -> int: ...
def cache_bytes() -> int: ...

class PackedConv:
    def __init__(self, W: np.ndarray, b: np.ndarray | None, window: Window | None, side: int = 0) -> None: ...
    def fits(self, W: np.ndarray, window: Window | None, side: int = 0) -> bool: ...

def conv_forward(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray | None,
    window: Window,
    relu: bool = False,
    packed: PackedConv | None = None,
    side: int = 0,
    plus: np.ndarray | None = None,
    *,
    kernel: str | None = None,
    upright: bool = False,
) -> np.ndarray | None: ...
def conv_input_grad(
    dy: np.ndarray,
    W: np.ndarray,
    window: Window,
    side: int = 0,
    plus: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    kernel: str | None = None,
    upright: bool = False,
) -> np.ndarray | None: ...
def conv_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    window: Window,
    dW: np.ndarray,
    db: np.ndarray | None = None,
    side: int = 0,
    *,
    kernel: str | None = None,
) -> bool: ...
def affine(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray | None,
    relu: bool = False,
    packed: PackedConv | None = None,
    *,
    kernel: str = "direct",
) -> np.ndarray: ...
def affine_input_grad(dy: np.ndarray, W: np.ndarray, *, kernel: str = "direct") -> np.ndarray: ...
def affine_weight_grad(x: np.ndarray, dy: np.ndarray, dW: np.ndarray, db: np.ndarray | None = None) -> None: ...
def max_pool(
    x: np.ndarray, window: Window, relu: bool = False, named: bool = True
) -> tuple[np.ndarray, np.ndarray | None]: ...
def max_pool_input_grad(dy: np.ndarray, winner: np.ndarray, window: Window) -> np.ndarray: ...
def avg_pool(x: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray: ...
def avg_pool_input_grad(dy: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray: ...
def line_max_pool(x: np.ndarray, axis: Axis, relu: bool = False) -> tuple[np.ndarray, np.ndarray]: ...
def line_max_pool_input_grad(dy: np.ndarray, winner: np.ndarray, axis: Axis) -> np.ndarray: ...
def line_sum_pool(x: np.ndarray, axis: Axis) -> np.ndarray: ...
def line_sum_pool_input_grad(dy: np.ndarray, axis: Axis) -> np.ndarray: ...
def relu(x: np.ndarray) -> np.ndarray: ...
def relu_input_grad(y: np.ndarray, dy: np.ndarray) -> np.ndarray: ...
def finish_grad(dx: np.ndarray, plus: np.ndarray | None = None, mask: np.ndarray | None = None) -> np.ndarray: ...
def add(a: np.ndarray, b: np.ndarray, relu: bool = False) -> np.ndarray: ...
def leaky_relu(x: np.ndarray, alpha: float) -> np.ndarray: ...
def leaky_relu_input_grad(x: np.ndarray, dy: np.ndarray, alpha: float) -> np.ndarray: ...
def sigmoid(x: np.ndarray) -> np.ndarray: ...
def sigmoid_input_grad(y: np.ndarray, dy: np.ndarray) -> np.ndarray: ...
def tanh(x: np.ndarray) -> np.ndarray: ...
def tanh_input_grad(y: np.ndarray, dy: np.ndarray) -> np.ndarray: ...
def elu(x: np.ndarray, alpha: float) -> np.ndarray: ...
def elu_input_grad(x: np.ndarray, dy: np.ndarray, alpha: float) -> np.ndarray: ...
def gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray: ...
def gelu_input_grad(x: np.ndarray, dy: np.ndarray, approximate: bool = False) -> np.ndarray: ...
def silu(x: np.ndarray) -> np.ndarray: ...
def silu_input_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray: ...
def global_avg_pool(x: np.ndarray) -> np.ndarray: ...
def global_avg_pool_input_grad(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray: ...
def global_max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
def global_max_pool_input_grad(dy: np.ndarray, winner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray: ...
def column_sums(a: np.ndarray, sums: np.ndarray) -> None: ...
def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float,
    relu: bool = False,
    plus: np.ndarray | None = None,
    gelu: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...
def batch_norm_apply(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    relu: bool = False,
    plus: np.ndarray | None = None,
    gelu: bool = False,
) -> np.ndarray: ...
def move_average(running: np.ndarray, value: np.ndarray, momentum: float, factor: float = 1) -> None: ...
def batch_norm_grad(
    x: np.ndarray,
    dy: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    *,
    into: tuple[np.ndarray, np.ndarray],
    on_batch: bool,
    input_grad: bool = True,
    relu_beta: np.ndarray | None = None,
    gelu_beta: np.ndarray | None = None,
) -> Any: ...
def add_bias(y: np.ndarray, b: np.ndarray, relu: bool = False) -> None: ...
def scale_channels(x: np.ndarray, m: np.ndarray) -> np.ndarray: ...
def group_norm(
    x: np.ndarray, groups: int, gamma: np.ndarray, beta: np.ndarray, eps: float, relu: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def group_norm_grad(
    x: np.ndarray,
    dy: np.ndarray,
    groups: int,
    gamma: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    *,
    into: tuple[np.ndarray, np.ndarray],
    input_grad: bool = True,
    relu_beta: np.ndarray | None = None,
) -> Any: ...
def layer_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def layer_norm_grad(
    x: np.ndarray,
    dy: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    *,
    into: tuple[np.ndarray, np.ndarray],
    input_grad: bool = True,
) -> Any: ...
def sgd(
    w: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None: ...
def rmsprop(
    w: np.ndarray, g: np.ndarray, square_mean: np.ndarray, lr: float, alpha: float, eps: float, decay: float
) -> None: ...
def adagrad(w: np.ndarray, g: np.ndarray, square_sum: np.ndarray, lr: float, eps: float, decay: float) -> None: ...
def adam(
    w: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square_mean: np.ndarray,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    step: int,
    decay: float,
    decoupled: bool,
) -> None: ...
def indices_fit(indices: np.ndarray, length: int) -> bool: ...
def softmax_loss(
    scores: np.ndarray,
    target: np.ndarray,
    divisor: float,
    smoothing: float = 0,
    class_weights: np.ndarray | None = None,
) -> tuple[float, np.ndarray]: ...
def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray: ...
def dropout(x: np.ndarray, p: float, key: int) -> np.ndarray: ...
def gather_rows(source: np.ndarray, indices: np.ndarray, dtype: np.dtype) -> np.ndarray: ...
def place_images(
    x: np.ndarray, places: np.ndarray, fill: float, hole: float, dtype: np.dtype, reflect: bool = False
) -> np.ndarray: ...
def warp_images(x: np.ndarray, maps: np.ndarray, fill: float) -> np.ndarray: ...
def jitter_images(x: np.ndarray, factors: np.ndarray) -> np.ndarray: ...
def blend_images(x: np.ndarray, partners: np.ndarray, shares: np.ndarray, dtype: np.dtype) -> np.ndarray: ...

class NothingToCompute(ValueError): ...

class Value:
    @property
    def shape(self) -> tuple[int, ...]: ...

class Program:
    def __init__(self, dtype: Any, n_threads: int | None = None) -> None: ...
    def __len__(self) -> int: ...
    @property
    def arena(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def constants(self) -> int: ...
    @property
    def only_kernels(self) -> bool: ...
    def begins_as(self, other: Program) -> bool: ...
    def input(self, shape: tuple[int, ...]) -> Value: ...
    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value: ...
    def conv_forward(
        self,
        x: Value,
        W: np.ndarray,
        b: np.ndarray | None,
        window: Window,
        relu: bool = False,
        packed: PackedConv | None = None,
        side: int = 0,
        plus: Value | None = None,
        *,
        kernel: str,
        upright: bool = False,
        plain: tuple[str, bool] | None = None,
    ) -> Value: ...
    def separable(self, x: Value, depthwise: tuple, pointwise: tuple, plus: Value | None = None) -> Value: ...
    def conv_input_grad(
        self,
        dy: Value,
        W: np.ndarray,
        window: Window,
        side: int = 0,
        *,
        kernel: str,
        upright: bool = False,
        plain: tuple[str, bool] | None = None,
    ) -> Value: ...
    def affine(
        self,
        x: Value,
        W: np.ndarray,
        b: np.ndarray | None,
        relu: bool = False,
        packed: PackedConv | None = None,
        *,
        kernel: str,
    ) -> Value: ...
    def relu(self, x: Value) -> Value: ...
    def add(self, a: Value, b: Value, relu: bool = False) -> Value: ...
    def multiply(self, a: Value, b: Value) -> Value: ...
    def scale_channels(self, x: Value, m: Value) -> Value: ...
    def add_bias(self, x: Value, b: np.ndarray, relu: bool = False) -> Value: ...
    def activation(self, x: Value, name: str, alpha: float = 0) -> Value: ...
    def batch_norm_apply(
        self,
        x: Value,
        gamma: np.ndarray,
        beta: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        relu: bool = False,
        plus: Value | None = None,
    ) -> Value: ...
    def group_norm(
        self, x: Value, groups: int, gamma: np.ndarray, beta: np.ndarray, eps: float, relu: bool = False
    ) -> Value: ...
    def layer_norm(self, x: Value, gamma: np.ndarray, beta: np.ndarray, eps: float) -> Value: ...
    def max_pool(self, x: Value, window: Window, relu: bool = False) -> Value: ...
    def avg_pool(self, x: Value, window: Window, shares: np.ndarray) -> Value: ...
    def global_avg_pool(self, x: Value) -> Value: ...
    def global_max_pool(self, x: Value) -> Value: ...
    def concatenate(self, parts: list[Value]) -> Value: ...
    def in_parts(self, x: Value, count: int, bodies: Sequence[Program]) -> Value: ...
    def leave(
        self, function: Callable[..., np.ndarray], values: list[Value], shape: tuple[int, ...], name: str = ""
    ) -> Value: ...
    def finish(self, y: Value) -> bool: ...
    def run(self, x: np.ndarray) -> np.ndarray | None: ...
    def rows(self) -> Iterator[tuple[str, list[Any], tuple[int, ...], Any, Program | None]]: ...
