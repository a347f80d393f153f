"""The node tests of the ``onnx`` package, which creates models, inputs and outputs in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPERATORS", "Array", "Case", "cases"]

Array: TypeAlias = NDArray[Any]

# The layers' operators under their ONNX names.
OPERATORS = (
    "AveragePool",
    "BatchNormalization",
    "CenterCropPad",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Elu",
    "Flatten",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSwish",
    "LRN",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Mish",
    "NegativeLogLikelihoodLoss",
    "Relu",
    "Resize",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropyLoss",
    "Softplus",
    "Softsign",
    "Tanh",
    "Upsample",
)


@dataclass(frozen=True, eq=False)
class Case:
    """One call of one operator, and its expected outputs.

    Attributes:
        name: ONNX's name of the test.
        operator: ONNX's name of the operator.
        attributes: those given; strings as str.
        inputs: by position, None where one is left out.
        outputs: the expected ones.
    """

    name: str
    operator: str
    attributes: dict[str, Any]
    inputs: tuple[Array | None, ...]
    outputs: tuple[Array, ...]

    def __str__(self) -> str:
        return self.name.removeprefix("test_")

    def input(self, place: int) -> Array:
        """An input that is never left out."""
        found = self.inputs[place]
        assert found is not None
        return found

    def optional(self, place: int) -> Array | None:
        """An input that may be left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default."""
        return self.attributes.get(name, default)


@cache
def cases() -> tuple[Case, ...]:
    """Every test of a layer's operator.

    ONNX repeats many of them, with the same inputs and outputs, with the operator expanded into more primitive ones;
    those test the expansion, and are left out.
    """
    return tuple(_cases())


def _cases() -> Iterator[Case]:
    from onnx.backend.test.case.node import collect_testcases
    from onnx.helper import get_attribute_value

    state = np.random.get_state()  # ONNX seeds the global generator for every test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    np.random.set_state(state)
    for test in collected:
        assert test.model is not None
        assert test.data_sets is not None
        graph = test.model.graph
        node = graph.node[0]
        if len(graph.node) > 1 or "_expanded" in test.name or node.op_type not in OPERATORS:
            continue
        values = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        ((inputs, outputs),) = test.data_sets
        present = iter(inputs)
        yield Case(
            test.name,
            node.op_type,
            {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()},
            tuple(np.asarray(next(present)) if name else None for name in node.input),
            tuple(np.asarray(output) for output in outputs),
        )
