"""Norms, and Softmax: operators whose statistics are over some axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ....layers import BatchNorm, GroupNorm, InstanceNorm, Layer, LayerNorm, Softmax
from .errors import Refused, check_size
from .flow import BATCH, Flow, laid, last
from .maps import images, maps
from .protobuf import Node
from .reader import Operators, Reader, constant


def batch_norm(reader: Reader, node: Node, x: Flow, gamma: Any, beta: Any, mean: Any, var: Any) -> Flow:
    """Read y = gamma (x - mean) / sqrt(var + eps) + beta with the running mean and variance."""
    if node.get("training_mode", 0):
        raise Refused("it was exported in training mode: it normalises by the batch", "training_mode")
    if not node.get("spatial", 1):
        raise Refused("it has a mean for each position", "spatial")
    x, order = last(x, 1)
    given = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
    arrays = {name: constant(value, name) for name, value in given.items()}
    for name, array in arrays.items():
        if array.shape != order.shape:
            raise Refused(f"its {name} of shape {array.shape} does not go with {len(order)} channels")
        arrays[name] = array[order]
    layer = BatchNorm(momentum=node.get("momentum", 0.9), eps=node.get("epsilon", 1e-5))
    return x.after(layer, node.name, **arrays)


def layer_norm(reader: Reader, node: Node, x: Flow, gamma: Any = None, beta: Any = None) -> Flow:
    """Read y = gamma x̂ + beta, normalised over the last axes, from `axis` on."""
    axes = list(range(x.axis(node.get("axis", -1)), x.rank))
    return _layer_norm(node, x, axes, node.get("epsilon", 1e-5), gamma, beta)


def _layer_norm(node: Node, x: Flow, axes: Sequence[int], eps: float, gamma: Any = None, beta: Any = None) -> Flow:
    shape = [x.dims[k] for k in axes]
    x, order = last(x, *axes)
    size = len(order)
    arrays = {"gamma": np.ones(size), "beta": np.zeros(size)}
    for name, value in (("gamma", gamma), ("beta", beta)):
        if value is not None:
            try:
                arrays[name] = np.broadcast_to(constant(value, name), [n or 1 for n in shape]).reshape(-1)[order]
            except ValueError:
                raise Refused(f"its {name} of shape {np.shape(value)} does not go with axes of {shape}") from None
    return x.after(LayerNorm(eps), node.name, **arrays)


def instance_norm(reader: Reader, node: Node, x: Flow, gamma: Any, beta: Any) -> Flow:
    """Read y = gamma x̂ + beta, normalised over the positions of each channel.

    After a Reshape that puts a group of channels in the place of one, it is a GroupNorm.
    """
    return _instance_norm(node, x, node.get("epsilon", 1e-5), constant(gamma, "scale"), constant(beta, "bias"))


def _instance_norm(node: Node, x: Flow, eps: float, gamma: np.ndarray, beta: np.ndarray) -> Flow:
    if x.rank < 3 or x.axes[0] not in (BATCH, ()) or x.axes[1] == BATCH:
        raise Refused("it needs samples along its first axis, channels along the second, and positions behind")
    own = list(x.axes[1])
    start = own[0] if own else 0
    behind = list(range(start + len(own), len(x.factors))) if own else list(range(len(x.factors)))
    before = list(range(start))
    if (gamma != 1).any() or beta.any() or own != list(range(start, start + len(own))):
        before, behind = [i for i in range(len(x.factors)) if i not in own], []
    channels, within = x.size(own), x.size(behind)
    if not own and behind:  # one group of all, in whatever order
        return x.after(GroupNorm(1, eps), node.name, gamma=np.ones(x.point.shape[-1]), beta=np.zeros(x.point.shape[-1]))
    groups = [[i] for i in before] if len(before) == 2 else [before]
    x = laid(x, *groups, [*own, *behind])
    check_size(gamma.size * within)
    arrays = {"gamma": np.repeat(gamma, within), "beta": np.repeat(beta, within)}
    layer: Layer = InstanceNorm(eps) if within == 1 else GroupNorm(channels, eps)
    return x.after(layer, node.name, **arrays)


def group_norm(reader: Reader, node: Node, x: Flow, gamma: Any, beta: Any) -> Flow:
    """Read y = gamma x̂ + beta, normalised over groups of channels; before opset 21 a group had one gamma."""
    groups = node.get("num_groups", 1)
    gamma, beta = constant(gamma, "scale"), constant(beta, "bias")
    point, batch = images(x)
    channels = point.shape[-1]
    if len(gamma) != channels and channels % len(gamma) == 0:
        check_size(channels)
        gamma, beta = (np.repeat(array, channels // len(array)) for array in (gamma, beta))
    x = maps(point, x.rank, batch)
    return x.after(GroupNorm(groups, node.get("epsilon", 1e-5)), node.name, gamma=gamma, beta=beta)


def written_out(reader: Reader, node: Node, x: Flow, axes: Sequence[int], eps: float) -> Flow:
    """Make the norm that several nodes write out: over the last axes or the channels, or over the positions."""
    if not axes or any(x.axes[k] == BATCH for k in axes):
        raise Refused("it normalises over the batch")
    if list(axes) == list(range(2, x.rank)) and not x.at_the_end(axes):
        channels = prod(n or 1 for n in x.dims[1:2])
        check_size(channels)
        return _instance_norm(node, x, eps, np.ones(channels), np.zeros(channels))
    return _layer_norm(node, x, axes, eps)


def softmax(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read exp(x_i) / sum of exp(x_j), along an axis; before opset 13 along all from `axis` on."""
    first = x.axis(node.get("axis", -1 if node.opset >= 13 else 1))
    axes = [first] if node.opset >= 13 else list(range(first, x.rank))
    x, _ = last(x, *axes)
    return x.after(Softmax(), node.name)


NORMS: Operators = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "Softmax": softmax,
}
