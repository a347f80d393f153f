"""Normalization across channels, slide 21: x' = x / (K + alpha * SS / windowChannelSize)^beta.

SS sums the squares over a window of channels. The divisor is the window's size at the borders too, where fewer channels
are summed. The window contains floor((w - 1) / 2) channels before and floor(w / 2) channels after, as in MATLAB, whose
layer the slide names; PyTorch's local response normalization mirrors even windows: floor(w / 2) before.
"""

from __future__ import annotations

from sympy import Expr

from svertka.spec.definition import Argument, Definition, Equivalent, ModuleFace, Real, TensorArgument, Variant, Whole
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import FloorDiv, Sum, Tensor, axis, number

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")
m = axis("m", "elements of a channel", many=True)
j = axis("j", "channels of the window")
x, y = Tensor("input", n, c, m), Tensor("output", n, c, m)
k, alpha, beta = number("k"), number("alpha"), number("beta")


def normalization(name: str, back: Expr) -> Layer:
    """The formula with a window that contains ``back`` channels before the current one."""
    squares = Sum(x[n, c + j - back, m] ** 2, j)
    return Layer(name, (x,), (Equation(y, x[n, c, m] / (k + alpha * squares / j.extent) ** beta),), ("output",))


CROSS_CHANNEL = normalization("cross_channel_normalization", FloorDiv(j.extent - 1, 2))
LOCAL_RESPONSE = normalization("local_response_normalization", FloorDiv(j.extent, 2))


def _reals(defaults: dict[str, float]) -> tuple[Argument, ...]:
    return tuple(Real(name=name, default=default, symbol=name) for name, default in defaults.items())


MIRRORED = Equivalent("torch.nn.LocalResponseNorm", {"window_channel_size": "size"}, "self.size % 2 == 1")
"""A window of odd size has equally many channels before and after the centre, so mirroring it changes nothing."""

DEFINITIONS = (
    Definition(
        name="cross_channel_normalization",
        title="Cross-channel normalization, MATLAB's semantics.",
        source="slide 21",
        variants=(Variant(CROSS_CHANNEL),),
        function="cross_channel_norm",
        arguments=(
            TensorArgument(name="input"),
            Whole(name="window_channel_size", symbol="J", minimum=1),
            *_reals({"k": 2.0, "alpha": 1e-4, "beta": 0.75}),
        ),
        modules=(ModuleFace("CrossChannelNorm", equivalents=(MIRRORED,)),),
    ),
    Definition(
        name="local_response_normalization",
        title="Local response normalization, PyTorch's semantics.",
        source="slide 21; torch.nn.functional.local_response_norm",
        variants=(Variant(LOCAL_RESPONSE),),
        function="local_response_norm",
        arguments=(
            TensorArgument(name="input"),
            Whole(name="size", symbol="J", minimum=1),
            *_reals({"alpha": 1e-4, "beta": 0.75, "k": 1.0}),
        ),
        modules=(ModuleFace("LocalResponseNorm", base="torch.nn.LocalResponseNorm"),),
    ),
)
