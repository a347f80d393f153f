"""Batch normalization, slide 20, with the square root that the slide omits (``svertka.spec.errata``).

In training the batch is normalised by its own mean and biased variance, and the running estimates move by the share
``momentum`` towards its mean and unbiased variance. In inference the running estimates normalise the batch.
"""

from __future__ import annotations

from sympy import Ne, sqrt

from svertka.spec.definition import Definition, Flag, ModuleFace, Real, Rule, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Sum, Tensor, axis, number

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")
m = axis("m", "elements of a channel", many=True)
x, y = Tensor("input", n, c, m), Tensor("output", n, c, m)
gamma, beta = Tensor("weight", c, default=1), Tensor("bias", c, default=0)
mean, variance = Tensor("mean", c), Tensor("variance", c)
running_mean, running_var = Tensor("running_mean", c), Tensor("running_var", c, above=0)
eps = number("eps", positive=True)
momentum = number("momentum")
count = n.extent * m.extent

STATISTICS = (
    Equation(mean, Sum(x[n, c, m], n, m) / count),
    Equation(variance, Sum((x[n, c, m] - mean[c]) ** 2, n, m) / count),
)
STEPS = (
    Equation(Tensor("new_running_mean", c), (1 - momentum) * running_mean[c] + momentum * mean[c]),
    Equation(
        Tensor("new_running_var", c),
        (1 - momentum) * running_var[c] + momentum * variance[c] * count / (count - 1),
    ),
)


def _normalised(middle: Tensor, spread: Tensor) -> Equation:
    return Equation(y, (x[n, c, m] - middle[c]) / sqrt(spread[c] + eps) * gamma[c] + beta[c])


TRAINING = Layer(
    "batch_normalization_training",
    (x, running_mean, running_var, gamma, beta),
    (*STATISTICS, _normalised(mean, variance), *STEPS),
    ("output", "new_running_mean", "new_running_var"),
)
WITHOUT_ESTIMATES = Layer(
    "batch_normalization_without_estimates",
    (x, gamma, beta),
    (*STATISTICS, _normalised(mean, variance)),
    ("output",),
)
INFERENCE = Layer(
    "batch_normalization_inference",
    (x, running_mean, running_var, gamma, beta),
    (_normalised(running_mean, running_var),),
    ("output",),
)

SEVERAL_VALUES = Rule(
    Ne(count, 1),
    "input",
    "more than one value per channel in training (or none: an empty batch)",
    "give a larger batch, or normalise by running estimates with training=False",
)


def _module(rank: int) -> ModuleFace:
    """As torch's ``_BatchNorm.forward``: momentum None means the plain mean of all batches seen so far."""
    return ModuleFace(
        f"BatchNorm{rank}d",
        base=f"torch.nn.BatchNorm{rank}d",
        before=(
            "if isinstance(input, Tensor):  # a tracer asks for no dimensions",
            "    self._check_input_dim(input)",
            "momentum = 0.0 if self.momentum is None else self.momentum",
            "if self.training and self.track_running_stats and self.num_batches_tracked is not None:",
            "    self.num_batches_tracked.add_(1)",
            "    if self.momentum is None:",
            "        momentum = 1.0 / float(self.num_batches_tracked)",
            "estimated = not self.training or self.track_running_stats",
        ),
        call={
            "running_mean": "self.running_mean if estimated else None",
            "running_var": "self.running_var if estimated else None",
            "training": "self.training or (self.running_mean is None and self.running_var is None)",
            "momentum": "momentum",
        },
    )


DEFINITIONS = (
    Definition(
        name="batch_normalization",
        title="Batch normalization.",
        source="slide 20, corrected; Ioffe and Szegedy, arXiv:1502.03167",
        variants=(
            Variant(TRAINING, {"training": True, "running_mean": "real"}, (SEVERAL_VALUES,)),
            Variant(WITHOUT_ESTIMATES, {"training": True, "running_mean": None}, (SEVERAL_VALUES,)),
            Variant(INFERENCE, {"training": False}),
        ),
        function="batch_norm",
        arguments=(
            TensorArgument(name="input", shapeless=True),
            TensorArgument(name="running_mean", differentiable=False, updated_by="new_running_mean"),
            TensorArgument(name="running_var", differentiable=False, updated_by="new_running_var"),
            TensorArgument(name="weight", default=None),
            TensorArgument(name="bias", default=None),
            Flag(name="training", default=False),
            Real(name="momentum", default=0.1, symbol="momentum", varies=True),
            Real(name="eps", default=1e-5, symbol="eps", low=0.0),
        ),
        modules=tuple(_module(rank) for rank in (1, 2, 3)),
    ),
)
