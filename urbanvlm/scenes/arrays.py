"""Names for arrays in signatures: NumPy's own types say little about shapes, so docstrings give those."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]
"""Floating point, of any precision."""
Integers = NDArray[Any]
Flags = NDArray[np.bool_]


def f32(values: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
