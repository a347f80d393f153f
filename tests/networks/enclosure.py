"""Enclosure of every float64 evaluation of a training step: running error through layers, loss and optimizer.

Each layer's formula, and the adjoint that the calculus derives from it, is evaluated in values with a bound of their
rounding error (``spec.running_error``). The bound of one result is passed to the next, from image to scores and back to
the parameters, through the optimizer's arithmetic, and from step to step. For any order of sums, fused or not, a
computation in float64 lies within it. Two things need care:

- Selections. Within the bound, ReLU's sign and a window's maximum must be the same for all evaluations, otherwise a
  gradient goes to another element. ``_decided`` checks that for every element.
- The loss. Its formula has ``exp(x) / sum exp(x)``. Shifted by the maximum, computed by the logarithm, or divided by
  the number of examples first or last, it is another computation. All are evaluated, and the bound covers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from svertka.codegen.verify.tensor_evaluate import evaluate_tensors
from svertka.spec import FORMATS, Layer, adjoint
from svertka.spec.definition import Definition
from svertka.spec.evaluate import shape_of, whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import Bounded

from .chained import CarriedError

__all__ = ["Enclosure"]


ARITHMETIC = CarriedError(FORMATS["float64"])


def _shaped(value: Bounded, shape: Sequence[int]) -> Bounded:
    return Bounded(value.value.reshape(shape), torch.as_tensor(value.error).expand_as(value.value).reshape(shape))


def _exact(value: Tensor) -> Bounded:
    return Bounded(value.detach().double(), torch.zeros_like(value, dtype=torch.float64))


@dataclass
class _Call:
    """A layer with its inputs."""

    layer: Layer
    inputs: dict[str, Bounded]
    sizes: dict[str, Any]

    def evaluated(self, layer: Layer, more: Mapping[str, Bounded]) -> dict[str, Bounded]:
        """A layer's outputs, in the shapes of its axes."""
        known = {**self.inputs, **more}
        given = {
            tensor.name: _shaped(known[tensor.name], shape_of(tensor, self.sizes))
            for tensor in layer.inputs
            if tensor.name in known
        }
        return evaluate_tensors(layer, ARITHMETIC.holding(given), self.sizes, ARITHMETIC)

    def output(self) -> Bounded:
        """The layer's first output, in the shape of its module's output."""
        name = self.layer.outputs[0]
        found = self.evaluated(self.layer, {})[name]
        extents = [[whole(axis.extent, self.sizes) for axis in dim] for dim in self.layer.tensors[name].dims]
        shape = [int(torch.Size(dim).numel()) for dim in extents]
        return _shaped(found, shape if len(shape) > 1 else self.inputs["input"].value.shape)

    def gradients(self, given: Bounded, names: Sequence[str]) -> dict[str, Bounded]:
        """Gradients of the named inputs, in their shapes."""
        derived = adjoint(self.layer, wrt=names, outputs=["output"])
        found = self.evaluated(derived, {"grad_output": given})
        return {name: _shaped(found[f"grad_{name}"], self.inputs[name].value.shape) for name in names}


def _definition_of(module: nn.Module) -> Definition:
    return next(d for d in DEFINITIONS.values() if type(module).__name__ in [face.name for face in d.modules])


def _call(module: Any, image: Bounded, parameters: Mapping[str, Bounded]) -> _Call:
    """The result of a module, by its formula."""
    definition = _definition_of(module)
    layer, inputs = definition.variants[0].layer, {"input": image, **parameters}
    sizes: dict[str, Any] = {"G": 1, "ceil_mode": 0, "crop": 0}
    for name in ("stride", "dilation", "padding", "kernel_size", "size"):
        value = getattr(module, name, 0)
        pair = (value, value) if isinstance(value, int) else tuple(value)
        names = {"kernel_size": ("R", "S"), "size": ("P", "Q")}.get(name, (f"{name}_h", f"{name}_w"))
        sizes |= dict(zip(names, pair, strict=True))
    sizes |= {"padding_h_high": sizes["padding_h"], "padding_w_high": sizes["padding_w"]}
    sizes["antialias"] = int(getattr(module, "antialias", 0))
    for tensor in layer.inputs:
        if tensor.name in inputs:
            shape = inputs[tensor.name].value.shape
            flat = shape if len(shape) == len(tensor.dims) else [shape.numel()]
            sizes |= {str(dim[-1].extent): extent for dim, extent in zip(tensor.dims, flat, strict=True)}
    for name, extent in definition.extents.items():
        sizes[name] = whole(extent, sizes)
    return _Call(layer, inputs, sizes)


def _decided(module: nn.Module, image: Bounded) -> None:
    """Check that every evaluation within the bound makes the same selections."""
    value, error = image.value, image.error
    if isinstance(module, nn.ReLU):
        assert (value.abs() > error).all()
    if isinstance(module, nn.MaxPool2d):
        patches = [part.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4) for part in (value, error)]
        best, order = patches[0].sort(-1, descending=True)
        lead, doubt = best[..., 0] - best[..., 1], patches[1].gather(-1, order)[..., :2].sum(-1)
        # If ReLU is 0 on the whole window, it also cuts off the gradient, whichever element gets it.
        assert ((lead > doubt) | (best[..., 0] == 0)).all()


def _united(values: Sequence[Bounded]) -> Bounded:
    """A bound that covers all of them, around the first."""
    errors = [abs(value.value - values[0].value) + value.error for value in values]
    return Bounded(values[0].value, torch.stack(errors).amax(0))


def _loss_gradients(scores: Bounded, labels: Tensor, smoothing: float) -> Bounded:
    """Gradient of the mean cross-entropy: by its formula, and in the orders of actual computations."""
    a = ARITHMETIC
    count, classes = scores.value.shape
    definition = DEFINITIONS["cross_entropy"]
    layer = next(v.layer for v in definition.variants if v.layer.name == "cross_entropy_labels_mean")
    sizes = {"N": count, "K": classes, "M": 1, "ignore_index": -100, "label_smoothing": smoothing}
    one = torch.ones((), dtype=torch.float64)
    given = a.holding({"input": _shaped(scores, (count, classes, 1)), "grad_output": _exact(one)})
    derived = adjoint(layer, wrt=["input"], outputs=["output"])
    formula = evaluate_tensors(derived, given | {"target": labels[:, None]}, sizes, a)["grad_input"]
    found = [_shaped(formula, (count, classes))]
    hot = a.exact(nn.functional.one_hot(labels, classes).double())
    spread = a.multiply(a.exact(smoothing * one), a.power(a.exact(classes * one), a.exact(-1.0)))
    target = a.add(a.multiply(a.add(a.exact(one), a.exact(-smoothing * one)), hot), spread)
    part = a.power(a.exact(count * one), a.exact(-1.0))
    for share in _softmax(scores):
        difference = a.add(a.multiply(share, _total(target)), _negative(target))
        found.append(a.multiply(difference, part))
        seed = a.multiply(target, part)
        found.append(a.add(a.multiply(share, _total(seed)), _negative(seed)))
    return _united(found)


def _softmax(scores: Bounded) -> list[Bounded]:
    """Softmax, shifted by the maximum, and computed by its logarithm."""
    a = ARITHMETIC
    top = scores.value.argmax(1, keepdim=True)
    shifted = a.add(scores, _negative(Bounded(scores.value.gather(1, top), scores.error.gather(1, top))))
    powers = a.function("exp", shifted)
    sums = _total(powers)
    return [
        a.multiply(powers, a.power(sums, a.exact(-1.0))),
        a.function("exp", a.add(shifted, _negative(a.function("log", sums)))),
    ]


def _total(value: Bounded) -> Bounded:
    """Sum over the classes."""
    parts = (part.sum(1, keepdim=True) for part in (value.value, value.error, value.size))
    return ARITHMETIC.summed(*parts, value.value.shape[1], ARITHMETIC.unit)


def _negative(value: Bounded) -> Bounded:
    return Bounded(-value.value, value.error)


class Enclosure:
    """Bounds of a network's parameters, from the moment at which they are known exactly.

    Args:
        network: generated layers in sequence, an ``ImageInput`` first; only its shape and parameters are used.
        smoothing: of the labels in the loss.
        momenta: the optimizer's, by the names of the parameters; none before the first step.
    """

    def __init__(self, network: nn.Module, smoothing: float, momenta: Mapping[str, Tensor] | None = None) -> None:
        self.smoothing = smoothing
        self.modules = {name: module for name, module in network.named_modules() if not list(module.children())}
        self.parameters = {name: _exact(parameter) for name, parameter in network.named_parameters()}
        self.buffers = {name: _exact(buffer) for name, buffer in network.named_buffers()}
        self.momenta = {name: _exact(momentum) for name, momentum in (momenta or {}).items()}

    def step(self, images: Tensor, labels: Tensor, options: Mapping[str, float]) -> None:
        """A step of stochastic gradient descent with Nesterov's momentum, with the optimizer's options."""
        gradients = self.gradients(images, labels)
        a = ARITHMETIC
        rate, momentum, decay = (a.exact(float(options[name])) for name in ("lr", "momentum", "weight_decay"))
        for name, parameter in self.parameters.items():
            gradient = a.add(gradients[name], a.multiply(decay, parameter))
            known = self.momenta.get(name)
            self.momenta[name] = gradient if known is None else a.add(a.multiply(momentum, known), gradient)
            ahead = a.add(gradient, a.multiply(momentum, self.momenta[name]))
            moved = a.multiply(rate, ahead)
            self.parameters[name] = a.add(parameter, _negative(moved))

    def gradients(self, images: Tensor, labels: Tensor) -> dict[str, Bounded]:
        """Gradients of the mean cross-entropy, by parameter."""
        calls: list[tuple[str, _Call, torch.Size]] = []
        value = _exact(images)
        for name, module in self.modules.items():
            if isinstance(module, nn.Linear):
                value = _shaped(value, (len(images), -1))
            _decided(module, value)
            known = {n.rpartition("."): held for n, held in (self.parameters | self.buffers).items()}
            call = _call(module, value, {own: held for (path, _, own), held in known.items() if path == name})
            value = call.output()
            calls.append((name, call, value.value.shape))
        gradient = _loss_gradients(value, labels, self.smoothing)
        found: dict[str, Bounded] = {}
        for place, (name, call, shape) in reversed(list(enumerate(calls))[1:]):  # the first normalizes images
            wanted = [n for n in call.inputs if n != "input" or place > 1]
            if wanted:
                results = call.gradients(_shaped(gradient, shape), wanted)
                found |= {f"{name}.{n}": result for n, result in results.items() if n != "input"}
                gradient = results.get("input", gradient)
        return found

    def reached(self, network: nn.Module) -> float:
        """The largest distance of a network's parameter from the bound's centre, in bounds: 1 is the limit."""
        shares = [
            ((parameter.detach().double() - bound.value).abs() / bound.error).max()
            for parameter, bound in zip(network.parameters(), self.parameters.values(), strict=True)
        ]
        return float(torch.stack(shares).max())
