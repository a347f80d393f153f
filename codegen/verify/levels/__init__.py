"""Levels of translation validation: what each shows about a formula and its kernels, from the calculus to the last bit.

To add a level, write a module with a ``check(subject) -> Outcome`` and add its name to ``LEVELS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from svertka.codegen.verify.levels.outcome import Outcome

if TYPE_CHECKING:
    from svertka.codegen.verify.levels.target import Subject

__all__ = ["LEVELS", "Outcome", "Subject"]


class _Levels(Mapping[str, "Callable[[Subject], Outcome]"]):
    """The levels by name, in order; each is imported when it is first asked for, as most need torch and Triton."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __getitem__(self, name: str) -> Callable[[Subject], Outcome]:
        if name not in self.names:
            raise KeyError(name)
        check: Callable[[Subject], Outcome] = importlib.import_module(f"{__name__}.{name}").check
        return check

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


LEVELS = _Levels("adjoint", "reference", "source", "exact", "rounding", "interface")


def __getattr__(name: str) -> Any:
    if name != "Subject":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.target").Subject
