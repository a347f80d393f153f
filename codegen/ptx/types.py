"""The types of PTX as arrays, and what an entry of the arithmetic table is.

Input: none. Output: ``DTYPES`` and ``Operation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DTYPES", "Operation"]

DTYPES: dict[str, Any] = {"pred": np.dtype(bool), "bf16": np.dtype(np.uint16)}
DTYPES |= {f"{kind}{bits}": np.dtype(f"{kind[0]}{bits // 8}") for kind in ("u", "f") for bits in (16, 32, 64)}
DTYPES |= {f"s{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)}
DTYPES |= {f"b{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)}
DTYPES |= {"u8": np.dtype(np.uint8), "f16x2": np.dtype(np.uint32), "bf16x2": np.dtype(np.uint32)}


@dataclass(frozen=True)
class Operation:
    """What an arithmetic instruction computes.

    Attributes:
        result: the type of its result.
        sources: the types of its operands.
        function: from arrays of these types to one of the result's; arrays have one element per lane, or one in all.
    """

    result: str
    sources: tuple[str, ...]
    function: Callable[..., Any]
