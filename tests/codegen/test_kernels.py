"""Every committed kernel, forward and backward, against its formula.

Real values are compared within the error bound of the formula's own evaluation. Whole numbers must be equal wherever no
operation of the formula rounds.
"""

from __future__ import annotations

import pytest
import torch

from .arrangements import channels_last, scattered
from .harness import (
    Inexact,
    Problem,
    cases_of,
    definition_of,
    emptied,
    kernels_of,
    misses,
    outcome,
    problem,
    problem_names,
    smallest,
)
from .tiles import recorded

EXACT = (
    "center_crop",
    "convolution_1d",
    "convolution_2d",
    "convolution_3d",
    "linear",
    "max_pooling_1d",
    "max_pooling_2d",
    "max_pooling_3d",
    "relu",
)
"""Formulas that never round whole numbers in any case: sums of products, piecewise linear."""
SOMETIMES_EXACT = ("average_pooling_2d", "average_pooling_3d", "normalize")
LAYERS = sorted({name.rsplit("-", 1)[0] for name in problem_names()})
DTYPES = {
    "float64": (torch.float64,),
    "float32": (torch.float32,),
    "half": (torch.float16, torch.bfloat16),
    "integer": (torch.float64, torch.float32, torch.float16, torch.bfloat16),
}


def _asked() -> list[tuple[str, str]]:
    """Formula and kind of values; formulas with an exact comparison get only one case of reals."""
    names = problem_names()
    exact = [name for name in names if _layer(name) in EXACT]
    reals = [name for name in names if name not in exact or name.endswith("-1")]
    kinds = {"integer": exact, "float32": reals, "float64": reals, "half": reals}
    return [(name, kind) for kind, chosen in kinds.items() for name in chosen]


def _layer(name: str) -> str:
    return name.rsplit("-", 1)[0]


def _failures(given: Problem, device: str) -> list[str]:
    """Elements outside their bounds, in any dtype and memory format that the values allow."""
    expected = given.expected()
    kernels = kernels_of(given.module.definition.name)
    roads = [(dtype, torch.Tensor.contiguous) for dtype in DTYPES[given.kind]]
    if given.kind in ("float32", "integer"):
        roads += [(torch.float32, channels_last), (torch.float32, scattered)]
    return [
        f"{dtype} {arrange.__name__} {line}"
        for dtype, arrange in roads
        for line in misses(outcome(given, kernels, dtype, device, arrange), expected, dtype)
    ]


@pytest.mark.thinned(5)
@pytest.mark.parametrize(("name", "kind"), _asked())
def test_formula(name: str, kind: str, device: str) -> None:
    failures = _failures(problem(name, kind), device)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("layer", SOMETIMES_EXACT)
def test_whole_numbers(layer: str, device: str) -> None:
    """Formulas that divide by what may be a power of two: in some case it is."""
    exact = 0
    for number in range(len(cases_of(layer))):
        try:
            failures = _failures(problem(f"{layer}-{number}", "integer"), device)
        except Inexact:
            continue
        assert not failures, "\n".join(failures)
        exact += 1
    assert exact


@pytest.mark.parametrize("layer", LAYERS)
def test_channels_last_results(layer: str, device: str) -> None:
    """Results that follow a channels-last input are channels-last too, and the kernels use it."""
    given = problem(f"{layer}-{smallest(layer)}", "float32")
    kernels = kernels_of(given.module.definition.name)
    leading = next(t for t in given.layer.inputs if t.kind == "real")
    shape = given.tensors[leading.name].shape
    with recorded() as launches:
        found = outcome(given, kernels, torch.float32, device, channels_last)
    if len(shape) < 3 or shape[1] == 1:
        assert not any(launched.constants["LAST"] for launched in launches)
        return
    assert launches
    assert all(launched.constants["LAST"] for launched in launches)
    for name, tensor in found.items():
        if tensor is not None and tensor.dim() >= 3 and tensor.shape[1] > 1 and name in given.layer.outputs:
            assert tensor.stride(1) == 1, name


@pytest.mark.parametrize("layer", LAYERS)
def test_wide_offsets(layer: str, device: str) -> None:
    """64-bit offsets give the same bits as 32-bit ones."""
    given = problem(f"{layer}-{smallest(layer)}", "float32")
    kernels = kernels_of(given.module.definition.name)
    with recorded() as narrow:
        first = outcome(given, kernels, torch.float32, device)
    with recorded(wide=True) as wide:
        second = outcome(given, kernels, torch.float32, device)
    assert {str(launched.constants["INDEX"]) for launched in narrow} == {"int32"}
    assert {str(launched.constants["INDEX"]) for launched in wide} == {"int64"}
    for name, tensor in first.items():
        assert _same_bits(tensor, second[name]), name


@pytest.mark.parametrize("layer", LAYERS)
def test_same_bits_twice(layer: str, device: str) -> None:
    """Law 7: two runs give the same bits."""
    given = problem(f"{layer}-{smallest(layer)}", "half")
    kernels = kernels_of(given.module.definition.name)
    first, second = (outcome(given, kernels, torch.bfloat16, device) for _ in range(2))
    for name, tensor in first.items():
        assert _same_bits(tensor, second[name]), name


def _same_bits(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    assert one is not None
    assert other is not None
    whole = {8: torch.int64, 4: torch.int32, 2: torch.int16}[one.element_size()]
    return torch.equal(one.contiguous().view(whole), other.contiguous().view(whole))


@pytest.mark.parametrize("layer", LAYERS)
def test_empty_batch(layer: str, device: str) -> None:
    """Without examples nothing is computed, and gradients of parameters are sums over nothing."""
    definition, _ = definition_of(layer)
    given = problem(f"{layer}-0", "float32")
    empty = emptied(given)
    if empty is None:
        pytest.skip("its rules ask for a value")
    found = outcome(empty, kernels_of(definition.name), torch.float32, device)
    state = {a.updated_by for a in definition.tensor_arguments}  # the mean over nothing is 0 / 0
    found = {name: tensor for name, tensor in found.items() if name.split()[0] not in state}
    assert not misses(found, empty.expected(), torch.float32)
