"""The benchmarks as data (``workloads.json``): functions by name, shapes and arguments.

Input: the data. Output: ``Workload``s, and tensors to run them on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from itertools import count
from types import FunctionType
from typing import Any

import torch

__all__ = [
    "COMPILE",
    "KINDS",
    "PHASES",
    "TF32",
    "Link",
    "Road",
    "Workload",
    "asking",
    "gradient_groups",
    "in_phase",
    "of_networks",
    "precision",
    "roads",
    "shrunk",
    "workloads",
]

KINDS = ("memory", "matrix", "launch")
ON_A_CPU = 2**15  # elements of an input on a CPU
TF32 = "tf32"
COMPILE: Mapping[str, Any] = {"mode": "max-autotune-no-cudagraphs", "dynamic": False}
"""Options of ``torch.compile``."""
PHASES = ("benchmark", "compile", "tune")
_CODES = count(1)


@dataclass(frozen=True)
class Link:
    """One function of a chain, called on the result of the previous one.

    Attributes:
        function: name in ``torch.nn.functional``, or in ``torch``.
        tensors: tensors of the workload by argument.
        arguments: the others.
    """

    function: str
    tensors: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """A call in one dtype and layout.

    Attributes:
        name: for the table.
        kind: ``"memory"`` (bytes are its limit), ``"matrix"`` (products are) or ``"launch"`` (the host is).
        function: name in ``svertka.generated.functional`` and, unless ``baseline`` says otherwise, in
            ``torch.nn.functional``.
        shapes: of the real tensors, by argument, the first to be differentiated; ``labels``: of integer tensors, below
            ``classes``.
        arguments: the others; ``baseline_arguments`` for the baseline if they differ.
        dtype: of the tensors; ``"tf32"`` is float32 with products in tf32; plain float32 never uses tf32 here.
        layout: of the tensors.
        quick: whether it belongs to the short run.
        baseline: name of the baseline's function.
        chain: for a fused function, the baseline's functions in order.
        phases: for a run with little time, the phases that it belongs to, with its priority in each; 1 is first.
    """

    name: str
    kind: str
    function: str
    shapes: Mapping[str, tuple[int, ...]]
    arguments: Mapping[str, Any]
    dtype: str
    layout: str
    quick: bool
    baseline: str
    baseline_arguments: Mapping[str, Any]
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    classes: int = 0
    chain: tuple[Link, ...] = ()
    phases: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name, dtype and layout."""
        return f"{self.name} {self.dtype} {self.layout}"

    @property
    def storage(self) -> str:
        """Name of the tensors' own type."""
        return "float32" if self.dtype == TF32 else self.dtype

    def tensors(self, device: str, seed: int = 0) -> dict[str, torch.Tensor]:
        """Random inputs; variances are positive, statistics and labels need no gradient."""
        random = torch.Generator(device=device).manual_seed(seed)
        made = {}
        for name, shape in self.shapes.items():
            values = torch.randn(shape, generator=random, device=device, dtype=torch.float32)
            values = values.abs() + 0.5 if name.endswith("var") else values
            values = values.to(getattr(torch, self.storage))
            if self.layout == "channels_last" and len(shape) == 4:
                values = values.to(memory_format=torch.channels_last)
            made[name] = values.requires_grad_(not name.startswith("running"))
        for name, shape in self.labels.items():
            made[name] = torch.randint(0, self.classes, shape, generator=random, device=device)
        return made


@dataclass(frozen=True)
class Road:
    """One implementation of a workload: a function and its arguments."""

    name: str
    function: Any
    arguments: Mapping[str, Any]

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The function's first result."""
        found = self.function(**tensors, **self.arguments)
        result: torch.Tensor = found[0] if isinstance(found, tuple) else found
        return result


def roads(workload: Workload, compiled: bool, options: Mapping[str, Any] = COMPILE) -> list[Road]:
    """svertka, PyTorch eager and, if wanted, ``torch.compile`` with some options."""
    from svertka.generated import functional

    plain = _chained(workload.chain) if workload.chain else _torch(workload.baseline)
    found = [
        Road("svertka", getattr(functional, workload.function), workload.arguments),
        Road("eager", plain, workload.baseline_arguments),
    ]
    if compiled:
        links = workload.chain or (Link(workload.baseline, _by_name(workload), workload.baseline_arguments),)
        own = _with_code_of_its_own(_chained(links), workload)
        # With fullgraph: where dynamo would fall back to eager, or has recompiled too often, it raises.
        found.append(Road("compile", torch.compile(own, **{**options, "fullgraph": True}), {}))
    return found


def _by_name(workload: Workload) -> dict[str, str]:
    return {name: name for name in (*workload.shapes, *workload.labels) if name != "input"}


def _torch(name: str) -> Any:
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)


def _chained(links: tuple[Link, ...]) -> Any:
    """A function that calls PyTorch's functions in order."""
    functions = [(_torch(link.function), link) for link in links]

    def chain(input: torch.Tensor, **tensors: torch.Tensor) -> torch.Tensor:
        for function, link in functions:
            given = {argument: tensors[name] for argument, name in link.tensors.items()}
            input = function(input, **given, **link.arguments)
        return input

    return chain


def _with_code_of_its_own(function: Any, workload: Workload) -> Any:
    """A copy with a new code object: dynamo counts recompilations per code object, and gives up after a few."""
    number = next(_CODES)
    code = function.__code__.replace(co_name=f"{workload.function}_{number}", co_firstlineno=number)
    made = FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def gradient_groups(workload: Workload, tensors: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """Gradients that are computed together, by direction: all at once; for matrix products each separately."""
    names = [name for name, tensor in tensors.items() if tensor.requires_grad]
    if workload.kind != "matrix":
        return {"backward": names}
    return {f"gradient of {name}": [name] for name in names if name != "bias"}


def asking(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The same tensors, only some of which require gradients.

    A custom autograd function in Python computes every gradient that its inputs require, whatever ``autograd.grad``
    asks for.
    """
    return {name: tensor.detach().requires_grad_(name in names) for name, tensor in tensors.items()}


@contextmanager
def precision(workload: Workload) -> Iterator[None]:
    """Torch's settings for float32 products, the same for every road: tf32 if the workload says so."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = workload.dtype == TF32
    torch.set_float32_matmul_precision("high" if workload.dtype == TF32 else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = cudnn
        torch.set_float32_matmul_precision(matmul)


def workloads(quick: bool = False, kinds: tuple[str, ...] = KINDS) -> Iterator[Workload]:
    """All workloads of some kinds, or the short run's.

    Raises:
        ValueError: there is no such kind.
    """
    table = json.loads(_text("workloads.json"))
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: there is no such kind of workload; use {', '.join(KINDS)}")
        for row in table[kind]:
            for dtype in row["dtypes"]:
                for layout in row["layouts"]:
                    made = _workload(kind, row, dtype, layout)
                    if made.quick or not quick:
                        yield made


def of_networks() -> Iterator[Workload]:
    """Every call of AlexNet, VGG-16 and ResNet-50 in training, of 64 images in bfloat16, once each.

    Convolutions and products are among the ``workloads``; what is between them is in ``networks.json``.
    """
    for row in json.loads(_text("networks.json")):
        for layout in row["layouts"]:
            yield _workload("memory", row, "bfloat16", layout)
    for one in workloads(kinds=("matrix",)):
        if one.name.endswith(" x64") and one.dtype == "bfloat16" and "+" not in one.name:
            yield one


def _text(name: str) -> str:
    return resources.files("svertka.codegen.machine.bench").joinpath(name).read_text(encoding="utf-8")


def in_phase(phase: str) -> list[Workload]:
    """The workloads of a phase of a run with little time, the most important first.

    Raises:
        ValueError: there is no such phase.
    """
    if phase not in PHASES:
        raise ValueError(f"phase {phase!r}: there is no such phase of workloads; use {', '.join(PHASES)}")
    return sorted((w for w in workloads() if phase in w.phases), key=lambda w: w.phases[phase])


def shrunk(workload: Workload) -> Workload:
    """With fewer examples, for a machine without a GPU."""
    image = rows, *rest = workload.shapes["input"]
    fewer = max(1, min(rows, ON_A_CPU // max(math.prod(rest), 1)))
    shapes = {name: (fewer, *shape[1:]) if shape == image else shape for name, shape in workload.shapes.items()}
    labels = {name: (fewer, *shape[1:]) for name, shape in workload.labels.items()}
    return replace(workload, shapes=shapes, labels=labels)


def _workload(kind: str, row: Mapping[str, Any], dtype: str, layout: str) -> Workload:
    return Workload(
        name=row["name"],
        kind=kind,
        function=row["function"],
        shapes={name: tuple(shape) for name, shape in row["tensors"].items()},
        arguments=row["arguments"],
        dtype=dtype,
        layout=layout,
        quick=row["quick"],
        baseline=row.get("baseline", row["function"]),
        baseline_arguments={} if "chain" in row else row.get("baseline_arguments", row["arguments"]),
        labels={name: tuple(shape) for name, shape in row.get("labels", {}).items()},
        classes=row.get("classes", 0),
        chain=tuple(Link(**link) for link in row.get("chain", ())),
        phases=_phases(kind, row, dtype, layout),
    )


def _phases(kind: str, row: Mapping[str, Any], dtype: str, layout: str) -> dict[str, int]:
    """Phases of a row's call in a dtype and layout: only its last layout and, except in one phase, one dtype."""
    found = dict(row.get("device", {}))
    dtypes = found.pop("dtypes", [row["dtypes"][0] if kind == "launch" else "bfloat16"])
    if layout != row["layouts"][-1] or dtype not in dtypes:
        return {}
    return {phase: place for phase, place in found.items() if phase == "benchmark" or dtype == dtypes[0]}
