"""Lines of Python that say which names they read and which they bind.

Source is made of ``Code``: text together with the names that it reads. Whoever puts pieces together gets the names of
the whole, so that unused assignments, unused names and needed imports follow without reading the text again.

Input: names, literals and pieces of ``Code``. Output: ``Line``s, and ``body_of``, the source of a function's body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sympy import Basic

from svertka.codegen.emit.launcher_printer import host_condition, host_expression
from svertka.codegen.emit.render import quoted, templated

__all__ = [
    "HELPERS",
    "Body",
    "Code",
    "Line",
    "Target",
    "body_of",
    "call",
    "condition",
    "expression",
    "f_string",
    "helpers_in",
    "if_block",
    "indented",
    "joined",
    "tuple_of",
    "variable",
]

HELPERS = {
    "arguments": frozenset(
        {
            "any_tensor",
            "as_real",
            "batched",
            "beside",
            "choice",
            "dimension",
            "dimensions",
            "epsilon",
            "flag",
            "implicit_dimension",
            "in_float32",
            "in_type",
            "in_widest",
            "integer_tensor",
            "invalid",
            "labels",
            "left_out",
            "legacy_reduction",
            "lowered",
            "mistyped",
            "named_padding",
            "padding_pairs",
            "per_axis",
            "random_seed",
            "ratios",
            "real",
            "real_tensor",
            "reduced",
            "same_shape",
            "trailing",
            "whole",
        }
    ),
    "runtime": frozenset({"needs_gradient", "store"}),
}
"""Functions that generated code may call, by the support module that defines them."""


@dataclass(frozen=True)
class Code:
    """Python source.

    Attributes:
        text: the source.
        reads: names that it reads, in the order in which they first occur.
    """

    text: str
    reads: tuple[str, ...] = ()

    def __add__(self, other: Code | str) -> Code:
        return joined("", (self, other))

    def __radd__(self, other: str) -> Code:
        return joined("", (other, self))


def variable(text: str) -> Code:
    """A variable, read."""
    return Code(text, (text,))


def joined(separator: str, parts: Iterable[Code | str]) -> Code:
    """Pieces of source one after another; a piece that is a ``str`` reads no name."""
    pieces = [Code(part) if isinstance(part, str) else part for part in parts]
    reads = dict.fromkeys(read for piece in pieces for read in piece.reads)
    return Code(separator.join(piece.text for piece in pieces), tuple(reads))


def tuple_of(parts: Iterable[Code | str]) -> Code:
    """A tuple of expressions."""
    every = list(parts)
    return "(" + joined(", ", every) + f"{',' * (len(every) == 1)})"


def call(function: str, /, *arguments: object, **options: object) -> Code:
    """A call of a function. ``Code`` stands for itself, a ``str`` for its literal, other values for their ``repr``."""
    given = [_value(argument) for argument in arguments]
    given += [f"{option}=" + _value(value) for option, value in options.items()]
    return variable(function) + "(" + joined(", ", given) + ")"


def _value(value: object) -> Code:
    if isinstance(value, Code):
        return value
    return Code(f'"{quoted(value)}"' if isinstance(value, str) else repr(value))


def f_string(*parts: Code | str) -> Code:
    """An f-string: ``Code`` is a replacement field, a ``str`` is literal text."""
    fields = ("{" + part + "}" if isinstance(part, Code) else templated(part) for part in parts)
    return 'f"' + joined("", fields) + '"'


def expression(value: Basic) -> Code:
    """An integer or real expression of SymPy."""
    return Code(host_expression(value), _symbols(value))


def condition(value: Basic) -> Code:
    """A condition of SymPy."""
    return Code(host_condition(value), _symbols(value))


def _symbols(value: Basic) -> tuple[str, ...]:
    return tuple(sorted(symbol.name for symbol in value.free_symbols))


def helpers_in(module: str, reads: Iterable[str]) -> list[str]:
    """Names that must be imported from a support module, sorted."""
    return sorted(HELPERS[module].intersection(reads))


@dataclass(frozen=True)
class Target:
    """What one element of an unpacked value is assigned to.

    Attributes:
        names: one name; or several, to which the parts of the element are assigned.
        starred: whether it takes all elements that the other targets do not take.
    """

    names: tuple[str, ...]
    starred: bool = False

    def source(self, used: set[str]) -> str:
        """The target; ``_`` if none of its names is used."""
        star = "*" * self.starred
        if used.isdisjoint(self.names):
            return f"{star}_"
        return f"{star}{self.names[0]}" if len(self.names) == 1 else f"({', '.join(self.names)})"


@dataclass(frozen=True)
class Line:
    """A line of Python.

    Attributes:
        code: the line, or the value if it assigns.
        targets: what it assigns to.
        pure: whether the line can be left out when none of its names is used.
        depth: how many blocks it is in.
    """

    code: Code
    targets: tuple[Target, ...] = ()
    pure: bool = False
    depth: int = 0

    @classmethod
    def assigning(cls, code: Code, *targets: str | Target, pure: bool = False) -> Line:
        """A line that assigns to targets; a ``str`` is the target of that name."""
        return cls(code, tuple(Target((t,)) if isinstance(t, str) else t for t in targets), pure)

    @property
    def binds(self) -> tuple[str, ...]:
        """Names that the line assigns to."""
        return tuple(bound for target in self.targets for bound in target.names)

    def source(self, used: set[str]) -> str:
        """The line, with ``_`` for targets that are not used."""
        indent = "    " * self.depth
        if used.isdisjoint(self.binds):
            return indent + self.code.text
        targets = [target.source(used) for target in self.targets]
        left = f"({targets[0]},)" if len(targets) == 1 and not self.pure else ", ".join(targets)
        return f"{indent}{left} = {self.code.text}"


def indented(lines: Iterable[Line]) -> list[Line]:
    """Lines one block deeper."""
    return [replace(line, depth=line.depth + 1) for line in lines]


def if_block(test: Code, *lines: Line) -> list[Line]:
    """Lines that run if a condition holds."""
    return [Line("if " + test + ":"), *indented(lines)]


@dataclass(frozen=True)
class Body:
    """The body of a function.

    Attributes:
        lines: its source.
        reads: names that it reads.
    """

    lines: tuple[str, ...]
    reads: frozenset[str]


def body_of(lines: Sequence[Line]) -> Body:
    """The body that some lines make, without pure assignments whose names nothing reads."""
    kept = list(lines)
    while True:
        used = {read for line in kept for read in line.code.reads}
        fewer = [line for line in kept if not line.pure or not used.isdisjoint(line.binds)]
        if len(fewer) == len(kept):
            return Body(tuple(line.source(used) for line in kept), frozenset(used))
        kept = fewer
