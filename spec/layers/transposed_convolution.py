"""Transposed convolution: what the gradient of a convolution does to the gradient of its output.

The formula is the adjoint of the convolution with respect to its input, plus a bias. Its weight has the kernels of that
convolution, whose maps are here the input's channels.
"""

from __future__ import annotations

from sympy import Expr, Ge, Lt, Symbol
from sympy.logic.boolalg import Or

from svertka.spec.definition import Definition, ModuleFace, PerAxis, Rule, TensorArgument, Variant, Whole
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers.convolution import convolution
from svertka.spec.layers.windows import Window, names, spatial_windows
from svertka.spec.notation import Tensor, integer
from svertka.spec.transposed import transposed

__all__ = ["DEFINITIONS"]


def _transposed(rank: int) -> Layer:
    """The formula: y[n, c, h, w] = Σ x[n, k, (h + padding - dilation r) / stride, ...] w[k, c, r, s] + b[c]."""
    own = f"transposed_convolution_{rank}d"
    layer = transposed(convolution(rank, biased=False), own)
    (equation,) = layer.equations
    _, channels, *_ = equation.target.dims
    bias = Tensor("bias", channels, default=0)
    value = equation.value + bias[channels]
    return Layer(own, (*layer.inputs, bias), (Equation(equation.target, value),), ("output",))


def _more(window: Window) -> Symbol:
    """Elements that are added behind the last one that a window reaches."""
    return integer(f"output_padding_{window.input.name}")


def _reached(window: Window) -> Expr:
    """Extent of the output: as far as the windows reach, less the padding, plus what is added."""
    windows = window.output.extent
    return (windows - 1) * window.stride + window.span - 2 * window.low + _more(window)


def _rules(window: Window) -> tuple[Rule, ...]:
    meaning = window.input.meaning
    return (
        Rule(
            Or(Lt(_more(window), window.stride), Lt(_more(window), window.dilation)),
            "output_padding",
            f"less than stride or dilation along the {meaning}",
            "lower output_padding or enlarge stride",
        ),
        Rule(
            Ge(_reached(window), 1),
            "input",
            f"such that the output has a positive {meaning}",
            "enlarge input or output_padding, or lower padding",
        ),
    )


def _module(rank: int) -> ModuleFace:
    """As torch's: with ``output_size`` a call says what is added, and ``output_padding`` is not read."""
    return ModuleFace(
        f"ConvTranspose{rank}d",
        base=f"torch.nn.ConvTranspose{rank}d",
        options={"output_size": "list[int] | None = None"},
        before=(
            "told = self.stride, self.padding, self.kernel_size",
            f"added = self._output_padding(input, output_size, *told, {rank}, self.dilation)  # type: ignore[arg-type]",
        ),
        call={"output_padding": "added"},
        fixed={"padding_mode": "zeros"},
    )


def _definition(rank: int) -> Definition:
    windows = spatial_windows(rank)
    return Definition(
        name=f"transposed_convolution_{rank}d",
        title=f"Transposed convolution over {rank} spatial {'axis' if rank == 1 else 'axes'}.",
        source="Dumoulin and Visin, arXiv:1603.07285, chapter 4",
        variants=(Variant(_transposed(rank)),),
        function=f"conv_transpose{rank}d",
        arguments=(
            TensorArgument(name="input", unbatched=True),
            TensorArgument(name="weight"),
            TensorArgument(name="bias", default=None),
            PerAxis(name="stride", default=1, symbols=names(window.stride for window in windows)),
            PerAxis(name="padding", default=0, symbols=names(window.low for window in windows), minimum=0),
            PerAxis(name="output_padding", default=0, symbols=names(map(_more, windows)), minimum=0),
            Whole(name="groups", default=1, symbol="G", minimum=1),
            PerAxis(name="dilation", default=1, symbols=names(window.dilation for window in windows)),
        ),
        extents={window.input.extent.name: _reached(window) for window in windows},
        rules=tuple(rule for window in windows for rule in _rules(window)),
        modules=(_module(rank),),
    )


DEFINITIONS = tuple(_definition(rank) for rank in (1, 2, 3))
