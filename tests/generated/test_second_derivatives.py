"""Second derivatives by PyTorch's different methods, and the types of their results."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from svertka.generated import functional

from .cases import Case
from .test_autograd import every_function
from .test_transforms import double, of_case


def products(values: list[Tensor], gradients: tuple[Tensor, ...], directions: list[Tensor]) -> list[Tensor]:
    """The matrix of second derivatives times directions, by reverse mode twice; 0 for a constant gradient."""
    moving = [(g, v) for g, v in zip(gradients, directions, strict=True) if g.requires_grad]
    along = sum((g * v).sum() for g, v in moving)
    if not isinstance(along, Tensor):
        return [torch.zeros_like(value) for value in values]
    return list(torch.autograd.grad(along, values, materialize_grads=True))


@pytest.mark.thinned(12)
@every_function
def test_forward_over_reverse_is_reverse_over_reverse(case: Case, road: str) -> None:
    """By dual numbers that autograd records, and by ``jvp`` of ``grad``: saved tensors have tangents too."""
    function, given, names = of_case(case)
    values = [given[name] for name in names]
    directions = [double(*value.shape, seed=place) for place, value in enumerate(values)]

    def loss(*tensors: Tensor) -> Tensor:
        return function(*tensors).square().sum()

    leaves = [value.clone().requires_grad_() for value in values]
    expected = products(leaves, torch.autograd.grad(loss(*leaves), leaves, create_graph=True), directions)
    assert any(float(one.abs().max()) > 0 for one in expected)

    places = tuple(range(len(values)))
    _, by_func = torch.func.jvp(torch.func.grad(loss, places), tuple(values), tuple(directions))
    with forward_ad.dual_level():
        pairs = zip(values, directions, strict=True)
        duals = [forward_ad.make_dual(value.clone().requires_grad_(), v) for value, v in pairs]
        moved = [forward_ad.unpack_dual(g).tangent for g in torch.autograd.grad(loss(*duals), duals)]
    for one, by_duals, other in zip(by_func, moved, expected, strict=True):
        scale = 1e-10 * (float(other.abs().max()) + 1)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=scale)
        found = torch.zeros_like(other) if by_duals is None else by_duals
        torch.testing.assert_close(found, other, rtol=1e-9, atol=scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_that_are_recorded_keep_the_type_of_their_tensor(dtype: torch.dtype, road: str) -> None:
    """Estimates and weights are float32 beside half precision, and have values that half precision cannot represent."""
    image = torch.linspace(-1, 1, 3 * 4 * 16 * 16).view(4, 3, 16, 16).to(dtype).requires_grad_()
    weight, bias = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    output = functional.batch_norm(image, None, None, weight, bias, True)
    seed = torch.full_like(output, 1000.0)
    seed[0, 0, 0, 0] = 1000.0 + 2.0**3
    given = (image, weight, bias)
    plain, recorded = (
        torch.autograd.grad(output, given, seed, create_graph=how, retain_graph=True) for how in (False, True)
    )
    assert [one.dtype for one in recorded] == [dtype, torch.float32, torch.float32]
    assert float(plain[2][0]) == float(seed[:, 0].float().sum()) > 65504
    torch.testing.assert_close(recorded[2], plain[2], rtol=0, atol=0)


def test_zeros_without_memory_are_zeros(road: str) -> None:
    """Autograd passes such tensors for missing tangents; access to their memory fails."""
    zeros = torch._efficientzerotensor
    image = torch.ones(1, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(functional.relu(image), image, zeros(1, 2, 4, 4))
    assert torch.equal(gradient, torch.zeros(1, 2, 4, 4))
    assert torch.equal(functional.max_pool2d(zeros(1, 2, 4, 4), 2), torch.zeros(1, 2, 2, 2))
