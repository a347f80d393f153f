"""Faults in compiled kernels: mistakes that a compiler could make, or an edit of its output.

Input: PTX of one kernel. Output: ``Edit``s by kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .faults import Edit

__all__ = ["PTX_KINDS", "ptx_edits"]

Place = tuple[int, int, str]  # begin and end of what is replaced, and the replacement

_STATEMENT = re.compile(r"^[ \t]*(?!\.|//|\{|\})(?:@!?%p\d+[ \t]+)?[a-z][^;\n]*;", re.MULTILINE)
_REGISTER = re.compile(r"%(?:rs|rd|r|f|fd|p)\d+\b")
_SYNCHRONIZING = r"(?:bar\.sync|barrier\.cta\.sync|bar\.warp\.sync)[^;\n]*;"
_MEMORY = re.compile(r"\b(?:ld|st)\.shared|\bldmatrix|\bstmatrix|cp\.async\.c|mbarrier|wgmma\.mma|cp\.async\.bulk")


def ptx_edits(text: str, scope: str) -> list[Edit]:
    """All proposals for a kernel; their operators are kinds."""
    begin = text.index("{", text.index(".entry"))
    found = []
    for kind, propose in PTX_KINDS.items():
        for start, end, new in propose(text):
            if start > begin and text[start:end] != new:
                found.append(Edit(start, end, new, kind, scope))
    return found


def _replaced(text: str, *pairs: tuple[str, str]) -> Iterator[Place]:
    """Every match of a pattern, replaced by what its template gives."""
    for pattern, template in pairs:
        for one in re.finditer(pattern, text, re.MULTILINE):
            yield one.start(), one.end(), one.expand(template)


def _statements(text: str) -> list[re.Match[str]]:
    return list(_STATEMENT.finditer(text))


def _barriers(text: str) -> Iterator[Place]:
    """Dropped; moved behind the next access of shared memory, or before the last one."""
    yield from _replaced(text, (rf"^[ \t]*{_SYNCHRONIZING}", ""))
    every = _statements(text)
    for place, one in enumerate(every):
        if not re.search(_SYNCHRONIZING, one[0]):
            continue
        for others in (every[place + 1 : place + 40], every[max(place - 40, 0) : place][::-1]):
            other = next((o for o in others if _MEMORY.search(o[0])), None)
            if other is not None and "\n" in text and not _crosses(text, one, other):
                first, last = sorted((one, other), key=lambda found: found.start())
                between = text[first.end() : last.start()]
                moved = between + other[0] + "\n" + one[0] if other is last else one[0] + "\n" + other[0] + between
                yield first.start(), last.end(), moved


def _crosses(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether a label, a branch or a block begins between two statements."""
    first, last = sorted((one, other), key=lambda found: found.start())
    return bool(re.search(r"^\S+:|\bbra\b|[{}]", text[first.end() : last.start()], re.MULTILINE))


def _waits(text: str) -> Iterator[Place]:
    """Waits dropped or that let one more copy be in flight; commits, fences, arrivals and expected bytes."""
    yield from _replaced(
        text,
        (r"^[ \t]*cp\.async\.wait_group\s+\S+;", ""),
        (r"(cp\.async\.wait_group\s+)0x0;", r"\g<1>1;"),
        (r"(cp\.async\.wait_group\s+)0;", r"\g<1>1;"),
        (r"(cp\.async\.wait_group\s+)(?:0x)?1;", r"\g<1>2;"),
        (r"(cp\.async\.wait_group\s+)(?:0x)?2;", r"\g<1>3;"),
        (r"^[ \t]*cp\.async\.commit_group\s*;", ""),
        (r"^[ \t]*wgmma\.wait_group\S*\s+\d+;", ""),
        (r"(wgmma\.wait_group\S*\s+)0;", r"\g<1>1;"),
        (r"^[ \t]*wgmma\.commit_group\S*;", ""),
        (r"^[ \t]*fence\.proxy\.async[^;\n]*;", ""),
        (r"^[ \t]*fence\.proxy\.tensormap[^;\n]*;", ""),
        (r"^[ \t]*cp\.async\.bulk\.wait_group[^;\n]*;", ""),
        (r"^[ \t]*cp\.async\.bulk\.commit_group[^;\n]*;", ""),
        (r"^[ \t]*(?:@\S+[ \t]+)?mbarrier\.(?:arrive|init|inval)[^;\n]*;", ""),
        (r"@!complete bra\.uni waitLoop;", ""),
        (r"(expect_tx\S+ _, \[%r\d+\]), (\d+);", r"\1, \g<2>0;"),
        (r"(expect_tx\S+ _, \[%r\d+\]), (\d+);", r"\1, 16;"),
        (r"(mbarrier\.init\S+ \[%r\d+\]), 1;", r"\1, 2;"),
    )


_COMPARED = {"lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq", "ltu": "leu", "gtu": "geu"}


def _predicates(text: str) -> Iterator[Place]:
    """Guards negated or dropped, comparisons that include or exclude the bound, conjunctions, selections."""
    yield from _replaced(text, (r"@(%p\d+)(?=[ \t])", r"@!\1"), (r"@!(%p\d+)(?=[ \t])", r"@\1"))
    yield from _replaced(text, (r"^([ \t]*)@!?%p\d+[ \t]+(?=st\.|ld\.|cp\.)", r"\1"))
    for one in re.finditer(r"setp\.(\w+)(?=\.)", text):
        if one[1] in _COMPARED:
            yield one.start(1), one.end(1), _COMPARED[one[1]]
    yield from _replaced(text, (r"\band\.pred", "or.pred"), (r"\bor\.pred", "and.pred"))
    yield from _replaced(text, (r"(selp\.\w+\s+%\w+,\s*)([^,]+),\s*([^,]+)(?=, %p)", r"\1\3, \2"))


def _registers(text: str) -> Iterator[Place]:
    """An operand is the last result of the same class instead, or the operand beside it; another lane; vectors."""
    last: dict[str, str] = {}
    for one in _statements(text):
        names = list(_REGISTER.finditer(one[0]))
        for name in names[1:]:
            stem = name[0].rstrip("0123456789")
            if last.get(stem, name[0]) != name[0]:
                yield one.start() + name.start(), one.start() + name.end(), last[stem]
        if names and not re.match(r"[ \t]*(?:@\S+[ \t]+)?(?:st|cp|bra|bar|red)\b", one[0]):
            last[names[0][0].rstrip("0123456789")] = names[0][0]
    yield from _replaced(text, (r"(sub\.\w+(?:\.\w+)*\s+%\w+,\s*)(%\w+),\s*(%\w+);", r"\1\3, \2;"))
    yield from _replaced(text, (r"(shfl\.sync\.\w+\.b32\s+%\w+, %\w+, )(\d+)(?=,)", r"\g<1>1"))
    yield from _replaced(text, (r"\{\s*(%\w+),\s*(%\w+)(?=[,\s}])", r"{ \2, \1"))


def _conversions(text: str) -> Iterator[Place]:
    """Another rounding, another sign, halves exchanged, a shift that keeps no sign, one step less precise."""
    yield from _replaced(
        text,
        (r"cvt\.rn\.", "cvt.rz."),
        (r"cvt\.s64\.s32", "cvt.u64.u32"),
        (r"cvt\.u64\.u32", "cvt.s64.s32"),
        (r"cvt\.u32\.u64\s+(%\w+), (%\w+);", r"mov.b64 {\1, _}, \2;"),
        (r"(cvt\.rn\.\w+x2\.f32\s+%\w+), (%\w+), (%\w+);", r"\1, \3, \2;"),
        (r"shr\.s(\d+)", r"shr.u\1"),
        (r"shr\.u(\d+)", r"shr.s\1"),
        (r"mul\.wide\.s32", "mul.wide.u32"),
        (r"cvt\.f32\.bf16\s+(%\w+), (%\w+);", r"mov.b32 \1, {\2, \2};"),
        (r"(max|min)\.NaN\.", r"\1."),
        (r"(mov\.b32\s+\{)(%\w+), (%\w+)(\}, %\w+;)", r"\1\3, \2\4"),
        (r"fma\.rn\.(f\d+)", r"fma.rz.\1"),
    )


def _strides(text: str) -> Iterator[Place]:
    """Shifts and products of addresses, offsets of accesses, masks of lanes."""
    for one in re.finditer(r"(?:shl|shr)\.\w+\s+%\w+, %\w+, (\d+);", text):
        yield one.start(1), one.end(1), str(int(one[1]) + 1)
    for one in re.finditer(r"\[\s*%\w+\s*\+\s*(\d+)\s*\]", text):
        yield one.start(1), one.end(1), str(int(one[1]) + 16)
    for one in re.finditer(r"(?:ld|st)\.(?:shared|global)[^\n]*\[(%\w+)\]", text):
        yield one.start(1), one.end(1), f"{one[1]}+16"
    for one in re.finditer(r"(?:mul\.lo|mul\.wide|add|mad\.lo|mad\.wide)\.s(?:32|64)\s+%\w+, %\w+, (-?\d+)\b", text):
        yield one.start(1), one.end(1), str(int(one[1]) * 2 or 1)
    for one in re.finditer(r"(?:and|or|xor)\.b32\s+%\w+, %\w+, (\d+);", text):
        yield one.start(1), one.end(1), str(int(one[1]) ^ 4)


def _descriptors(text: str) -> Iterator[Place]:
    """Fields of tensor maps and of the matrix unit's descriptors, transpositions, the accumulator's use, groups."""
    yield from _replaced(
        text,
        (r"ldmatrix(\S*)\.trans", r"ldmatrix\1"),
        (r"(ldmatrix\.sync\.aligned\.m8n8\.x4)(?=\.shared)", r"\1.trans"),
        (r"(tensormap\.replace\S+ \[ ?%\w+ ?\+ ?0 ?\]), 0x0;", r"\1, 0x1;"),
        (r"(tensormap\.replace\S+ \[ ?%\w+ ?\+ ?0 ?\]), 0x1;", r"\1, 0x2;"),
        (r"(tensormap\.replace\S+ \[ ?%\w+ ?\+ ?0 ?\]), 0x3;", r"\1, 0x2;"),
        (r"(tensormap\.replace\S+ \[ ?%\w+ ?\+ ?0 ?\], 0x)0, ", r"\g<1>1, "),
        (r"(tensormap\.replace\S+ \[ ?%\w+ ?\+ ?0 ?\], 0x)1, ", r"\g<1>0, "),
        (r"(tensormap\.replace\.tile\.)box_dim", r"\1element_stride"),
        (r"(wgmma\.mma_async[^;]*), 0, 0;", r"\1, 0, 1;"),
        (r"(wgmma\.mma_async[^;]*), 0, 1;", r"\1, 0, 0;"),
        (r"(wgmma\.mma_async[^;]*), 1, 0;", r"\1, 0, 0;"),
        (r"(wgmma\.mma_async[^;]*), 1, 1;", r"\1, 1, 0;"),
        (r"(wgmma\.mma_async[^;]*), 1, 1, (\d), (\d);", r"\1, -1, 1, \2, \3;"),
        (r"(cp\.async\.c[ag]\S* \[[^\]]+\], \[[^\]]+\], 0x)10", r"\g<1>8"),
    )
    for one in re.finditer(r"\b4611686\d{12}\b", text):
        for bit in (16, 32, 62):
            yield one.start(), one.end(), str(int(one[0]) ^ (1 << bit))


def _arithmetic(text: str) -> Iterator[Place]:
    """Another operation, another sign, another constant."""
    yield from _replaced(
        text,
        (r"\badd(\.\w+)?\.f32", r"sub\1.f32"),
        (r"\bsub(\.\w+)?\.f32", r"add\1.f32"),
        (r"\bmul(\.\w+)?\.f32", r"add\1.f32"),
        (r"\bmax(\.NaN)?\.f32", r"min\1.f32"),
        (r"\bmin\.s32", "max.s32"),
        (r"(fma\.\w+\.f\d+\s+%\w+, %\w+, %\w+, )%\w+;", r"\g<1>0f00000000;"),
        (r"\bex2\.approx", "lg2.approx"),
        (r"\brsqrt\.approx", "sqrt.approx"),
        (r"\bmul\.hi\.u32", "mul.lo.u32"),
        (r"0f3FB8AA3B", "0f3F800000"),
        (r"0fFF800000", "0f00000000"),
        (r"\bdiv\.full\.f32", "mul.f32"),
    )


PTX_KINDS: dict[str, Callable[[str], Iterator[Place]]] = {
    "barriers": _barriers,
    "waits": _waits,
    "predicates": _predicates,
    "registers": _registers,
    "conversions": _conversions,
    "strides": _strides,
    "descriptors": _descriptors,
    "arithmetic": _arithmetic,
}
