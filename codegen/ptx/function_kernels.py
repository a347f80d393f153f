"""Kernels of nothing but one function, as ``functions`` compiles them; Triton gives their arguments types."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl

__all__ = ["applied", "erf", "log", "log2"]


@triton.jit
def applied(input_ptr, output_ptr, count, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """A function of every element."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = place < count
    tl.store(output_ptr + place, FUNCTION(tl.load(input_ptr + place, mask=live, other=1)), mask=live)


@triton.jit
def log(x):
    """The natural logarithm."""
    return tl.log(x)


@triton.jit
def log2(x):
    """The logarithm to base 2."""
    return tl.log2(x)


@triton.jit
def erf(x):
    """The error function."""
    return tl.erf(x)
