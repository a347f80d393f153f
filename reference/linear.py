"""The fully connected layer (slide 17): y = x W^T + bias."""

import numpy as np

from svertka.reference.arguments import require
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_float64_with_rank,
    as_float64_with_shape,
    as_gradient,
    rounded,
)


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """Apply the fully connected layer; as `torch.nn.functional.linear`.

    Args:
        input: (..., inputs), any number of leading axes; float16, float32 or float64.
        weight: (outputs, inputs).
        bias: (outputs,).

    Returns:
        (..., outputs), of the type of `input`.

    Raises:
        TypeError: An array is not of a float type.
        ValueError: Shapes disagree.
    """
    values, matrix, offset = _checked(input, weight, bias)
    output = values @ matrix.T
    return rounded(output if offset is None else output + offset, input.dtype)


def linear_backward(
    grad_output: Array, input: Array, weight: Array, bias: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """Gradients of `linear`: g W, g^T x, and the sum of g.

    Args:
        grad_output: (..., outputs), the gradient of the output.
        input: As in `linear`.
        weight: As in `linear`.
        bias: As in `linear`; only its presence matters.

    Returns:
        The gradients of input, weight and bias, of their shapes and types; None for a bias that is None.

    Raises:
        TypeError: As `linear`.
        ValueError: As `linear`, and if `grad_output` does not have the output's shape.
    """
    values, matrix, _ = _checked(input, weight, bias)
    grad = as_gradient(grad_output, (*values.shape[:-1], len(matrix)))
    rows = int(np.prod(values.shape[:-1]))
    flat = grad.reshape(rows, len(matrix))
    grad_weight = flat.T @ values.reshape(rows, values.shape[-1])
    return (
        rounded(grad @ matrix, input.dtype),
        rounded(grad_weight, weight.dtype),
        None if bias is None else rounded(flat.sum(axis=0), bias.dtype),
    )


def _checked(input: Array, weight: Array, bias: Array | None) -> tuple[Float64Array, Float64Array, Float64Array | None]:
    values = as_float64("input", input)
    matrix = as_float64_with_rank("weight", weight, 2)
    rule = f"the last axis must have {matrix.shape[1]} features, as weight's axis 1"
    agrees = values.ndim > 0 and values.shape[-1] == matrix.shape[1]
    require(agrees, "input.shape", values.shape, rule, "Match input and weight")
    if bias is None:
        return values, matrix, None
    reason = "one value per row of weight"
    return values, matrix, as_float64_with_shape("bias", bias, (len(matrix),), reason)
