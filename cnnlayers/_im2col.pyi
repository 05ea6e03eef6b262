from collections.abc import Sequence
from typing import Any

import numpy as np

Sizes = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]

def im2col(x: Any, kernel: Sizes, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1) -> np.ndarray: ...
def col2im(
    cols: Any,
    input_shape: Sequence[int],
    kernel: Sizes,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> np.ndarray: ...
def build_info() -> dict[str, Any]: ...
