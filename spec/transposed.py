"""A linear layer turned round: what took its output gives its input.

The transposed of a linear map is its adjoint, so it is derived and not written.

Input: a ``Layer`` that is linear in one of its inputs. Output: a ``Layer`` that is linear in a tensor of that name.
"""

from __future__ import annotations

from svertka.spec.adjoint import adjoint, gradient_of
from svertka.spec.layer import Layer
from svertka.spec.renamed import renamed

__all__ = ["transposed"]


def transposed(layer: Layer, name: str) -> Layer:
    """The layer whose ``input`` has the axes of ``layer``'s ``output``, and the other way round.

    Args:
        layer: it is linear in ``input``.
        name: of the new layer.

    Raises:
        ValueError: the layer is not linear: its derivative depends on ``input``.
    """
    gradient = adjoint(layer, wrt=["input"], outputs=["output"])
    if any(tensor.name == "input" for tensor in gradient.inputs):
        raise ValueError(f"layer {layer.name}: it is not linear in 'input'; transpose a layer that is")
    turned = {gradient_of(layer, "output"): "input", gradient_of(layer, "input"): "output"}
    return renamed(gradient, name, **turned)
