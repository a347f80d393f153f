"""Symbolic execution of generated kernels: the level "source" of translation validation.

The kernels' text is run unmodified in Triton's interpreter with expressions in place of floats; what comes out is
compared with the formula's expressions.
"""

from svertka.codegen.verify.symbolic.prove import Proof, prove

__all__ = ["Proof", "prove"]
