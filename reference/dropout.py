"""Dropout (slide 19), inverted: kept elements are scaled in training, so that inference changes nothing.

    y_i = x_i m_i / (1 - p),    m_i = 1 if u_i >= p, else 0

with u the random field of `svertka.reference.random.uniform`, numbered row-major. Source: Srivastava et al., "Dropout",
JMLR 15 (2014).
"""

import numpy as np

from svertka.reference.arguments import real_number, require
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_gradient,
    rounded,
)
from svertka.reference.random import uniform


def dropout(input: Array, p: float = 0.5, training: bool = True, seed: int = 0) -> Array:
    """Zero each element with probability `p`, and scale the others by 1 / (1 - p).

    As `torch.nn.functional.dropout`, with a seed instead of a global generator. As in torch the mask is a factor, so
    NaN stays NaN.

    Args:
        input: Any shape; float16, float32 or float64.
        p: Probability in [0, 1]; compared in float32, as the random field is.
        training: If false, a copy of the input is returned.
        seed: At least 0 and less than 2**63.

    Returns:
        An array of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type, `p` no number or `seed` no int.
        ValueError: `p` or `seed` is out of range.
    """
    values = as_float64("input", input)
    with np.errstate(invalid="ignore"):
        output = values * _factors(values.shape, p, training, seed)
    return rounded(output, input.dtype)


def dropout_backward(
    grad_output: Array,
    input: Array,
    p: float = 0.5,
    training: bool = True,
    seed: int = 0,
) -> tuple[Array]:
    """Gradient of `dropout`: the same factors, drawn again.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `dropout`; only its shape and type matter.
        p: As in `dropout`.
        training: As in `dropout`.
        seed: As in `dropout`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `dropout`.
        ValueError: As `dropout`, and where the shapes differ.
    """
    values = as_float64("input", input)
    grad = as_gradient(grad_output, values.shape)
    with np.errstate(invalid="ignore"):
        grad_input = grad * _factors(values.shape, p, training, seed)
    return (rounded(grad_input, input.dtype),)


def _factors(shape: tuple[int, ...], p: float, training: bool, seed: int) -> Float64Array:
    """Return what each element is multiplied by: 0 or 1 / (1 - p)."""
    probability = real_number("p", p)
    rule, remedy = "must be at least 0 and at most 1", "Pass a probability"
    require(0 <= probability <= 1, "p", p, rule, remedy)
    field = uniform(seed, int(np.prod(shape))).reshape(shape)
    if not training:
        return np.ones(shape)
    kept = 1 - probability if probability < 1 else 1.0  # With p = 1 nothing is kept.
    return np.where(field >= np.float32(probability), 1 / kept, 0.0)
