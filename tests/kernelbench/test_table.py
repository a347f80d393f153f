"""The table names every problem of level 1, and what it says of formulas, kernels and torch is true."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch

from svertka.spec.layers import DEFINITIONS

from ..generated.agreement import agree, conditions
from .level_1 import PROBLEMS
from .level_2 import CHAINS
from .lines import lines_of
from .measured import gradients_of, of_kernels, of_torch
from .problem import Problem
from .records import Generated, formulas, generated, library_certificates, prove
from .table import counts, levels, named, rows

OWN = formulas()
LIBRARY = "library"
OF_FLOAT32 = {"hardsigmoid"}
"""Functions whose gradient torch computes with a constant of float32, in float64 too."""


ROWS = rows("Level 1")


@pytest.fixture(scope="module")
def given() -> Iterator[Generated]:
    """One package of all formulas, as the table's."""
    with generated([definition for _, definition in OWN.values()]) as package:
        yield package


def test_the_table_names_all_problems() -> None:
    assert [problem.number for problem in PROBLEMS] == [*range(1, 101)]
    assert {problem.number: problem.name for problem in PROBLEMS} == {n: row[0] for n, row in ROWS.items()}
    assert list(ROWS) == sorted(ROWS)


def test_every_formula_computes_a_problem() -> None:
    steps = {step.function for chain in CHAINS for step in chain.steps}
    assert {problem.function for problem in PROBLEMS if problem.own} | (steps & OWN.keys()) == OWN.keys()


def test_the_table_says_by_what_and_in_how_many_lines() -> None:
    lines = {name: lines_of(file)[name] for name, (file, _) in OWN.items()}
    for problem in PROBLEMS:
        where, size = ROWS[problem.number][1:3]
        assert where.startswith(f"`{problem.function}`")
        if problem.own:
            assert where.endswith(f"({OWN[problem.function][0].name})")
            assert int(size) == lines[problem.function] < 60
        else:
            assert size == LIBRARY
            assert named(problem.function) in DEFINITIONS.values()


def test_levels_of_library_layers_are_those_of_their_certificates() -> None:
    for problem in PROBLEMS:
        if not problem.own:
            assert ROWS[problem.number][4] == levels(library_certificates(named(problem.function)))


@pytest.mark.thinned(8)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: f"{problem.number}_{problem.function}")
def test_kernels_are_as_many_as_the_table_says_and_agree_with_torch(problem: Problem, given: Generated) -> None:
    package = given.module if problem.own else importlib.import_module("svertka.generated")
    found, expected = of_kernels(problem, package), of_torch(problem)
    assert counts(found) == ROWS[problem.number][3]
    if not expected.result.is_floating_point():
        assert torch.equal(found.result, expected.result)
        return
    tensors = problem.tensors()
    leaves = tuple(tensor for tensor in tensors if tensor.requires_grad)
    elements = sum(tensor.numel() for tensor in tensors)

    def result(*values: torch.Tensor) -> torch.Tensor:
        replaced = iter(values)
        return problem.theirs(*(next(replaced) if one.requires_grad else one for one in problem.tensors()))

    def gradients(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return gradients_of(result(*values), values, again=True)

    agree(found.result, expected.result, conditions(result, leaves)[0], elements)
    if problem.function in OF_FLOAT32:
        return
    bounds = conditions(gradients, leaves)
    for one, other, bound in zip(found.gradients, expected.gradients, bounds, strict=True):
        agree(one, other, bound, elements)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({problem.function for problem in PROBLEMS if problem.own}))
def test_every_level_holds(name: str, given: Generated) -> None:
    [row, *_] = [ROWS[problem.number] for problem in PROBLEMS if problem.own and problem.function == name]
    assert levels(prove(given, name)) == row[4]
