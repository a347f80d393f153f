"""Online sums: which exponentials are summed in the walk that finds their maximum, that they are right, and faults."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import Ne, exp, log
from torch import Tensor as Values

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.ir.kernel import Kernel
from svertka.codegen.ir.online import as_online
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec import Equation, Layer, Max, Select, Sum, Tensor, axes, define, maximum
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS as LIBRARY

from ..examples.conftest import packaged

n, i, c = axes("n i c")
j = i.twin("j")
scores, values = Tensor("input", n, i), Tensor("values", n, i)
mask = Tensor("mask", n, i, kind="integer")
highest = Tensor("highest", n)
HIGHEST = Equation(highest, Max(scores[n, i], i))
PER_ROW, ALONG = Tensor("output", n), Tensor("output", n, i)


def defined(name: str, inputs: tuple[Tensor, ...], output: Tensor, value: Any) -> Definition:
    return define(Layer(name, inputs, (Equation(output, value),), ("output",)))


def kept(index: Any, value: Any) -> Any:
    return Select(Ne(mask[n, index], 0), value, 0)


DEFINITIONS = {
    definition.name: definition
    for definition in (
        defined("logsumexp", (scores,), PER_ROW, log(Sum(exp(scores[n, i]), i))),
        defined(
            "pooled",  # by the weights of a softmax: two sums with one maximum
            (scores, values),
            PER_ROW,
            Sum(exp(scores[n, i]) * values[n, i], i) / Sum(exp(scores[n, i]), i),
        ),
        defined(
            "masked_pooled",
            (scores, values, mask),
            PER_ROW,
            Sum(exp(scores[n, i]) * kept(i, values[n, i]), i) / Sum(exp(scores[n, i]), i),
        ),
        defined(
            "without_first",
            (scores,),
            PER_ROW,
            log(Sum(exp(scores[n, i]), i, where=i >= 1)),
        ),
    )
}
