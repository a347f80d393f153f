"""The types of parsed PTX: a kernel as a list of instructions with typed operands.

Input: none. Output: ``Code`` of ``Instruction``s, which ``parse`` makes and ``machine`` executes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Address",
    "Code",
    "Immediate",
    "Instruction",
    "Negated",
    "Operand",
    "Pair",
    "Parameter",
    "PtxError",
    "Register",
    "Sink",
    "Special",
    "Symbol",
    "Vector",
]


class PtxError(Exception):
    """What the machine refuses, with the kernel, the line of the PTX and, where it is known, the thread."""


@dataclass(frozen=True)
class Register:
    """A virtual register.

    Attributes:
        name: as written.
        slot: its place in the register file.
        bits: its width; 1 for a predicate.
    """

    name: str
    slot: int
    bits: int


@dataclass(frozen=True)
class Negated:
    """The complement of a predicate register, ``!%p``."""

    register: Register


@dataclass(frozen=True)
class Immediate:
    """A constant: a whole number, or the bit pattern of a floating point constant of ``bits`` bits (0: a number)."""

    value: int
    bits: int = 0


@dataclass(frozen=True)
class Special:
    """A special register such as ``%tid.x``."""

    name: str


@dataclass(frozen=True)
class Symbol:
    """The name of a shared variable, a parameter or a label."""

    name: str


@dataclass(frozen=True)
class Sink:
    """``_``: a result that is not kept."""


@dataclass(frozen=True)
class Vector:
    """Operands in braces."""

    parts: tuple[Operand, ...]


@dataclass(frozen=True)
class Pair:
    """``a|b``: two results."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Address:
    """``[base + offset]``; a tensor's address has coordinates besides."""

    base: Operand
    offset: int = 0
    coordinates: tuple[Operand, ...] = ()


Operand = Register | Negated | Immediate | Special | Symbol | Sink | Vector | Pair | Address


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: operation with all modifiers, as written: ``add.s32``.
        operands: in order, results first.
        guard: the predicate before it, or None.
        line: in the PTX text, from 1.
        source: ``file:line`` of the kernel's source as the compiler noted it, or "".
        text: as written.
    """

    name: str
    operands: tuple[Operand, ...]
    guard: Register | Negated | None
    line: int
    source: str
    text: str

    @property
    def operation(self) -> str:
        """The operation without modifiers."""
        return self.name.partition(".")[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """What follows the operation, in order."""
        return tuple(self.name.split(".")[1:])


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: its name and its type (``u32``, ``u64``, ``f32``)."""

    name: str
    type: str

    @property
    def size(self) -> int:
        """In bytes."""
        return int(self.type[1:]) // 8


@dataclass
class Code:
    """A parsed kernel.

    Attributes:
        name: of the entry.
        target: ``sm_80``, ``sm_90a``.
        parameters: in order.
        threads: per program, from ``.reqntid``.
        instructions: in order.
        labels: the index of the instruction that follows each label.
        registers: all registers by slot.
        shared: offset of each static shared variable, and of the dynamic one.
        static_shared: bytes of static shared variables; the dynamic one follows them.
    """

    name: str
    target: str
    parameters: tuple[Parameter, ...]
    threads: int
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: list[Register] = field(default_factory=list)
    shared: dict[str, int] = field(default_factory=dict)
    static_shared: int = 0
