"""Dropout's mask, flags for in-place results, and special values."""

from __future__ import annotations

import pytest
import torch

from svertka.generated import functional, runtime

from .agreement import equal


def test_dropout_drops_or_scales(road: str, device: str) -> None:
    input = torch.ones(40, 25, dtype=torch.float64, device=device, requires_grad=True)
    output = functional.dropout(input, 0.75, seed=3)
    kept = output != 0
    equal(output, torch.where(kept, 4.0, 0.0).double().cpu())
    # Binomial with n = 1000: six standard deviations.
    assert abs(int(kept.sum()) - 250) < 6 * (1000 * 0.75 * 0.25) ** 0.5
    (gradient,) = torch.autograd.grad(output.sum(), input)
    equal(gradient, output.detach().cpu())


@pytest.mark.skipif(not runtime.INTERPRETED, reason="needs the interpreter")
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5, 2), (1030,)])
@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1])
def test_dropout_s_mask_is_the_same_on_every_road(
    shape: tuple[int, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    input = torch.ones(shape)
    by_kernels = functional.dropout(input, 0.3, seed=seed)
    monkeypatch.setattr(runtime, "INTERPRETED", False)
    equal(by_kernels, functional.dropout(input, 0.3, seed=seed))


def test_dropout_s_mask_goes_by_place_not_by_memory(road: str, device: str) -> None:
    input = torch.ones(2, 3, 4, 5, device=device)
    expected = functional.dropout(input, seed=1)
    equal(functional.dropout(input.to(memory_format=torch.channels_last), seed=1), expected.cpu())


def test_dropout_draws_its_seed_from_torch(road: str, device: str) -> None:
    input = torch.ones(64, device=device)
    torch.manual_seed(7)
    first, second = functional.dropout(input), functional.dropout(input)
    assert not torch.equal(first, second)
    torch.manual_seed(7)
    equal(functional.dropout(input), first.cpu())


def test_dropout_in_evaluation_returns_its_input(road: str, device: str) -> None:
    input = torch.ones(3, device=device)
    assert functional.dropout(input, training=False) is input


def test_in_place(road: str, device: str) -> None:
    input = torch.tensor([-1.0, 2.0, -3.0, 4.0], device=device)
    assert functional.relu(input, inplace=True) is input
    equal(input, torch.tensor([0.0, 2.0, 0.0, 4.0]))
    leaf = torch.tensor([-1.0, 2.0], device=device, requires_grad=True)
    doubled = leaf * 2
    functional.relu(doubled, inplace=True).sum().backward()
    assert leaf.grad is not None
    equal(leaf.grad, torch.tensor([0.0, 2.0]))


SPECIAL = [-2.0, -0.0, 0.0, 3.0, float("nan"), float("inf"), -float("inf")]


def test_relu_and_max_at_special_values(road: str, device: str) -> None:
    input = torch.tensor(SPECIAL, dtype=torch.float64, device=device)
    equal(functional.relu(input), torch.nn.functional.relu(input.cpu()))
    rows = input.view(1, 1, 7)
    equal(functional.max_pool1d(rows, 2, 1), torch.nn.functional.max_pool1d(rows.cpu(), 2, 1))


def test_ties_go_to_the_first(road: str, device: str) -> None:
    input = torch.ones(1, 1, 4, 4, dtype=torch.float64, device=device, requires_grad=True)
    output, indices = functional.max_pool2d(input, 3, 1, return_indices=True)
    (gradient,) = torch.autograd.grad(output.sum(), input)
    equal(indices, torch.tensor([[[[0, 1], [4, 5]]]]))
    wanted = torch.zeros(4, 4, dtype=torch.float64)
    wanted[:2, :2] = 1
    equal(gradient[0, 0], wanted)


def test_a_masked_class_costs_nothing(road: str, device: str) -> None:
    scores = torch.tensor([[0.0, -float("inf"), 0.0]], dtype=torch.float64, device=device)
    found = functional.cross_entropy(scores, torch.tensor([0], device=device))
    assert found.isfinite()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_large_scores(name: str, road: str, device: str) -> None:
    scores = torch.tensor([[1000.0, 1000.0], [-1000.0, -1000.0]], dtype=torch.float64, device=device)
    found = getattr(functional, name)(scores, 1)
    equal(found[0], found[1].cpu())
    assert found.isfinite().all()
