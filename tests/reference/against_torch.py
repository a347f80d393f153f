"""Run PyTorch in float64 for comparison with the reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .bounds import within

Array = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
Optional = Float64Array | None


def normal(seed: int, *shape: int) -> Float64Array:
    """Return random numbers of the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape)


def torch_run(
    function: Callable[..., Any],
    arrays: Sequence[Optional],
    grad_output: Optional = None,
) -> tuple[Float64Array, Float64Array, list[Any]]:
    """Run a function of tensors forward and backward.

    Args:
        function: Takes one tensor, or None, per array.
        arrays: The arguments to differentiate by; None stays None.
        grad_output: The output's gradient; random if None.

    Returns:
        Output, output gradient, and one gradient, or None, per array.
    """
    tensors = [None if array is None else torch.tensor(array, requires_grad=True) for array in arrays]
    output = function(*tensors)
    if grad_output is None:
        grad_output = normal(99, *output.shape)
    present = [tensor for tensor in tensors if tensor is not None]
    found = iter(torch.autograd.grad(output, present, torch.tensor(grad_output)))
    gradients = [None if t is None else next(found).numpy() for t in tensors]
    return output.detach().numpy(), grad_output, gradients


def check_linear(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    torch_function: Callable[..., Any],
    arrays: Sequence[Optional],
    operations: float,
    torch_magnitude: Callable[..., Any] | None = None,
) -> None:
    """Compare a function linear in each of its arrays, forward and backward.

    For such a function the magnitude is the function itself on absolute values, and the magnitudes of the gradients are
    its gradients there. PyTorch computes these too, so that the bound does not depend on the code under test.

    Args:
        forward: The reference, of the arrays.
        backward: The reference's gradients, of grad_output and the arrays.
        torch_function: The same in PyTorch, of tensors.
        arrays: The arrays; None stays None.
        operations: Roundings on the longest way, forward or backward.
        torch_magnitude: Replaces `torch_function` on absolute values.
    """
    output, grad, gradients = torch_run(torch_function, arrays)
    absolute = [None if array is None else np.abs(array) for array in arrays]
    magnitude, _, magnitudes = torch_run(torch_magnitude or torch_function, absolute, np.abs(grad))
    assert within(forward(*arrays), output, magnitude, operations)
    check_gradients(backward(grad, *arrays), gradients, magnitudes, operations)


def check_gradients(
    actual: Sequence[Array | None],
    expected: Sequence[Array | None],
    magnitudes: Sequence[Array | None],
    operations: float,
) -> None:
    """Compare gradients one by one; None agrees only with None."""
    for found, wanted, magnitude in zip(actual, expected, magnitudes, strict=True):
        if wanted is None or magnitude is None:
            assert found is None
        else:
            assert found is not None
            assert within(found, wanted, magnitude, operations)
