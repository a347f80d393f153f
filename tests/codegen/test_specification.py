"""Kernel IR keeps to its specification, and a kernel that does not is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from svertka.codegen.ir.kernel import Apply, Kernel, Load, Name, Section, Store
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.built import built
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS

from .harness import module_of

EVERY = {definition.name: definition for definition in with_gradients(list(DEFINITIONS.values()))}


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", EVERY)
def test_every_kernel_keeps_to_the_specification(name: str) -> None:
    kernels = built(EVERY[name]).kernels
    assert kernels
    assert not [broken for kernel in kernels for broken in violations(kernel)]


def kernel_of(name: str) -> Kernel:
    return module_of(name).kernels[0]


def with_store(kernel: Kernel, change: Callable[[Store], Store]) -> Kernel:
    """The kernel with its stores changed."""
    sections = (replace(one, stores=tuple(map(change, one.stores))) for one in kernel.sections)
    return replace(kernel, sections=tuple(sections))


def without_statements(section: Section) -> Section:
    return Section(section.loops, (), (), section.stores)


RELU, SOFTMAX = "relu", "softmax"
WHOLE = Name("i", "integer")
BROKEN = {
    "is stored once": (RELU, lambda k: replace(k, sections=(*k.sections, *k.sections))),
    "nothing of that name": (RELU, lambda k: with_store(k, lambda s: replace(s, value=Name("missing", "real")))),
    "does not take": (
        RELU,
        lambda k: with_store(k, lambda s: replace(s, value=Apply("add", (s.value, WHOLE), "real"))),
    ),
    "statement of its own": (
        RELU,
        lambda k: with_store(k, lambda s: replace(s, value=Load("input", (WHOLE,), (), "real"))),
    ),
    "fits no output": (RELU, lambda k: with_store(k, lambda s: replace(s, indices=()))),
    "is stored into": (RELU, lambda k: with_store(k, lambda s: replace(s, value=WHOLE))),
    "no tensor that the kernel is given": (RELU, lambda k: replace(k, tensors=k.tensors[1:])),
    "three groups": (RELU, lambda k: replace(k, pattern=LoopPattern.CONTRACTION)),
    "only one of them": (RELU, lambda k: replace(k, constants=k.extents)),
    "known here": (SOFTMAX, lambda k: replace(k, sections=tuple(map(without_statements, k.sections)))),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_rule_is_named(sentence: str) -> None:
    name, change = BROKEN[sentence]
    assert any(sentence in broken for broken in violations(change(kernel_of(name))))
