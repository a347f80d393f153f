"""Rules by which a fault in a compiled kernel changes nothing: what is checked of the instructions around it.

A rule holds for every size. Extents, strides and counts of elements, which are the kernels' whole parameters, are not
negative, and sums and products of such numbers stay within their type: launchers choose wider offsets otherwise.

Input: sound and altered PTX. Output: a reason, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from svertka.codegen.ptx.parse import parse
from svertka.codegen.ptx.program import Code, Immediate, Instruction, Operand, Register, Sink, Special, Vector

__all__ = ["reason_of"]

SIGNED = {("cvt.s64.s32", "cvt.u64.u32"), ("mul.wide.s32", "mul.wide.u32")}
SIGNED |= {(f"shr.s{bits}", f"shr.u{bits}") for bits in (16, 32, 64)}
KEEPING = {"add", "and", "bfe", "cvt", "div", "mad", "max", "min", "mov", "mul", "or", "rem", "selp", "shl", "shr"}
"""Operations whose result is not negative if no operand is."""
LEADING = 0x3FFF << 16  # bits of a matrix descriptor: leading byte offset
WIDEST_SWIZZLE, SWIZZLE_ELEMENTS, OPERANDS = 1, 64, 8  # of 128 bytes; halves in these; operands of a product
NARROWER = ("cvt.u32.u64", "cvt.s32.s64", "cvt.u16.u32", "cvt.s16.s32")
LEAST_NEGATIVE = 1 << 31  # as 32 bits without a sign
NEVER_NEGATIVE = "The operand is never negative: it is made of thread and program numbers, extents and strides."
LOWER_HALF = "Both take the lower half of 64 bits."
SAME_GROUP = "The copies join the group of the next commit, and every wait is for all groups."
SIGN_OF_ZERO = "Adding and subtracting 0 differ in the sign of a zero alone, which no comparison of numbers sees."
GIVEN_UP = "No mbarrier is initialized afterwards, and the machine refuses every other use of its bytes."
ONE_SWIZZLE = "The matrix unit does not use the leading byte offset of an operand whose tile is one swizzle wide."
NOT_READ = "The result is not read before the register is written again."


def reason_of(sound: str, altered: str) -> str:
    """Why a fault changes nothing, if a rule says so.

    Args:
        sound: the PTX of a kernel.
        altered: the same with one fault.
    """
    before, after = _parsed(sound), parse(altered)
    for rule in (_changed, _removed):
        found = rule(before, after)
        if found:
            return found
    return ""


@lru_cache(maxsize=64)
def _parsed(text: str) -> Code:
    return parse(text)


def _changed(before: Code, after: Code) -> str:
    """One instruction became another."""
    if len(before.instructions) != len(after.instructions):
        return ""
    pairs = enumerate(zip(before.instructions, after.instructions, strict=True))
    places = [place for place, (old, new) in pairs if _told(old) != _told(new)]
    if len(places) != 1 or before.labels != after.labels:
        return ""
    (place,) = places
    old, new = before.instructions[place], after.instructions[place]
    for holds, reason in CHANGES:
        if holds(before, place, old, new):
            return reason
    return ""


def _told(one: Instruction) -> tuple[str, str, str]:
    return one.name, repr(one.operands), repr(one.guard)


def _without_sign(code: Code, place: int, old: Instruction, new: Instruction) -> bool:
    """Another sign of operands that are not negative."""
    names = (old.name, new.name)
    if names not in SIGNED and names[::-1] not in SIGNED:
        return False
    numbers = old.operands[1:2] if old.operation == "shr" else old.operands[1:]
    return old.operands == new.operands and all(_natural(code, one) for one in numbers)


def _lower_half(code: Code, place: int, old: Instruction, new: Instruction) -> bool:
    """The lower half of 64 bits, by another instruction."""
    target = new.operands[0]
    if (old.name, new.name) != ("cvt.u32.u64", "mov.b64") or not isinstance(target, Vector):
        return False
    return target.parts == (old.operands[0], Sink()) and old.operands[1] == new.operands[1]


def _of_zero(code: Code, place: int, old: Instruction, new: Instruction) -> bool:
    """A difference instead of a sum, from which 0 is taken."""
    if (old.operation, new.operation) != ("add", "sub") or old.operands != new.operands:
        return False
    return ".f" in old.name and _is_zero(code, old.operands[2])


def _unread(code: Code, place: int, old: Instruction, new: Instruction) -> bool:
    """Another value of a register that is not read afterwards; the instruction does nothing else."""
    if old.operation not in KEEPING | {"setp", "sub", "fma", "neg", "not", "xor", "abs"} or new.guard != old.guard:
        return False
    written = set(_results(old)) | set(_results(new))
    return bool(written) and not any(_is_read(code, place, register) for register in written)


def _leading_offset(code: Code, place: int, old: Instruction, new: Instruction) -> bool:
    """Another leading byte offset of descriptors that only products read whose tile is one swizzle wide."""
    if old.name != new.name or old.operation not in ("add", "or") or old.operands[:2] != new.operands[:2]:
        return False
    constants = (old.operands[2], new.operands[2])
    if not all(isinstance(one, Immediate) for one in constants):
        return False
    before, after = (one.value for one in constants if isinstance(one, Immediate))
    if (before ^ after) & ~LEADING or before >> 62 & 3 != WIDEST_SWIZZLE:
        return False
    (result,) = _results(old)
    readers = [one for one in code.instructions if any(result in _registers(o) for o in one.operands[1:])]
    return bool(readers) and all(_is_one_swizzle_wide(one, result) for one in readers)


def _is_one_swizzle_wide(one: Instruction, descriptor: Register) -> bool:
    """Whether the leading byte offset of a product's operand has no meaning: PTX, "Matrix descriptor"."""
    shape = re.match(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.", one.name)
    if shape is None or len(one.operands) != OPERANDS:
        return False
    _, left, right, *_, left_turned, right_turned = one.operands
    sides = ((left, left_turned, 64), (right, right_turned, int(shape[1])))
    mine = [(turned, extent) for side, turned, extent in sides if side == descriptor]
    return bool(mine) and all(turned == Immediate(0) or extent <= SWIZZLE_ELEMENTS for turned, extent in mine)


Change = Callable[[Code, int, Instruction, Instruction], bool]
CHANGES: tuple[tuple[Change, str], ...] = (
    (_without_sign, NEVER_NEGATIVE),
    (_lower_half, LOWER_HALF),
    (_of_zero, SIGN_OF_ZERO),
    (_unread, NOT_READ),
    (_leading_offset, ONE_SWIZZLE),
)


def _removed(before: Code, after: Code) -> str:
    """One instruction is no more."""
    old, new = before.instructions, after.instructions
    if len(old) != len(new) + 1:
        return ""
    place = next((n for n, one in enumerate(new) if _told(one) != _told(old[n])), len(new))
    if any(_told(one) != _told(other) for one, other in zip(old[place + 1 :], new[place:], strict=True)):
        return ""
    if old[place].name == "cp.async.commit_group" and _joins_next(before, place):
        return SAME_GROUP
    if old[place].name.startswith("mbarrier.inval") and not any(
        before.instructions[n].name.startswith("mbarrier.init") for n in _reached(before, place)
    ):
        return GIVEN_UP
    return ""


def _joins_next(code: Code, place: int) -> bool:
    """Whether the next commit follows without a wait, a branch or a label between, and every wait is for all groups."""
    waits = [one.operands[0] for one in code.instructions if one.name.startswith("cp.async.wait_group")]
    if any(not isinstance(one, Immediate) or one.value for one in waits):
        return False
    for number in range(place + 1, len(code.instructions)):
        one = code.instructions[number]
        if number in code.labels.values() or one.operation in ("bra", "ret") or "wait" in one.name:
            return False
        if one.name == "cp.async.commit_group":
            return True
    return False


def _following(code: Code, place: int) -> list[int]:
    """Instructions that may come next."""
    one = code.instructions[place]
    if one.operation == "ret" and one.guard is None:
        return []
    found = [] if one.operation == "bra" and one.guard is None else [place + 1]
    if one.operation == "bra":
        found.append(code.labels[one.operands[0].name])
    return [number for number in found if number < len(code.instructions)]


def _reached(code: Code, place: int, stop: Callable[[int], bool] = lambda number: False) -> Iterator[int]:
    """Instructions that may come after one, each once; not those behind where it is to ``stop``."""
    seen: set[int] = set()
    left = _following(code, place)
    while left:
        number = left.pop()
        if number not in seen:
            seen.add(number)
            yield number
            if not stop(number):
                left += _following(code, number)


def _registers(operand: Operand | None) -> Iterator[Register]:
    """Registers in an operand."""
    if isinstance(operand, Register):
        yield operand
    for name in ("register", "parts", "first", "second", "base", "coordinates"):
        inner = getattr(operand, name, ())
        for one in inner if isinstance(inner, tuple) else (inner,):
            yield from _registers(one)


STORING = ("st", "bra", "ret", "bar", "barrier", "cp", "mbarrier", "fence", "stmatrix", "tensormap", "red")


def _results(one: Instruction) -> list[Register]:
    """Registers that an instruction writes."""
    if one.operation in STORING or not one.operands:
        return []
    return list(_registers(one.operands[0]))


def _is_read(code: Code, place: int, register: Register) -> bool:
    """Whether a register may be read after an instruction, before every lane has written it again."""

    def overwritten(number: int) -> bool:
        one = code.instructions[number]
        return one.guard is None and register in _results(one)

    for number in _reached(code, place, overwritten):
        one = code.instructions[number]
        results = _results(one)
        sources = one.operands[1:] if results and one.operation != "wgmma" else one.operands
        read = [found for operand in (*sources, one.guard) for found in _registers(operand)]
        if register in read or (register in results and one.guard is not None):
            return True
    return False


def _definitions(code: Code, register: Register) -> list[Instruction]:
    return [one for one in code.instructions if register in _results(one)]


def _is_zero(code: Code, operand: Operand, known: frozenset[str] = frozenset()) -> bool:
    """Whether a float is 0 wherever it is defined; what is ``known`` is copied from itself."""
    if isinstance(operand, Immediate):
        return operand.value == 0
    if not isinstance(operand, Register):
        return False
    if operand.name in known:
        return True
    every, seen = _definitions(code, operand), known | {operand.name}
    return bool(every) and all(one.operation == "mov" and _is_zero(code, one.operands[1], seen) for one in every)


def _natural(code: Code, operand: Operand, known: frozenset[str] = frozenset()) -> bool:
    """Whether a whole number is not negative; what is ``known`` is a number that a loop adds to."""
    if isinstance(operand, Immediate):
        return operand.bits == 0 and 0 <= operand.value < LEAST_NEGATIVE
    if isinstance(operand, Special):
        return True
    if not isinstance(operand, Register) or operand.bits < 16:
        return False
    if operand.name in known:
        return True
    every = _definitions(code, operand)
    return bool(every) and all(_gives_natural(code, one, known | {operand.name}) for one in every)


def _gives_natural(code: Code, one: Instruction, known: frozenset[str]) -> bool:
    """Whether an instruction's result is not negative."""
    sources = one.operands[1:]
    if isinstance(one.operands[0], Vector) or one.name in NARROWER:
        return False
    if one.name.startswith("ld.param") and ".f" not in one.name:
        return True
    if one.operation == "and":
        return any(_natural(code, source, known) for source in sources)
    if one.operation == "sub":
        return _is_remainder(code, one)
    if one.operation == "bfe":
        return ".u" in one.name
    if one.operation == "shr" and ".u" in one.name:
        moved = sources[1]
        return (isinstance(moved, Immediate) and moved.value > 0) or _natural(code, sources[0], known)
    if one.name.startswith(("cvt.u32.u16", "cvt.u64.u")) or one.name == "mul.wide.u32":
        return True
    if one.operation in KEEPING and ".f" not in one.name:
        numbers = sources[:2] if one.operation == "selp" else sources
        return all(_natural(code, source, known) for source in numbers)
    return False


def _is_remainder(code: Code, one: Instruction) -> bool:
    """Whether a difference is what a division leaves: ``x - x / n * n``."""
    _, number, product = one.operands
    factors = _only(code, product, "mul")
    if factors is None:
        return False
    for quotient, divisor in (factors, factors[::-1]):
        for found in _definitions(code, quotient) if isinstance(quotient, Register) else ():
            if found.operation == "div" and found.operands[1:] == (number, divisor):
                return _natural(code, number) and _natural(code, divisor)
    return False


def _only(code: Code, operand: Operand, operation: str) -> tuple[Operand, ...] | None:
    """Operands of the one instruction that gives a register, if it is this operation."""
    every = _definitions(code, operand) if isinstance(operand, Register) else []
    return every[0].operands[1:] if len(every) == 1 and every[0].operation == operation else None
