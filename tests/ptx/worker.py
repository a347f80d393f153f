"""Kernels on the machine, in a process without Triton's interpreter; prints one line of JSON per question.

Every question is a JSON object: ``layer``, ``target``, ``dtype``, ``case``; ``boxed`` for the cases whose operands are
boxes; ``fault`` for a fault that is planted in the PTX of ``kernel``. With ``symbols`` the kernels run on expressions.
"""

from __future__ import annotations

import importlib
import json
import mmap
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from unittest import mock

import torch

from svertka.codegen.lowering.built import built
from svertka.codegen.ptx.launch import executing
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.proof import prove_compiled
from svertka.codegen.verify import equivalence
from svertka.codegen.verify.cases import cases
from svertka.codegen.verify.equivalence import compare, format_of
from svertka.codegen.verify.levels import Subject
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import on_matrix_unit

PACKAGE = "svertka.generated"
NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Run a layer forward and backward, and compare it with its formula."""
    definition = DEFINITIONS[question["layer"]]
    module, kernels = built(definition), importlib.import_module(f"{PACKAGE}.kernels.{definition.name}")
    variant, dtype = definition.variants[question.get("variant", 0)], getattr(torch, question["dtype"])
    target = question["target"]
    if question.get("boxed"):
        case = Subject(module, variant, PACKAGE, target=target).box_cases[question["case"]]
    else:
        case = list(cases(definition, variant))[question["case"]]
    began, planted = time.process_time(), [0]
    alter = planting(question["fault"], question["kernel"], planted) if "fault" in question else None
    if question.get("symbols"):
        proof = prove_compiled(Subject(module, variant, PACKAGE, target=target), alter)
        return asdict(proof) | {"planted": planted[0], "seconds": time.process_time() - began}
    if question.get("far"):
        case = replace(case, view=True)
    found: dict[str, Any] = {"failures": [], "refused": "", "elements": 0}
    counting = bool(question.get("counted"))
    try:
        with (
            mock.patch.object(equivalence, "as_view", far_apart if question.get("far") else equivalence.as_view),
            executing(target, question.get("forced", ""), alter=alter, counting=counting) as done,
        ):
            if question.get("narrow"):
                importlib.import_module(f"{PACKAGE}.launching").INT32_ELEMENTS = 2**62
            arithmetic = on_matrix_unit(format_of(dtype))
            for _, result in compare(module, variant, kernels, case, (dtype,), target=arithmetic):
                found["elements"] += result.elements
                found["failures"] += [] if result.holds else [str(result)]
    except PtxError as refused:
        found["refused"] = str(refused)
    found |= {"kernels": sorted(set(done.kernels)), "launches": done.launches, "planted": planted[0]}
    if counting:
        instructions = sum((cost.counts.instructions for cost in done.costs), Counter())
        loaded = [cost.counts.sectors["load"] for cost in done.costs]
        sectors = {"units": sum(one.units for one in loaded), "least": sum(one.least for one in loaded)}
        found |= {"instructions": dict(instructions), "loaded": sectors}
    return found | {"seconds": time.process_time() - began}


def far_apart(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as a view whose last element lies more than 2^31 elements from its first, in memory nobody touches."""
    if not tensor.numel() or tensor.dim() < 1:
        return tensor
    outer = next((place for place, extent in enumerate(tensor.shape) if extent > 1), 0)
    step = (2**31 // max(tensor.shape[outer] - 1, 1) // 64 + 1) * 64
    strides = [step if place == outer else stride for place, stride in enumerate(tensor.stride())]
    size = sum((extent - 1) * stride for extent, stride in zip(tensor.shape, strides, strict=True)) + 1
    reserved = mmap.mmap(-1, size * tensor.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
    memory = torch.frombuffer(reserved, dtype=tensor.dtype, count=size)
    return memory.as_strided(tensor.shape, strides).copy_(tensor)


def planting(fault: list[str], kernel: str, planted: list[int]) -> Callable[[str], str]:
    """Replace what matches a pattern, in one kernel; the third entry says which of the places, all without it."""
    pattern, text, *places = fault

    def alter(code: str) -> str:
        if f".entry {kernel}(" not in code:
            return code
        found = list(re.finditer(pattern, code, re.MULTILINE))
        for one in reversed([found[int(place)] for place in places if int(place) < len(found)] if places else found):
            code = code[: one.start()] + one.expand(text) + code[one.end() :]
            planted[0] += 1
        return code

    return alter


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
