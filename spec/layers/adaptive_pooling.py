"""Pooling to an output of any extent: windows that cover the input evenly, and overlap where that does not come out.

Along an axis of extent W the window of output q of Q begins at floor(q W / Q) and ends before ceil((q + 1) W / Q).
An output of extent 1 is global pooling.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Ge, Integer, Le, Lt, Mul, Symbol
from sympy.logic.boolalg import And, Boolean

from svertka.spec.definition import Definition, Flag, ModuleFace, PerAxis, Rule, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.windows import spatial_windows
from svertka.spec.notation import ArgMax, FloorDiv, Index, Max, Select, Sum, Tensor, axis, integer, maximum, minimum

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
c = axis("c", "channels")
WHOLE = -1
"""Stands for an output as long as the input."""


@dataclass(frozen=True)
class _Part:
    """The windows along one axis.

    Attributes:
        input, output, kernel: indices along the input, along the output and within a window.
    """

    input: Index
    output: Index
    kernel: Index

    @property
    def asked(self) -> Symbol:
        """The extent that the call asks for."""
        return integer(f"output_{self.input.name}")

    @property
    def extent(self) -> Expr:
        """The output's extent."""
        return Select(Lt(self.asked, 0), self.input.extent, self.asked)

    @property
    def start(self) -> Expr:
        """Where the window begins."""
        return FloorDiv(self.output * self.input.extent, self.output.extent)

    @property
    def count(self) -> Expr:
        """Number of elements in the window."""
        last = (self.output + 1) * self.input.extent + self.output.extent - 1
        return FloorDiv(last, self.output.extent) - self.start

    @property
    def longest(self) -> Expr:
        """Number of elements in the longest window: one more where the windows do not come out."""
        outputs = maximum(self.output.extent, 1)
        whole = FloorDiv(self.input.extent, outputs)
        rest = minimum(self.input.extent - whole * outputs, 1)
        return whole + 2 * rest

    @property
    def countable(self) -> Rule:
        """The rule that positions fit into 32 bits."""
        return Rule(
            Le(self.input.extent * self.output.extent, 2**29),
            "output_size",
            f"such that {self.input.meaning} before times {self.input.meaning} after is at most 2**29",
            "pool in steps",
        )

    @property
    def filled(self) -> Rule:
        """The rule that there is something to pool."""
        meaning = self.input.meaning
        return Rule(Ge(self.input.extent, 1), "input", f"of positive {meaning}", "leave empty inputs out")


def _parts(rank: int) -> tuple[_Part, ...]:
    return tuple(_Part(window.input, window.output, window.kernel) for window in spatial_windows(rank))


def _tensors(parts: tuple[_Part, ...]) -> tuple[Tensor, Tensor, Expr, Boolean]:
    """Input, output, an element of a window, and whether it is in the window."""
    x = Tensor("input", n, c, *(part.input for part in parts))
    y = Tensor("output", n, c, *(part.output for part in parts))
    within = And(*(Lt(part.kernel, part.count) for part in parts))
    return x, y, x[(n, c, *(part.start + part.kernel for part in parts))], within


def _average(rank: int) -> Layer:
    parts = _parts(rank)
    x, y, element, within = _tensors(parts)
    value = Sum(element, *(part.kernel for part in parts), where=within) / Mul(*(part.count for part in parts))
    return Layer(f"adaptive_average_pooling_{rank}d", (x,), (Equation(y, value),), ("output",))


def _largest(rank: int) -> Layer:
    parts = _parts(rank)
    x, y, element, within = _tensors(parts)
    kernels = tuple(part.kernel for part in parts)
    position = Tensor("position", *y.dims, kind="integer")
    indices = Tensor("indices", *y.dims, kind="integer")
    plane: Expr = Integer(0)
    for part, place in zip(parts, _places_within(position[y.axes], parts), strict=True):
        plane = plane * part.input.extent + part.start + place
    return Layer(
        f"adaptive_max_pooling_{rank}d",
        (x,),
        (
            Equation(y, Max(element, *kernels, where=within)),
            Equation(position, ArgMax(element, *kernels, where=within)),
            Equation(indices, plane),
        ),
        ("output", "indices"),
    )


def _places_within(position: Expr, parts: tuple[_Part, ...]) -> tuple[Expr, ...]:
    """Place within the window along each axis, from the position that counts it in row-major order."""
    if len(parts) == 1:
        return (position,)
    row = FloorDiv(position, parts[-1].kernel.extent)
    return (*_places_within(row, parts[:-1]), position - row * parts[-1].kernel.extent)


def _definition(rank: int, word: str, layer: Layer, title: str, flags: tuple[Flag, ...]) -> Definition:
    parts = _parts(rank)
    extents = {part.output.extent.name: part.extent for part in parts}
    return Definition(
        name=layer.name,
        title=title,
        source=f"torch.nn.functional.adaptive_{word.lower()}_pool{rank}d",
        variants=(Variant(layer),),
        function=f"adaptive_{word.lower()}_pool{rank}d",
        arguments=(
            TensorArgument(name="input", unbatched=True),
            PerAxis(name="output_size", symbols=tuple(part.asked.name for part in parts), minimum=0, missing=WHOLE),
            *flags,
        ),
        extents=extents | {part.kernel.extent.name: part.longest for part in parts},
        rules=(*(part.filled for part in parts), *(part.countable for part in parts)),
        modules=(ModuleFace(f"Adaptive{word}Pool{rank}d", base=f"torch.nn.Adaptive{word}Pool{rank}d"),),
        optional_results={flag.name: "indices" for flag in flags},
        row_major=rank == 3,  # torch keeps channels last in images alone
    )


AVERAGE = "Average pooling to an output of any extent."
LARGEST = "Max pooling to an output of any extent."
INDICES = (Flag(name="return_indices", default=False),)
DEFINITIONS = (
    *(_definition(rank, "Avg", _average(rank), AVERAGE, ()) for rank in (1, 2, 3)),
    *(_definition(rank, "Max", _largest(rank), LARGEST, INDICES) for rank in (1, 2, 3)),
)
