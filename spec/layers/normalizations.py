"""Normalizations within an example: of its last dimensions, of groups of channels, of each channel.

Each element is centred by a mean and divided by the root of a variance plus eps, then scaled and shifted. Only the
elements over which mean and variance run differ.
"""

from __future__ import annotations

from sympy import Ne, sqrt

from svertka.spec.definition import (
    Definition,
    Flag,
    ModuleFace,
    Real,
    Rule,
    TensorArgument,
    TrailingShape,
    Variant,
    Whole,
)
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Sum, Tensor, axis, number

__all__ = ["DEFINITIONS"]

eps = number("eps", positive=True)
momentum = number("momentum")
n = axis("n", "examples", batch=True)
EPS = Real(name="eps", default=1e-5, symbol="eps", low=0.0)
SCALE = (TensorArgument(name="weight", default=None), TensorArgument(name="bias", default=None))


def _layer_normalization() -> Layer:
    m, c = axis("m", "rows", many=True, batch=True), axis("c", "elements of a row", many=True)
    x, y = Tensor("input", m, c), Tensor("output", m, c)
    weight, bias = Tensor("weight", c, default=1), Tensor("bias", c, default=0)
    mean, variance = Tensor("mean", m), Tensor("variance", m)
    return Layer(
        "layer_normalization",
        (x, weight, bias),
        (
            Equation(mean, Sum(x[m, c], c) / c.extent),
            Equation(variance, Sum((x[m, c] - mean[m]) ** 2, c) / c.extent),
            Equation(y, (x[m, c] - mean[m]) / sqrt(variance[m] + eps) * weight[c] + bias[c]),
        ),
        ("output",),
    )


def _root_mean_square() -> Layer:
    m, c = axis("m", "rows", many=True, batch=True), axis("c", "elements of a row", many=True)
    x, y = Tensor("input", m, c), Tensor("output", m, c)
    weight, square = Tensor("weight", c, default=1), Tensor("square", m)
    return Layer(
        "root_mean_square_normalization",
        (x, weight),
        (
            Equation(square, Sum(x[m, c] ** 2, c) / c.extent),
            Equation(y, x[m, c] / sqrt(square[m] + eps) * weight[c]),
        ),
        ("output",),
    )


# Groups of channels

g, k = axis("g", "groups"), axis("k", "channels of a group")
s = axis("s", "elements of a channel", many=True)
grouped = k.extent * s.extent


def _group_normalization() -> Layer:
    x, y = Tensor("input", n, (g, k), s), Tensor("output", n, (g, k), s)
    weight, bias = Tensor("weight", (g, k), default=1), Tensor("bias", (g, k), default=0)
    mean, variance = Tensor("mean", n, g), Tensor("variance", n, g)
    return Layer(
        "group_normalization",
        (x, weight, bias),
        (
            Equation(mean, Sum(x[n, g, k, s], k, s) / grouped),
            Equation(variance, Sum((x[n, g, k, s] - mean[n, g]) ** 2, k, s) / grouped),
            Equation(y, (x[n, g, k, s] - mean[n, g]) / sqrt(variance[n, g] + eps) * weight[g, k] + bias[g, k]),
        ),
        ("output",),
    )


# Channels

c = axis("c", "channels")
x, y = Tensor("input", n, c, s), Tensor("output", n, c, s)
weight, bias = Tensor("weight", c, default=1), Tensor("bias", c, default=0)
mean, variance = Tensor("mean", n, c), Tensor("variance", n, c)
running_mean, running_var = Tensor("running_mean", c), Tensor("running_var", c, above=0)

STATISTICS = (
    Equation(mean, Sum(x[n, c, s], s) / s.extent),
    Equation(variance, Sum((x[n, c, s] - mean[n, c]) ** 2, s) / s.extent),
    Equation(y, (x[n, c, s] - mean[n, c]) / sqrt(variance[n, c] + eps) * weight[c] + bias[c]),
)
STEPS = (
    Equation(
        Tensor("new_running_mean", c), (1 - momentum) * running_mean[c] + momentum * Sum(mean[n, c], n) / n.extent
    ),
    Equation(
        Tensor("new_running_var", c),
        (1 - momentum) * running_var[c] + momentum * Sum(variance[n, c], n) / n.extent * s.extent / (s.extent - 1),
    ),
)
BY_ITS_OWN = Layer("instance_normalization_by_its_own", (x, weight, bias), STATISTICS, ("output",))
TRAINING = Layer(
    "instance_normalization_training",
    (x, running_mean, running_var, weight, bias),
    (*STATISTICS, *STEPS),
    ("output", "new_running_mean", "new_running_var"),
)
BY_ESTIMATES = Layer(
    "instance_normalization_by_estimates",
    (x, running_mean, running_var, weight, bias),
    (Equation(y, (x[n, c, s] - running_mean[c]) / sqrt(running_var[c] + eps) * weight[c] + bias[c]),),
    ("output",),
)
SEVERAL_ELEMENTS = Rule(
    Ne(s.extent, 1), "input", "more than one element per channel", "give larger maps, or normalise by running estimates"
)


def _instance_module(rank: int) -> ModuleFace:
    """As torch's ``_InstanceNorm.forward``."""
    return ModuleFace(
        f"InstanceNorm{rank}d",
        base=f"torch.nn.InstanceNorm{rank}d",
        before=(
            "if isinstance(input, Tensor):  # a tracer asks for no dimensions",
            "    self._check_input_dim(input)",
            f"alone = isinstance(input, Tensor) and input.dim() == {rank + 1}",
            "if alone:",
            "    input = input.unsqueeze(0)",
        ),
        call={
            "use_input_stats": "self.training or not self.track_running_stats",
            "momentum": "0.0 if self.momentum is None else self.momentum",
        },
        after=("if alone:", "    output = output.squeeze(0)"),
        attributes={"training": "use_input_stats", "track_running_stats": "True"},
        dims=rank + 2,
    )


DEFINITIONS = (
    Definition(
        name="layer_normalization",
        title="Layer normalization: of the last dimensions together.",
        source="Ba, Kiros and Hinton, arXiv:1607.06450",
        variants=(Variant(_layer_normalization()),),
        function="layer_norm",
        arguments=(TensorArgument(name="input"), TrailingShape(name="normalized_shape", axis="c"), *SCALE, EPS),
        modules=(ModuleFace("LayerNorm", base="torch.nn.LayerNorm"),),
        autocast="full",
        row_major=True,
    ),
    Definition(
        name="root_mean_square_normalization",
        title="Normalization of the last dimensions by their root mean square.",
        source="Zhang and Sennrich, arXiv:1910.07467",
        variants=(Variant(_root_mean_square()),),
        function="rms_norm",
        arguments=(
            TensorArgument(name="input"),
            TrailingShape(name="normalized_shape", axis="c"),
            TensorArgument(name="weight", default=None),
            Real(name="eps", default=None, symbol="eps", low=0.0, epsilon=True),
        ),
        first=("weight = beside(weight, input)",),
        modules=(ModuleFace("RMSNorm", base="torch.nn.RMSNorm"),),
        autocast="full",
    ),
    Definition(
        name="group_normalization",
        title="Group normalization: of a group of channels of an example.",
        source="Wu and He, arXiv:1803.08494",
        variants=(Variant(_group_normalization()),),
        function="group_norm",
        arguments=(
            TensorArgument(name="input"),
            Whole(name="num_groups", symbol="G", minimum=1),
            *SCALE,
            EPS,
        ),
        rules=(
            Rule(
                Ne(n.extent * grouped, 1),
                "input",
                "more than one element per group in a batch",
                "give larger maps, or fewer groups",
            ),
        ),
        modules=(ModuleFace("GroupNorm", base="torch.nn.GroupNorm"),),
        autocast="full",
    ),
    Definition(
        name="instance_normalization",
        title="Instance normalization: of each channel of an example.",
        source="Ulyanov, Vedaldi and Lempitsky, arXiv:1607.08022",
        variants=(
            Variant(BY_ITS_OWN, {"use_input_stats": True, "running_mean": None}, (SEVERAL_ELEMENTS,)),
            Variant(TRAINING, {"use_input_stats": True, "running_mean": "real"}, (SEVERAL_ELEMENTS,)),
            Variant(BY_ESTIMATES, {"use_input_stats": False}),
        ),
        function="instance_norm",
        arguments=(
            TensorArgument(name="input"),
            TensorArgument(name="running_mean", default=None, differentiable=False, updated_by="new_running_mean"),
            TensorArgument(name="running_var", default=None, differentiable=False, updated_by="new_running_var"),
            *SCALE,
            Flag(name="use_input_stats", default=True),
            Real(name="momentum", default=0.1, symbol="momentum", varies=True),
            EPS,
        ),
        modules=tuple(_instance_module(rank) for rank in (1, 2, 3)),
        row_major=True,
    ),
)
