"""Faults in compiled kernels: proposals are well formed, and the report counts."""

from __future__ import annotations

import re
from pathlib import Path

from .ptx import write_report
from .ptx_faults import PTX_KINDS, ptx_edits

TEXT = """
.version 8.7
.visible .entry small(.param .u64 a)
{
    ld.param.b64 %rd1, [a];
    setp.lt.s32 %p1, %r1, %r2;
    @%p1 ld.global.b32 { %r3 }, [ %rd1 + 4 ];
    st.shared.b32 [%r5], %r3;
    bar.sync 0;
    ld.shared.b32 %r4, [%r6+32];
    cp.async.commit_group;
    cp.async.wait_group 1;
    sub.f32 %r7, %r4, %r3;
    fma.rn.f32 %r8, %r7, %r4, %r3;
    cvt.rn.bf16x2.f32 %r9, %r8, %r7;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r6];
    ret;
}
"""
EXPECTED = {
    "barriers": ("bar.sync 0;", ""),
    "waits": ("cp.async.wait_group 1;", "cp.async.wait_group 2;"),
    "predicates": ("lt", "le"),
    "registers": ("sub.f32 %r7, %r4, %r3;", "sub.f32 %r7, %r3, %r4;"),
    "conversions": ("cvt.rn.bf16x2.f32 %r9, %r8, %r7;", "cvt.rn.bf16x2.f32 %r9, %r7, %r8;"),
    "strides": ("32", "48"),
    "descriptors": ("ldmatrix.sync.aligned.m8n8.x4", "ldmatrix.sync.aligned.m8n8.x4.trans"),
    "arithmetic": ("fma.rn.f32 %r8, %r7, %r4, %r3;", "fma.rn.f32 %r8, %r7, %r4, 0f00000000;"),
}


def test_every_kind_proposes_what_it_says() -> None:
    edits = ptx_edits(TEXT, "small")
    assert {edit.operator for edit in edits} == PTX_KINDS.keys() == EXPECTED.keys()
    for kind, (old, new) in EXPECTED.items():
        found = {(TEXT[e.start : e.end].strip(), e.new.strip()) for e in edits if e.operator == kind}
        assert (old, new) in found, (kind, found)
    for edit in edits:
        changed = TEXT[: edit.start] + edit.new + TEXT[edit.end :]
        assert changed != TEXT
        assert changed.startswith(TEXT[: TEXT.index("{")])


def test_a_barrier_is_moved_behind_the_next_access_and_before_the_last() -> None:
    moved = [
        TEXT[: e.start] + e.new + TEXT[e.end :] for e in ptx_edits(TEXT, "small") if e.operator == "barriers" and e.new
    ]
    orders = [re.findall(r"st\.shared|bar\.sync|ld\.shared", text) for text in moved]
    assert orders == [["st.shared", "ld.shared", "bar.sync"], ["bar.sync", "st.shared", "ld.shared"]]


def test_the_report_counts_kinds(tmp_path: Path) -> None:
    row = {"kernel": "a/b", "line": 3, "old": "x", "new": "y"}
    rows = [
        row | {"mutant": "ptx-1", "kind": "waits", "outcome": "killed", "said": "exact: PtxError: in flight"},
        row | {"mutant": "ptx-2", "kind": "waits", "outcome": "killed", "said": "rounding: it differs"},
        row | {"mutant": "ptx-3", "kind": "waits", "outcome": "survived", "said": ""},
        row | {"mutant": "ptx-4", "kind": "strides", "outcome": "equivalent", "said": ""},
    ]
    write_report(rows, {"ptx-4": "nobody reads it"}, tmp_path)
    text = (tmp_path / "PTX.md").read_text(encoding="utf-8")
    assert "4 faults planted in PTX: 2 killed, 1 equivalent, 1 survived." in text
    assert "| waits | 3 | 1 | 1 | 0 | 1 | 66 % |" in text
    assert "| strides | 1 | 0 | 0 | 1 | 0 | - |" in text
    assert "ptx-3" in text.split("## Survivors")[1].split("## Equivalent")[0]
    assert "nobody reads it" in text.split("## Equivalent")[1]
