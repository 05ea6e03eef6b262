"""What containers share whose branches all read the same input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .container import Container, fresh
from .layer import Layer
from .sequential import as_layer, shown


class Branches(Container):
    """The base of Concat and Multiply, which say what becomes of f_1(x), ..., f_k(x).

    Parameters
    ----------
    branches : iterable of Layer or of lists of layers
        A list becomes a Sequential; the empty one is the identity.
    """

    def __init__(self, branches: Iterable[Layer | Iterable[Layer]]):
        if isinstance(branches, Layer) or not isinstance(branches, Iterable):
            raise TypeError(f"{self.who} needs a list of branches; got {branches!r}")
        made: list[Layer] = []
        given: list[Any] = list(branches)
        try:
            for branch in given:
                made.append(as_layer(branch))
            if not made:
                raise ValueError(f"{self.who} needs at least one branch; got none")
            self.branches = tuple(made)
            self._adopt(self.branches)
        except BaseException:
            for branch, layer in zip(given, made, strict=False):
                if layer is not branch:
                    layer._release()  # type: ignore[attr-defined]
            raise

    def children(self):
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def config(self):
        if type(self).__init__ is not Branches.__init__:
            return super().config()
        return {"branches": [fresh(branch) for branch in self.branches]}

    def __repr__(self):
        if type(self).__init__ is not Branches.__init__:
            return super().__repr__()
        return f"{type(self).__name__}([{', '.join(map(shown, self.branches))}])"

    def _outputs(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The output shape of each branch."""
        return [self._fitted(i, branch, shape) for i, branch in enumerate(self.branches)]

    def _shapes(self, shape):
        return [(i, branch, shape) for i, branch in enumerate(self.branches)]

    def _place(self, i):
        return f"in branch {i} of {self.who}"
