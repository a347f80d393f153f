"""One call of every generated operator, small, with extents that all differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from svertka.generated import functional, runtime
from tests.operators import operators

__all__ = ["CALLS", "Call", "operators"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A call of a public function.

    Attributes:
        operator: name of the operator that it calls.
        function: name of the public function.
        shapes: of the real tensors by argument.
        options: the other arguments.
        constant: real tensors that have no gradient.
        positive: real tensors whose elements are positive.
    """

    operator: str
    function: str
    shapes: dict[str, Shape]
    options: dict[str, Any] = field(default_factory=dict)
    constant: tuple[str, ...] = ("running_mean", "running_var", "mean", "std")
    positive: tuple[str, ...] = ("running_var", "std", "target")

    def __str__(self) -> str:
        return self.operator

    def tensors(self) -> dict[str, Tensor]:
        """Float64, no two elements of a tensor equal and none near 0: no maximum has a tie, no ReLU a kink."""
        random = torch.Generator().manual_seed(len(self.operator))
        made = {}
        for name, shape in self.shapes.items():
            count = torch.Size(shape).numel()
            places = torch.randperm(count, generator=random, dtype=torch.int64).double()
            values = (places - count // 2 + 0.25).mul(4 / count).view(shape)
            made[name] = values.abs() + 0.5 if name in self.positive else values
        return made

    def wanted(self) -> list[str]:
        """The tensors that have a gradient."""
        return [name for name in self.shapes if name not in self.constant]

    def bound(self, tensors: dict[str, Tensor]) -> Callable[..., Tensor]:
        """The first result as a function of the tensors that have a gradient; state is fresh each time."""

        def function(*moving: Tensor) -> Tensor:
            others = {k: t.clone() for k, t in tensors.items() if k in self.constant}
            given = dict(zip(self.wanted(), moving, strict=True))
            results = getattr(functional, self.function)(**given, **others, **self.options)
            output: Tensor = results[0] if isinstance(results, tuple) else results
            return output

        return function


def registered() -> dict[str, runtime.Operator]:
    """All operators that are registered, by name."""
    return {operator.name: operator for operator in operators()}


LABELS = torch.tensor([[1, 3], [-100, 0], [2, 2]])
SCORES: dict[str, Shape] = {"input": (3, 4, 2)}
BOTH: dict[str, Shape] = {"input": (2, 4, 3), "target": (2, 4, 3), "weight": (4,)}
CHANNELS: dict[str, Shape] = {"weight": (3,), "bias": (3,)}
ESTIMATES: dict[str, Shape] = {"running_mean": (3,), "running_var": (3,)}
IMAGE: dict[str, Shape] = {"input": (2, 3, 5, 4)}
STRONG = {"alpha": 2.0, "beta": 0.75, "k": 1.5}

ACTIVATIONS = ("relu", "leaky_relu", "relu6", "hardtanh", "elu", "selu", "silu", "mish", "hardswish", "hardsigmoid")
ACTIVATIONS += ("sigmoid", "tanh", "softplus", "softsign")

FLAT = {"size": (7, 4), "step": (5, 4), "lead": (2, 3), "parts": (6, 2)}
DEEP = {"size": (5, 3, 2), "step": (1, 4, 2), "lead": (0, 1, 1), "parts": (3, 2, 1)}
CALLS = [
    Call("resize", "resize", {"input": (1, 2, 5, 4)}, {"size": (3, 6)}),
    Call("center_crop", "center_crop", {"input": (1, 2, 5, 4)}, {"size": (3, 2)}),
    Call("normalize", "normalize", {"input": (2, 3, 4), "mean": (3,), "std": (3,)}),
    Call("image_input", "image_input", {"input": (1, 3, 5, 4), "mean": (3,), "std": (3,)}, {"size": (4, 3)}),
    Call(
        "conv1d",
        "conv1d",
        {"input": (2, 4, 6), "weight": (6, 2, 3), "bias": (6,)},
        {"groups": 2, "stride": 2, "padding": [(2, 1)]},
    ),
    Call(
        "conv2d",
        "conv2d",
        {"input": (2, 2, 5, 4), "weight": (4, 1, 3, 2), "bias": (4,)},
        {"groups": 2, "stride": (2, 1), "padding": [(1, 2), (0, 1)], "dilation": (1, 2)},
    ),
    Call(
        "conv3d",
        "conv3d",
        {"input": (1, 2, 3, 4, 2), "weight": (3, 2, 2, 3, 1), "bias": (3,)},
        {"stride": (1, 2, 1), "padding": (1, 0, 1)},
    ),
    Call(
        "conv_transpose1d",
        "conv_transpose1d",
        {"input": (2, 4, 5), "weight": (4, 3, 3), "bias": (6,)},
        {"groups": 2, "stride": 2, "padding": 1, "output_padding": 1},
    ),
    Call(
        "conv_transpose2d",
        "conv_transpose2d",
        {"input": (2, 2, 3, 4), "weight": (2, 3, 3, 2), "bias": (6,)},
        {"groups": 2, "stride": (2, 1), "padding": (1, 0), "output_padding": (0, 1), "dilation": (1, 2)},
    ),
    Call(
        "conv_transpose3d",
        "conv_transpose3d",
        {"input": (1, 2, 2, 3, 2), "weight": (2, 3, 2, 1, 3), "bias": (3,)},
        {"stride": (1, 2, 1), "padding": (1, 0, 1), "output_padding": (0, 1, 0)},
    ),
    *(
        Call(f"interpolate_{kind}2d", f"interpolate_{kind}2d", {"input": (2, 3, 8, 5)}, FLAT)
        for kind in ("nearest", "linear")
    ),
    *(
        Call(f"interpolate_{kind}3d", f"interpolate_{kind}3d", {"input": (1, 2, 3, 6, 4)}, DEEP)
        for kind in ("nearest", "linear")
    ),
    Call("interpolate_linear2d", "interpolate", {"input": (2, 3, 4, 5)}, {"size": (7, 3), "mode": "bilinear"}),
    *(Call(name, name, {"input": (3, 4)}) for name in ACTIVATIONS),
    *(Call(f"gelu_{name}", "gelu", {"input": (3, 4)}, {"approximate": name}) for name in ("none", "tanh")),
    Call("prelu", "prelu", {"input": (2, 3, 4), "weight": (3,)}),
    Call("max_pool1d", "max_pool1d", {"input": (2, 3, 7)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Call("max_pool2d", "max_pool2d", IMAGE, {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True}),
    Call(
        "max_pool3d", "max_pool3d", {"input": (1, 2, 4, 3, 5)}, {"kernel_size": 2, "stride": 1, "dilation": (2, 1, 1)}
    ),
    Call("avg_pool1d", "avg_pool1d", {"input": (2, 3, 7)}, {"kernel_size": 3, "padding": 1}),
    Call("avg_pool2d", "avg_pool2d", IMAGE, {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    Call("avg_pool3d", "avg_pool3d", {"input": (1, 2, 4, 3, 5)}, {"kernel_size": 2, "ceil_mode": True}),
    *(
        Call(f"adaptive_{kind}_pool{rank}d", f"adaptive_{kind}_pool{rank}d", {"input": shape}, {"output_size": size})
        for kind in ("avg", "max")
        for rank, shape, size in ((1, (2, 3, 7), 3), (2, (2, 3, 5, 4), (2, 3)), (3, (1, 2, 4, 3, 5), (3, 1, 2)))
    ),
    Call("linear", "linear", {"input": (2, 3, 4), "weight": (5, 4), "bias": (5,)}),
    Call("softmax", "softmax", {"input": (2, 4, 3)}, {"dim": 1}),
    Call("log_softmax", "log_softmax", {"input": (2, 4, 3)}, {"dim": -1}),
    *(
        Call(
            f"cross_entropy_labels_{reduction}",
            "cross_entropy",
            SCORES,
            {"target": LABELS, "reduction": reduction, "label_smoothing": 0.1},
        )
        for reduction in ("mean", "sum", "none")
    ),
    *(
        Call(
            f"cross_entropy_probabilities_{reduction}",
            "cross_entropy",
            BOTH,
            {"reduction": reduction, "label_smoothing": 0.2},
            constant=("weight",),
        )
        for reduction in ("mean", "sum", "none")
    ),
    Call("dropout", "dropout", {"input": (3, 4)}, {"p": 0.25, "seed": 2**40 + 7}),
    Call("batch_norm_training", "batch_norm", {"input": (4, 3, 2), **ESTIMATES, **CHANNELS}, {"training": True}),
    Call(
        "batch_norm_without_estimates",
        "batch_norm",
        {"input": (4, 3, 2), **CHANNELS},
        {"training": True, "running_mean": None, "running_var": None},
    ),
    Call("batch_norm_inference", "batch_norm", {"input": (4, 3, 2), **ESTIMATES, **CHANNELS}),
    Call(
        "layer_norm", "layer_norm", {"input": (2, 3, 4), "weight": (3, 4), "bias": (3, 4)}, {"normalized_shape": (3, 4)}
    ),
    Call("rms_norm", "rms_norm", {"input": (2, 3, 4), "weight": (4,)}, {"normalized_shape": (4,), "eps": 0.25}),
    Call("group_norm", "group_norm", {"input": (2, 6, 3), "weight": (6,), "bias": (6,)}, {"num_groups": 2}),
    Call("instance_norm_by_its_own", "instance_norm", {"input": (2, 3, 5), **CHANNELS}),
    Call("instance_norm_training", "instance_norm", {"input": (2, 3, 5), **ESTIMATES, **CHANNELS}),
    Call(
        "instance_norm_by_estimates",
        "instance_norm",
        {"input": (2, 3, 5), **ESTIMATES, **CHANNELS},
        {"use_input_stats": False},
    ),
    Call("cross_channel_norm", "cross_channel_norm", {"input": (2, 5, 3)}, {"window_channel_size": 4, **STRONG}),
    Call("local_response_norm", "local_response_norm", {"input": (2, 5, 3)}, {"size": 4, **STRONG}),
    Call(
        "conv2d_relu",
        "conv2d_relu",
        {"input": (2, 2, 5, 4), "weight": (4, 1, 3, 2), "bias": (4,)},
        {"groups": 2, "stride": (1, 2), "padding": [(2, 1), (1, 0)], "dilation": (2, 1)},
    ),
    *(
        Call(f"{function}_{mode}", function, {"input": (4, 3, 2), **given, **CHANNELS, **more}, options)
        for function, more in (("batch_norm_relu", {}), ("batch_norm_add_relu", {"residual": (4, 3, 2)}))
        for mode, given, options in (
            ("training", ESTIMATES, {"training": True}),
            ("without_estimates", {}, {"training": True, "running_mean": None, "running_var": None}),
            ("inference", ESTIMATES, {}),
        )
    ),
    Call(
        "relu_cross_channel_norm", "relu_cross_channel_norm", {"input": (2, 5, 3)}, {"window_channel_size": 4, **STRONG}
    ),
]
