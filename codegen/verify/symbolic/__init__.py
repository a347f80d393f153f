"""Symbolic execution of generated kernels: the level "source" of translation validation.

The kernels' source runs unmodified in Triton's interpreter with expressions in place of floats. The results are
compared with the formula's expressions.
"""

from svertka.codegen.verify.symbolic.prove import Proof, prove

__all__ = ["Proof", "prove"]
