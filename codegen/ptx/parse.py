"""PTX text to a typed instruction list.

The grammar is what Triton's compiler emits for one kernel: an entry, register declarations, instructions, labels,
blocks with names of their own (inline assembly), ``.loc`` lines. What is not known is an error that names it.

Input: text. Output: ``Code``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from svertka.codegen.ptx.program import (
    Address,
    Code,
    Immediate,
    Instruction,
    Negated,
    Operand,
    Pair,
    Parameter,
    PtxError,
    Register,
    Sink,
    Special,
    Symbol,
    Vector,
)

__all__ = ["parse"]

WIDTHS = {"pred": 1, "b16": 16, "u16": 16, "s16": 16, "b32": 32, "u32": 32, "s32": 32, "f32": 32}
WIDTHS |= {"b64": 64, "u64": 64, "s64": 64, "f64": 64}
SPECIAL = {f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"}
SPECIAL |= {"%laneid", "%warpid"}

_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\((.*?)\)(.*?)^\{", re.DOTALL | re.MULTILINE)
_PARAMETER = re.compile(r"\.param\s+\.(\w+)((?:\s+\.\w+(?:\s+\d+)?)*)\s+(\w+)(\[\d+\])?")
_DYNAMIC = re.compile(r"\.extern\s+\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[\]")
_SHARED = re.compile(r"^\.shared\s+\.align\s+(\d+)\s+\.b(\d+)\s+(\w+)(?:\[(\d+)\])?$")
_REGISTERS = re.compile(r"^\.reg\s+\.(\w+)\s+(.*)$", re.DOTALL)
_LABEL = re.compile(r"([$\w]+):(?!:)")
_LOC = re.compile(r"\.loc[ \t]+(\d+)[ \t]+(\d+)[^\n]*")
_FILE = re.compile(r'\.file\s+(\d+)\s+"([^"]*)"')
_SPACE = re.compile(r"(?:\s+|//[^\n]*)+")
_FLOAT = re.compile(r"^0([fFdD])([0-9a-fA-F]+)$")
_INTEGER = re.compile(r"^-?(?:0[xX][0-9a-fA-F]+|\d+)U?$")
_RANGE = re.compile(r"^(%?[$\w]+)<(\d+)>$")


def parse(text: str) -> Code:
    """Parse the PTX of one kernel.

    Raises:
        PtxError: a statement that is not known, with its line.
    """
    found = _ENTRY.search(text)
    if found is None:
        raise PtxError("the text has no .entry: give the PTX of one kernel")
    name, parameters, directives = found.groups()
    target = re.search(r"^\.target\s+(\w+)", text, re.MULTILINE)
    threads = re.search(r"\.reqntid\s+(\d+)", directives) or re.search(r"\.maxntid\s+(\d+)", directives)
    if threads is None:
        raise PtxError(f"kernel {name}: no .reqntid; the number of threads is not known")
    code = Code(name, target.group(1) if target else "", tuple(_parameters(name, parameters)), int(threads.group(1)))
    files = {number: path.rpartition("/")[2] for number, path in _FILE.findall(text)}
    body = _Body(code, text, found.end(), files)
    body.statements()
    for alignment, symbol in _DYNAMIC.findall(text):
        code.shared[symbol] = -(-code.static_shared // int(alignment)) * int(alignment)
    return code


def _parameters(kernel: str, text: str) -> list[Parameter]:
    found = []
    for part in filter(None, (line.strip() for line in text.split(","))):
        match = _PARAMETER.search(part)
        if match is None or match.group(1) not in WIDTHS or match.group(4):
            raise PtxError(f"kernel {kernel}: parameter {part!r} is of no type that is known")
        found.append(Parameter(match.group(3), match.group(1)))
    return found


@dataclass
class _Scope:
    """Names that are declared in one block."""

    number: int
    registers: dict[str, Register] = field(default_factory=dict)
    ranges: dict[str, tuple[str, int]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)


class _Body:
    """The statements of a function body."""

    def __init__(self, code: Code, text: str, start: int, files: dict[str, str]) -> None:
        self.code, self.text, self.place, self.files = code, text, start, files
        self.scopes = [_Scope(0)]
        self.made, self.source = 1, ""
        self.line, self.counted = text.count("\n", 0, start) + 1, start

    def statements(self) -> None:
        """Read up to the body's end."""
        text = self.text
        while True:
            space = _SPACE.match(text, self.place)
            self.place = space.end() if space else self.place
            start = self.place
            self.line += text.count("\n", self.counted, start)
            self.counted = start
            if start >= len(text):
                raise PtxError(f"kernel {self.code.name}: the body does not end")
            if text[start] == "{":
                self.place += 1
                self._open()
            elif text[start] == "}":
                self.place += 1
                self.scopes.pop()
                if not self.scopes:
                    return
            elif location := _LOC.match(text, start):
                self.place = location.end()
                self.source = f"{self.files.get(location.group(1), '')}:{location.group(2)}"
            elif label := _LABEL.match(text, start):
                self.place = label.end()
                self.code.labels[self._label(label.group(1))] = len(self.code.instructions)
            else:
                end = text.index(";", start)
                self.place = end + 1
                self._statement(text[start:end])

    def _open(self) -> None:
        scope = _Scope(self.made)
        self.made += 1
        end = self.text.index("}", self.place)
        scope.labels = set(_LABEL.findall(self.text[self.place : end]))  # a block's labels are its own
        self.scopes.append(scope)

    def _label(self, name: str) -> str:
        for scope in reversed(self.scopes[1:]):
            if name in scope.labels:
                return f"{name}@{scope.number}"
        return name

    def _statement(self, text: str) -> None:
        text = " ".join(text.split())
        if text.startswith(".reg"):
            self._registers(text)
        elif text.startswith(".shared"):
            self._shared(text)
        elif not text.startswith(".pragma"):
            self._instruction(text)

    def _registers(self, text: str) -> None:
        match = _REGISTERS.match(text)
        if match is None or match.group(1) not in WIDTHS:
            raise self._error(f"declaration {text!r} is of no type that is known")
        kind, names = match.groups()
        for name in (part.strip() for part in names.split(",")):
            several = _RANGE.match(name)
            if several:
                self.scopes[-1].ranges[several.group(1)] = (kind, int(several.group(2)))
            else:
                self.scopes[-1].registers[name] = self._new(name, kind)

    def _new(self, name: str, kind: str) -> Register:
        register = Register(name, len(self.code.registers), WIDTHS[kind])
        self.code.registers.append(register)
        return register

    def _shared(self, text: str) -> None:
        match = _SHARED.match(text)
        if match is None:
            raise self._error(f"shared variable {text!r} is not known")
        alignment, bits, name, count = match.groups()
        start = -(-self.code.static_shared // int(alignment)) * int(alignment)
        self.code.shared[name] = start
        self.code.static_shared = start + int(bits) // 8 * int(count or 1)

    def _instruction(self, text: str) -> None:
        rest, guard = text, None
        if text.startswith("@"):
            written, _, rest = text[1:].partition(" ")
            found = self._operand(written)
            if not isinstance(found, Register | Negated):
                raise self._error(f"guard {written!r} is no predicate")
            guard = found
        name, _, operands = rest.strip().partition(" ")
        parts = tuple(self._operand(part) for part in _split(operands))
        self.code.instructions.append(Instruction(name, parts, guard, self.line, self.source, text))

    def _operand(self, text: str) -> Operand:
        text = text.strip()
        if text == "_":
            return Sink()
        if text[0] == "[":
            return self._address(text[1:-1].strip())
        if text[0] == "{":
            return Vector(tuple(self._operand(part) for part in _split(text[1:-1])))
        if "|" in text:
            first, _, second = text.partition("|")
            return Pair(self._operand(first), self._operand(second))
        if text[0] == "!":
            register = self._operand(text[1:])
            if not isinstance(register, Register):
                raise self._error(f"{text!r} negates what is no register")
            return Negated(register)
        if text in SPECIAL:
            return Special(text)
        return self._constant(text) or self._register(text) or self._symbol(text)

    def _constant(self, text: str) -> Immediate | None:
        if real := _FLOAT.match(text):
            return Immediate(int(real.group(2), 16), 32 if real.group(1) in "fF" else 64)
        return Immediate(int(text.rstrip("U"), 0)) if _INTEGER.match(text) else None

    def _register(self, text: str) -> Register | None:
        for scope in reversed(self.scopes):
            if text in scope.registers:
                return scope.registers[text]
            stem = text.rstrip("0123456789")
            if stem in scope.ranges:
                kind, count = scope.ranges[stem]
                if stem != text and int(text[len(stem) :]) < count:
                    return scope.registers.setdefault(text, self._new(text, kind))
        return None

    def _symbol(self, text: str) -> Symbol:
        if text.startswith("%"):
            raise self._error(f"register {text} is not declared")
        return Symbol(self._label(text))

    def _address(self, text: str) -> Address:
        parts = _split(text)
        if len(parts) == 2:
            vector = self._operand(parts[1])
            if not isinstance(vector, Vector):
                raise self._error(f"address [{text}] has no coordinates")
            return Address(self._operand(parts[0]), 0, vector.parts)
        base, _, offset = text.partition("+")
        return Address(self._operand(base), int(offset.strip() or "0", 0))

    def _error(self, reason: str) -> PtxError:
        return PtxError(f"kernel {self.code.name}, line {self.line}: {reason}")


def _split(text: str) -> list[str]:
    """The parts between commas that are in no brackets."""
    if "{" not in text and "[" not in text:
        return [part for part in text.split(",") if part.strip()]
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        if letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in [*parts, text[start:]] if part.strip()]
