"""Rules by which a fault in PTX changes nothing: each says so where it holds, and nothing where one thing differs."""

from __future__ import annotations

import pytest

from .ptx_equivalence import GIVEN_UP, LOWER_HALF, NEVER_NEGATIVE, NOT_READ, SAME_GROUP, SIGN_OF_ZERO, reason_of

TEXT = """
.version 8.7
.target sm_90a
.address_size 64
.visible .entry small(
    .param .u64 .ptr .global .align 1 small_param_0,
    .param .u32 small_param_1
)
.reqntid 32
{
    .reg .pred %p<3>;
    .reg .b32 %r<20>;
    .reg .b64 %rd<9>;
    ld.param.b64 %rd1, [small_param_0];
    ld.param.b32 %r1, [small_param_1];
    mov.u32 %r2, %tid.x;
    add.s32 %r3, %r1, %r2;
    add.s32 %r4, %r2, -1;
    div.s32 %r5, %r3, %r1;
    mul.lo.s32 %r6, %r5, %r1;
    sub.s32 %r7, %r3, %r6;
    sub.s32 %r8, %r6, %r3;
    mul.wide.s32 %rd2, %r7, 4;
    mul.wide.s32 %rd3, %r4, 4;
    mul.wide.s32 %rd4, %r8, 8;
    cvt.u32.u64 %r9, %rd2;
    cvt.s64.s32 %rd5, %r9;
    mov.b32 %r10, 0f00000000;
    add.f32 %r11, %r9, %r10;
    add.f32 %r12, %r10, %r9;
    shl.b32 %r13, %r2, 3;
    shl.b32 %r14, %r2, 4;
    cp.async.commit_group;
    mov.b32 %r15, 7;
    cp.async.commit_group;
    cp.async.wait_group 0;
    setp.lt.s32 %p1, %r13, %r11;
$again:
    mbarrier.init.shared::cta.b64 [%r15], 1;
    mbarrier.inval.shared::cta.b64 [%r15];
    @%p1 bra $again;
    mbarrier.inval.shared::cta.b64 [%r12];
    st.global.b32 [%rd3], %r12;
    st.global.b32 [%rd4], %r12;
    st.global.b32 [%rd5], %r12;
    ret;
}
"""
HOLDS = [
    ("mul.wide.s32 %rd2, %r7, 4;", "mul.wide.u32 %rd2, %r7, 4;", NEVER_NEGATIVE),
    ("cvt.u32.u64 %r9, %rd2;", "mov.b64 {%r9, _}, %rd2;", LOWER_HALF),
    ("add.f32 %r11, %r9, %r10;", "sub.f32 %r11, %r9, %r10;", SIGN_OF_ZERO),
    ("shl.b32 %r14, %r2, 4;", "shl.b32 %r14, %r2, 5;", NOT_READ),
    ("cp.async.commit_group;\n    mov", "mov", SAME_GROUP),
    ("    mbarrier.inval.shared::cta.b64 [%r12];\n", "", GIVEN_UP),
]
FAILS = [
    ("mul.wide.s32 %rd3, %r4, 4;", "mul.wide.u32 %rd3, %r4, 4;"),  # thread 0 has -1
    ("mul.wide.s32 %rd4, %r8, 8;", "mul.wide.u32 %rd4, %r8, 8;"),  # a remainder with the other sign
    ("cvt.s64.s32 %rd5, %r9;", "cvt.u64.u32 %rd5, %r9;"),  # half of a number
    ("cvt.u32.u64 %r9, %rd2;", "mov.b64 {%r9, _}, %rd3;"),
    ("add.f32 %r12, %r10, %r9;", "sub.f32 %r12, %r10, %r9;"),  # the other one is subtracted
    ("shl.b32 %r13, %r2, 3;", "shl.b32 %r13, %r2, 4;"),  # a comparison reads it
    ("cp.async.commit_group;\n    cp.async.wait", "cp.async.wait"),  # the last one
    (
        "    mbarrier.inval.shared::cta.b64 [%r15];\n",
        "",
    ),  # it is initialized again
]


@pytest.mark.parametrize(("old", "new", "reason"), HOLDS)
def test_rules_hold(old: str, new: str, reason: str) -> None:
    assert TEXT.count(old) == 1
    assert reason_of(TEXT, TEXT.replace(old, new)) == reason


@pytest.mark.parametrize(("old", "new"), FAILS)
def test_rules_do_not_hold(old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert not reason_of(TEXT, TEXT.replace(old, new))


def test_no_group_is_joined_where_a_wait_leaves_one() -> None:
    sound = TEXT.replace("wait_group 0;", "wait_group 1;")
    assert not reason_of(sound, sound.replace("cp.async.commit_group;\n    mov", "mov"))


def test_no_rule_holds_for_two_changes() -> None:
    altered = TEXT.replace("shl.b32 %r14, %r2, 4;", "shl.b32 %r14, %r2, 5;").replace("%r4, 4;", "%r4, 5;")
    assert not reason_of(TEXT, altered)
