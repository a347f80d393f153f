"""Kernel IR expressions as Triton source.

Templates print the structure of a kernel, this module prints its expressions and statements.

Input: nodes and statements of ``svertka.codegen.ir.kernel``. Output: lines of Python for ``@triton.jit`` functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from svertka.codegen.emit.expressions_printer import ARITHMETIC, NEGATION, Binding, ExpressionPrinter, Text
from svertka.codegen.ir.kernel import Apply, Constant, Let, Load, Name, Node, Store, TensorArgument, walk_node

__all__ = ["TritonPrinter"]

_BINARY = {
    "<": (Binding.COMPARISON, "<"),
    "<=": (Binding.COMPARISON, "<="),
    ">": (Binding.COMPARISON, ">"),
    ">=": (Binding.COMPARISON, ">="),
    "==": (Binding.COMPARISON, "=="),
    "!=": (Binding.COMPARISON, "!="),
    "or": (Binding.BITWISE_OR, "|"),
    "and": (Binding.BITWISE_AND, "&"),
    **ARITHMETIC,
}
_PREFIX = {"not": (Binding.ATOM, "~"), **NEGATION}
_CALLS = {
    "exp": "tl.exp",
    "log": "tl.log",
    "sqrt": "tl.sqrt",
    "rsqrt": "tl.rsqrt",
    "erf": "tl.erf",
    "sin": "tl.sin",
    "cos": "tl.cos",
    "Abs": "tl.abs",
    "where": "tl.where",
    "tanh": "primitives.tanh",
    "expm1": "primitives.expm1",
    "log1p": "primitives.log1p",
    "power": "primitives.power",
    "whole_power": "primitives.whole_power",
    "sign": "primitives.sign",
    "uniform": "primitives.uniform",
}
_ROUNDING = ("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "erf", "sin", "cos", "tanh", "power", "whole_power")
_NAN = {"maximum": "tl.maximum", "minimum": "tl.minimum"}


class TritonPrinter(ExpressionPrinter):
    """Prints the expressions and statements of one kernel.

    Args:
        tensors: the kernel's tensors.
        dimensions: for each index, the tile dimension it varies along ("" for a scalar).
        masks: for each tile dimension, the name of its mask.
        bare: names of compile-time real parameters, which have no dtype of their own.
        narrow: names of loop indices, which are 32 bits wide.
    """

    language = "Triton"
    binary = _BINARY
    prefix = _PREFIX

    def __init__(
        self,
        tensors: tuple[TensorArgument, ...],
        dimensions: Mapping[str, str],
        masks: Mapping[str, str],
        bare: frozenset[str],
        narrow: frozenset[str] = frozenset(),
    ) -> None:
        self.tensors = {tensor.name: tensor for tensor in tensors}
        self.dimensions = dimensions
        self.masks = masks
        self.bare = bare
        self.narrow = narrow
        self.read: set[str] = set()  # names of whole numbers that come from memory, in whatever width they have there
        self.spread: dict[str, frozenset[str]] = {}

    def _text(self, node: Node) -> Text:
        """An expression; of two numbers Python would compute another number, rounded before the kernel has it."""
        if isinstance(node, Apply) and node.operation in ARITHMETIC and all(map(_is_number, node.arguments)):
            left, right = node.arguments
            binding, sign = ARITHMETIC[node.operation]
            return Text(f"{self._argument(left, alone=True)} {sign} {self.text(right, binding + 1)}", binding)
        return super()._text(node)

    def _call(self, node: Apply) -> str:
        if node.operation == "real":
            return f"tl.cast({self.text(node.arguments[0])}, ACC)"
        alone = node.operation in _ROUNDING and all(isinstance(part, Constant) for part in node.arguments)
        arguments = ", ".join(self._argument(argument, alone) for argument in node.arguments)
        if node.operation in _NAN:
            return f"{_NAN[node.operation]}({arguments}, propagate_nan=tl.PropagateNan.ALL)"
        if node.operation not in _CALLS:
            raise TypeError(f"operation {node.operation!r}: the Triton printer does not know it; add it to _CALLS")
        return f"{_CALLS[node.operation]}({arguments})"

    def _argument(self, node: Node, alone: bool = False) -> str:
        """An argument of a call. A bare number would become float32, so it is given the type of the arithmetic.

        A number that float32 holds exactly may stay bare, unless all arguments are numbers (``alone``): then the result
        would be float32 too.
        """
        leaves = [part for part in walk_node(node) if not isinstance(part, Apply)]
        bare = all(isinstance(leaf, Constant) or (isinstance(leaf, Name) and leaf.name in self.bare) for leaf in leaves)
        short = isinstance(node, Constant) and _is_short(node)
        if node.kind == "real" and bare and (alone or not short):
            return f"tl.full([], {self.text(node)}, ACC)"
        return self.text(node)

    # Statements -------------------------------------------------------------------------------------------------

    def let(self, let: Let, cast: bool = True) -> list[str]:
        """Lines of a statement; a load is masked by the conditions under which its indices are valid."""
        return self._assignment(let, cast)

    def _assignment(self, let: Let, cast: bool = True, after: Sequence[str] = ()) -> list[str]:
        """Lines of a statement; ``after`` follows its assignment, but not that of an absent tensor's default."""
        load = let.value
        self.spread[let.name] = self.along(load)
        if load.kind == "integer" and (isinstance(load, Load) or self._names(load) & self.read):
            self.read.add(let.name)
        if not isinstance(load, Load):
            typed = any(isinstance(part, Apply) and part.operation == "real" for part in walk_node(load))
            return [f"{let.name} = {self.text(load) if typed else self._argument(load, alone=True)}", *after]
        suffix = ".to(ACC)" if cast and load.kind == "real" else ""
        address = self._address(load.tensor, load.indices) + self._anchor(load)
        line = f"{let.name} = tl.load({address}{self._mask(load)}){suffix}"
        default = self.tensors[load.tensor].default
        if default is None:
            return [line, *after]
        absent = repr(float(default)) if load.kind == "real" else str(default)
        present = [f"    {text}" for text in (line, *after)]
        return [f"if {load.tensor}_ptr is not None:", *present, "else:", f"    {let.name} = {absent}"]

    def line(self, let: Let, dimension: str, spread: str) -> list[str]:
        """Lines of a statement that varies along one dimension only: it is loaded as a vector, then broadcast.

        As a tile that is one element wide it would be loaded again by every thread that holds a part of the row.
        """
        if self.along(let.value) != {dimension}:
            return []
        return self._assignment(let, after=[f"{let.name} = {let.name}{spread}"])

    def along(self, node: Node) -> frozenset[str]:
        """Tile dimensions along which a node varies."""
        found: set[str] = set()
        for part in walk_node(node):
            if isinstance(part, Name):
                found |= self.spread.get(part.name, frozenset({self.dimensions.get(part.name, "")}))
        return frozenset(found - {""})

    def _anchor(self, load: Load) -> str:
        """Terms that give an address the shape of the mask, along dimensions in which only the mask varies."""
        varying = frozenset[str]().union(*(self.along(index) for index in load.indices))
        return "".join(f" + {_FLAT.get(dimension, dimension)} * 0" for dimension in sorted(self.along(load) - varying))

    def _mask(self, load: Load) -> str:
        known = [self.masks[dimension] for dimension in sorted(self.along(load)) if dimension in self.masks]
        mask = self.guard(load.masks, *known)
        return f", mask={mask}, other=0" if mask else ""

    def _address(self, tensor: str, indices: tuple[Node, ...]) -> str:
        axes = self.tensors[tensor].axes
        terms = [f"{self._place(i)} * {tensor}_stride_{axis}" for i, axis in zip(indices, axes, strict=True)]
        return " + ".join([f"{tensor}_ptr", *terms])

    def _place(self, index: Node) -> str:
        """An index, cast to the type of offsets before it is multiplied by a stride."""
        names = self._names(index)
        if names & self.read or (names & self.narrow and not self.along(index)):
            return f"tl.cast({self.text(index)}, INDEX)"
        return self.text(index, Binding.PRODUCT)

    @staticmethod
    def _names(node: Node) -> set[str]:
        return {part.name for part in walk_node(node) if isinstance(part, Name)}

    def guard(self, guards: tuple[Node, ...], *more: str) -> str:
        """A conjunction of conditions, empty if there is none."""
        return " & ".join([*more, *dict.fromkeys(self.text(guard, Binding.BITWISE_AND) for guard in guards)])

    def shifted(self, element: Node | str, shift: Node) -> str:
        """The exponential of an element, or of what has a name, less a shift."""
        exponent = Name(element, "real") if isinstance(element, str) else element
        return self.text(Apply("exp", (Apply("subtract", (exponent, shift), "real"),), "real"))

    def weighed(self, weight: Node, name: str) -> str:
        """What has a name, times a weight."""
        alone = weight == Constant(Fraction(1), "real")
        return name if alone else self.text(Apply("multiply", (weight, Name(name, "real")), "real"))

    def store(self, store: Store, along: tuple[str, ...], anchor: str, mask: str = "") -> list[str]:
        """Lines of a store; ``anchor`` gives the address the shape of the tile where the indices do not.

        ``mask`` is the name of the store's mask; the masks of the dimensions if empty.
        """
        address = self._address(store.tensor, store.indices)
        varying = frozenset().union(*(self.along(index) for index in store.indices)) if store.indices else frozenset()
        if set(along) - varying:
            address += f" + {anchor} * 0"
        masks = mask or " & ".join(self.masks[dimension] for dimension in along)
        line = f"tl.store({address}, {self.text(store.value)}, mask={masks})"
        if self.tensors[store.tensor].optional:
            return [f"if {store.tensor}_ptr is not None:", f"    {line}"]
        return [line]


_FLAT = {"m": "row", "n": "column"}
"""The index that counts along a dimension of a tile, where it has another name."""


def _is_number(node: Node) -> bool:
    return isinstance(node, Constant) and node.kind == "real"


def _is_short(node: Constant) -> bool:
    """Whether float32 holds the number exactly."""
    if isinstance(node.value, str):
        return True
    value: Fraction = node.value
    return value.denominator & (value.denominator - 1) == 0 and value.numerator.bit_length() <= 24
