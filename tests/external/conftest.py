"""The count of ONNX's cases, printed at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

# The shapes are small: several threads would be slower.
torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases passed, ran and did not run, by road and by reason."""
    passed: Counter[str] = Counter()
    run: Counter[str] = Counter()
    lines: list[str] = []
    for outcome in ("passed", "failed", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "onnx road":
                    run[value] += 1
                    passed[value] += outcome == "passed"
                elif name.startswith("onnx "):
                    lines.append(f"{name.removeprefix('onnx ')}: {value}")
    if not run and not lines:
        return
    terminalreporter.section("ONNX node tests")
    for road, count in run.items():
        terminalreporter.write_line(f"{road}: {passed[road]} passed of {count} run")
    for line in lines:
        terminalreporter.write_line(line)
