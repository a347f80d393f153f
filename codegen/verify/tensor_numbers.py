"""Numbers for evaluation over tensors: tensors as numbers, conditions that may be uncertain, random fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from svertka.spec.arithmetic import RELATIONS

__all__ = ["Tensors", "Truth", "philox_uniform"]


def _is_real(value: Any) -> bool:
    return value.is_floating_point() if isinstance(value, torch.Tensor) else isinstance(value, float)


def _sign(value: torch.Tensor) -> torch.Tensor:
    return torch.where(value.isnan(), value, value.sign())


class Tensors:
    """float64 tensors and plain numbers for the error formulas."""

    RELATIONS: ClassVar[Mapping[str, Callable[[Any, Any], Any]]] = RELATIONS
    FUNCTIONS: ClassVar[Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = {
        "exp": torch.exp,
        "log": torch.log,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "sin": torch.sin,
        "cos": torch.cos,
        "Abs": torch.abs,
        "sign": _sign,
    }

    def choose(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        """One of two values, lane by lane."""
        if not isinstance(condition, torch.Tensor):
            return if_true if condition else if_false
        return torch.where(condition, *self._pair(if_true, if_false, condition.device))

    def larger(self, left: Any, right: Any) -> Any:
        """The larger of two; NaN if either is NaN."""
        if not isinstance(left, torch.Tensor) and not isinstance(right, torch.Tensor):
            return max(left, right)
        device = left.device if isinstance(left, torch.Tensor) else right.device
        return torch.maximum(*self._pair(left, right, device))

    def _pair(self, left: Any, right: Any, device: torch.device) -> list[torch.Tensor]:
        """Both as tensors of one type; int64 only if both are whole numbers."""
        real = any(
            isinstance(v, float) or (isinstance(v, torch.Tensor) and v.is_floating_point()) for v in (left, right)
        )
        dtype = torch.float64 if real else torch.int64
        return [torch.as_tensor(value, dtype=dtype, device=device) for value in (left, right)]

    def power(self, base: Any, exponent: Any) -> Any:
        """Power with IEEE results at 0."""
        if not isinstance(base, torch.Tensor) and not isinstance(exponent, torch.Tensor):
            base = torch.tensor(base, dtype=torch.float64)
            return float(torch.pow(base, exponent))
        return torch.pow(base, exponent)

    def function(self, name: str, value: Any) -> Any:
        """A function of one argument."""
        if not isinstance(value, torch.Tensor):
            return float(self.FUNCTIONS[name](torch.tensor(value, dtype=torch.float64)))
        return self.FUNCTIONS[name](value)


@dataclass(frozen=True)
class Truth:
    """A condition for every lane, and the lanes where rounding may change it."""

    value: torch.Tensor
    doubt: torch.Tensor | None = None

    @property
    def certain(self) -> bool:
        """Whether no lane is uncertain."""
        return self.doubt is None or not bool(self.doubt.any())

    def __invert__(self) -> Truth:
        return Truth(~self.value, self.doubt)

    @staticmethod
    def every(parts: Sequence[Truth]) -> Truth:
        """Conjunction; a part that is certainly false makes the result certain."""
        value, possible, sure = parts[0].value, parts[0]._possible(), parts[0]._sure()
        for part in parts[1:]:
            value, possible, sure = value & part.value, possible & part._possible(), sure & part._sure()
        if all(part.doubt is None for part in parts):
            return Truth(value)
        return Truth(value, possible & ~sure)

    def _possible(self) -> torch.Tensor:
        return self.value if self.doubt is None else self.value | self.doubt

    def _sure(self) -> torch.Tensor:
        return self.value if self.doubt is None else self.value & ~self.doubt


_ROUNDS, _MULTIPLIERS, _STEPS = 10, (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)


def philox_uniform(seed: int, places: torch.Tensor) -> torch.Tensor:
    """The elements of a seed's random field at some positions, as ``spec.arithmetic.uniform`` computes them."""
    place = places.cpu().numpy().astype(np.uint64)
    half = np.uint64(32)
    blocks = place // np.uint64(4)
    counter = [blocks & _WORD, blocks >> half, np.zeros_like(blocks), np.zeros_like(blocks)]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        first, second = (np.uint64(m) * c for m, c in zip(_MULTIPLIERS, (counter[0], counter[2]), strict=True))
        counter = [
            (second >> half) ^ counter[1] ^ np.uint64(key[0]),
            second & _WORD,
            (first >> half) ^ counter[3] ^ np.uint64(key[1]),
            first & _WORD,
        ]
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, _STEPS, strict=True)]
    words = np.choose((place % np.uint64(4)).astype(np.int64), counter).astype(np.uint32).view(np.int32)
    folded = np.where(words < 0, -(words.astype(np.int64)) - 1, words).astype(np.float32)
    found = folded * np.float32(4.6566127342e-10)
    return torch.from_numpy(found.astype(np.float64)).to(places.device)
