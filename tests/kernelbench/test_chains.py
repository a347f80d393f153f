"""The table names every chain, and what it says of formulas, refusals, kernels and agreement with torch is true."""

from __future__ import annotations

import pytest
import torch

from ..generated.agreement import agree, conditions
from .chain import Chain, composed
from .level_2 import CHAINS
from .measured import gradients_of, of_kernels, of_torch
from .records import generated
from .table import TABLE, counts, known, parts, refused, rows

ROWS = rows("Level 2")
MISSING = {20, 40, 41}
"""Two that read a tensor once with and once without gradient, and one whose formulas take minutes to print."""


def test_the_table_names_the_first_fifty() -> None:
    assert {chain.number: chain.name for chain in CHAINS} == {number: row[0] for number, row in ROWS.items()}
    assert sorted({*ROWS} | MISSING) == [*range(1, 51)]
    assert list(ROWS) == sorted(ROWS)


def test_most_chains_are_one_formula() -> None:
    assert sum(row[1].count("(") == 1 for row in ROWS.values()) >= 40


@pytest.mark.thinned(12)
@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: f"{chain.number}_{chain.name}")
def test_a_chain_is_composed_as_the_table_says_and_agrees_with_torch(chain: Chain) -> None:
    one = composed(chain, known())
    told, launches = ROWS[chain.number][1:3]
    assert parts(one) == told
    text = TABLE.read_text(encoding="utf-8")
    assert [f"- {chain.number}: `{reason}`" for reason in refused(one)] == [
        line for line in text.splitlines() if line.startswith(f"- {chain.number}: ")
    ]
    with generated(one.definitions) as given:
        found = of_kernels(one, given.module)
    assert counts(found) == launches
    expected = of_torch(one)
    bounds = _bounds(chain)
    elements = len(chain.steps) * sum(tensor.numel() for tensor in (*chain.tensors(), *_results(chain)))
    for ours, theirs, bound in zip(
        (found.result, *found.gradients), (expected.result, *expected.gradients), bounds, strict=True
    ):
        agree(ours, theirs, bound, elements)


def _results(chain: Chain) -> list[torch.Tensor]:
    value, *tensors = chain.tensors()
    return [result.detach() for result in chain.results(value, tensors)]


def _bounds(chain: Chain) -> list[float]:
    """How far result and gradients move when every tensor, and what every step computes, changes by its own size.

    A step that rounds has the effect of a factor behind it that changes by the rounding's share.
    """
    leaves = tuple(tensor for tensor in chain.tensors() if tensor.requires_grad)
    factors = tuple(torch.ones_like(result) for result in _results(chain))

    def result(*values: torch.Tensor) -> torch.Tensor:
        replaced = iter(values)
        value, *tensors = (next(replaced) if one.requires_grad else one for one in chain.tensors())
        *_, last = chain.results(value, tensors, values[len(leaves) :])
        return last

    def gradients(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return gradients_of(result(*values), values[: len(leaves)], again=True)

    every = (*leaves, *factors)
    return [*conditions(result, every), *conditions(gradients, every)]
