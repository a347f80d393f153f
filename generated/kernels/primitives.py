"""Functions that kernels call and Triton lacks, for float32 and float64, on every target and in the interpreter."""

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """Hyperbolic tangent: a polynomial near 0, where the quotient would cancel."""
    size = tl.abs(x)
    decay = tl.exp(-2.0 * size)
    far = (1.0 - decay) / (1.0 + decay)
    square = x * x
    near = -0.0014558343870513183 + square * 0.000590027440945586
    near = -0.008863235529902197 + square * (0.003592128036572481 + square * near)
    near = -0.05396825396825397 + square * (0.021869488536155203 + square * near)
    near = 1.0 + square * (-0.3333333333333333 + square * (0.13333333333333333 + square * near))
    return tl.where(size < 0.15, x * near, tl.where(x < 0, -far, far))


@triton.jit
def power(x, y):
    """``x ** y`` for x >= 0, as exp2(y * log2(x)); 0 and NaN as IEEE asks."""
    result = tl.exp2(y * tl.log2(x))
    return tl.where(x == 0, tl.where(y > 0, 0.0, tl.where(y == 0, 1.0, float("inf"))), result)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN stays."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def uniform(seed, index):
    """The index-th element of a seed's random field over [0, 1): one word of a Philox4x32-10 block of four."""
    first, second, third, fourth = tl.randint4x(seed, index // 4)
    word = index % 4
    bits = tl.where(word < 2, tl.where(word == 0, first, second), tl.where(word == 2, third, fourth))
    return tl.uint_to_uniform_float(bits)
