"""Levels of translation validation: what each shows about a formula and its kernels, from the calculus to the last bit.

To add a level, write a module with a ``check(subject) -> Outcome`` and add it to ``LEVELS``.
"""

from collections.abc import Callable

from svertka.codegen.verify.levels import adjoint, exact, interface, reference, rounding, source
from svertka.codegen.verify.levels.target import Outcome, Subject

__all__ = ["LEVELS", "Outcome", "Subject"]

LEVELS: dict[str, Callable[[Subject], Outcome]] = {
    "adjoint": adjoint.check,
    "reference": reference.check,
    "source": source.check,
    "exact": exact.check,
    "rounding": rounding.check,
    "interface": interface.check,
}
