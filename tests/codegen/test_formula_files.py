"""Formulas in users' files: from the command line to a package that is imported and trained."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svertka.codegen.frontend.formula_file import definitions_of

from .test_command import run

FILE = '''
"""Two layers."""

from sympy import exp

from svertka.spec import Equation, Layer, Sum, Tensor, axis, define, number
from helping import TWO

m, i, o = axis("m", many=True, batch=True), axis("i", "in_features"), axis("o", "out_features")
x, w, b, y = Tensor("input", m, i), Tensor("weight", o, i), Tensor("bias", o, default=0), Tensor("output", m, o)
_hidden = Layer("hidden", (x,), (Equation(Tensor("output", m), Sum(x[m, i], i)),), ("output",))
dense = Layer("dense", (x, w, b), (Equation(y, Sum(x[m, i] * w[o, i], i) + b[o]),), ("output",))
trained = define(dense, parameters=("weight", "bias"), function="dense", module="Dense")

e = axis("e", many=True)
p, q = Tensor("input", e), Tensor("output", e)
bell = Layer("bell", (p,), (Equation(q, exp(-number("scale") * p[e] ** TWO)),), ("output",))
'''

USED = """
import torch
from my_package import Bell, Dense
from my_package.functional import bell

torch.manual_seed(0)
model = torch.nn.Sequential(Dense(3, 4), Bell(0.5), Dense(4, 1, bias=False))
print(model)
values, target = torch.randn(16, 3), torch.randn(16, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(40):
    loss = torch.nn.functional.mse_loss(model(values), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
assert losses[-1] < 0.9 * losses[0], losses
assert sorted(model.state_dict()) == ["0.bias", "0.weight", "2.weight"]
assert model[0].weight.shape == (4, 3) and model[2].bias is None
print(bell(torch.zeros(2), 0.5).tolist())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of formulas, and one that it imports."""
    (tmp_path / "my_layers.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "helping.py").write_text("TWO = 2\n", encoding="utf-8")
    return tmp_path


def test_what_is_taken_from_a_file(folder: Path) -> None:
    found = {definition.name: definition for definition in definitions_of(folder / "my_layers.py")}
    assert list(found) == ["dense", "bell"]
    assert found["dense"].modules[0].name == "Dense"  # with its interface, and only once
    assert found["bell"].modules[0].name == "Bell"
    assert found["bell"].source == "my_layers.py"
    assert str(folder) not in sys.path


@pytest.mark.slow
def test_a_file_becomes_a_package(folder: Path) -> None:
    file, package = str(folder / "my_layers.py"), str(folder / "my_package")
    made = run("generate", file, "--into", package)
    assert made.returncode == 0, made.stderr
    assert "2 layers validated" in made.stdout
    names = {path.name for path in (folder / "my_package" / "kernels").iterdir()}
    assert {"dense.py", "dense.json", "bell.py", "bell.json"} <= names
    inherited = {k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "PYTHONPATH")}
    used = subprocess.run(
        [sys.executable, "-c", USED], cwd=folder, env=inherited, capture_output=True, text=True, check=False
    )
    assert used.returncode == 0, used.stderr
    assert "Dense(in_features=3, out_features=4)" in used.stdout
    assert "[1.0, 1.0]" in used.stdout
    assert run("generate", file, "--check", "--into", package).returncode == 0
    again = run("generate", file, "--into", package)
    assert "0 changed, 0 layers validated" in again.stdout
    shown = run("validate", file, "bell", "--package", package, "--level", "adjoint")
    assert shown.returncode == 0, shown.stderr
    assert "bell" in shown.stdout

    text = (folder / "my_layers.py").read_text(encoding="utf-8")
    (folder / "my_layers.py").write_text(text.replace("bell", "gauss").replace("+ b[o]", "- b[o]"), encoding="utf-8")
    checked = run("generate", file, "--check", "--into", package)
    assert checked.returncode == 1
    for change in ("kernels/dense.py: differs", "kernels/gauss.py: missing", "formulas/bell.py: no longer generated"):
        assert change in checked.stdout
    (folder / "my_package" / "notes.py").write_text("mine = True\n", encoding="utf-8")
    assert run("generate", file, "--into", package).returncode == 0
    left = {str(path.relative_to(package)) for path in Path(package).rglob("*.*") if "__pycache__" not in str(path)}
    assert not [name for name in left if "bell" in name]
    assert "notes.py" in left


def test_a_package_needs_torch_and_triton_alone(folder: Path) -> None:
    """A package of formulas imports nothing of svertka, SymPy or Jinja, on either path."""
    package = folder / "my_package"
    assert run("generate", str(folder / "my_layers.py"), "bell", "--into", str(package)).returncode == 0
    roots = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                roots.add(str(node.module).split(".")[0])
    assert {"torch", "triton"} <= roots
    assert roots - {"torch", "triton", "numpy"} <= sys.stdlib_module_names | {"__future__"}
    code = "import sys, torch, my_package.functional as f; f.bell(torch.ones(2), 1.0); print('svertka' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.slow
def test_files_and_layers_mix(folder: Path) -> None:
    package = folder / "mixed"
    made = run("generate", str(folder / "my_layers.py"), "bell", "relu", "--into", str(package))
    assert made.returncode == 0, made.stderr
    kernels = {path.name for path in (package / "kernels").glob("*.json")}
    assert kernels == {"bell.json", "relu.json", "relu_gradient.json"}
    assert not (package / "formulas" / "relu.py").exists()  # it has a reference
    names = (package / "modules.py").read_text(encoding="utf-8")
    assert "class Bell(" in names
    assert "class ReLU(" in names


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1 +\n", ("my_layers.py:1", "SyntaxError")),
        ("import nowhere_to_be_found\n", ("my_layers.py:1", "nowhere_to_be_found")),
        ("\n\nraise KeyError('lost')\n", ("my_layers.py:3", "KeyError", "lost")),
        ("def f():\n    return 1 / 0\n\n\nf()\n", ("my_layers.py:2", "ZeroDivisionError")),
        ("import sys\nsys.exit(3)\n", ("my_layers.py:2", "SystemExit")),
        ("from svertka.spec import axis\nn = axis('lambda')\n", ("my_layers.py:2", "'lambda'", "rename it")),
        (
            "from svertka.spec import *\ni = axis('i')\nx = Tensor('x', i)\nprint(max(x[i], 0))\n",
            ("my_layers.py:4", "x[i] < 0", "maximum(a, b)"),
        ),
        ("x = 1\n", ("my_layers.py", "no Layer", "without underscore")),
    ],
)
def test_an_error_in_a_file_is_one_sentence(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "my_layers.py").write_text(text, encoding="utf-8")
    done = run("generate", str(tmp_path / "my_layers.py"), "--into", str(tmp_path / "package"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "package").exists()


def test_a_file_needs_a_folder_to_go_to(folder: Path) -> None:
    done = run("generate", str(folder / "my_layers.py"))
    assert done.returncode == 2
    assert "--into my_package/" in done.stderr
    done = run("generate", str(folder / "my_layers.py"), "--into", str(folder / "my-package"))
    assert done.returncode == 2
    assert "name it my_package" in done.stderr
    done = run("generate", str(folder / "other_layers.py"), "--into", str(folder / "my_package"))
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    done = run("generate", str(folder / "my_layers.py"), "no_such_layer", "--into", str(folder / "my_package"))
    assert done.returncode == 2
    assert "no_such_layer" in done.stderr


MIXED = """
from sympy import gamma, log
from svertka.spec import Equation, Layer, Sum, Tensor, axes
n, c, k = axes("n c k")
a, b = Tensor("input", n, c), Tensor("output", n)
total = Layer("total", (a,), (Equation(b, Sum(a[n, c], c)),), ("output",))
logs = Layer("logs", (a,), (Equation(b, Sum(log(a[n, c]), c)),), ("output",))
gammas = Layer("gammas", (a,), (Equation(b, Sum(gamma(a[n, c]), c)),), ("output",))
halves = Layer("halves", (a,), (Equation(Tensor("output", n, k), a[n, 2 * k]),), ("output",))
"""


@pytest.mark.slow
def test_one_formula_that_fails_does_not_lose_the_others(tmp_path: Path) -> None:
    """At whatever stage it fails, it is named; the others are written, and the exit status is 1."""
    file, package = tmp_path / "mixed.py", tmp_path / "package"
    file.write_text(MIXED, encoding="utf-8")
    for validated in (2, 1):  # the second call finds the certificate of the first
        done = run("generate", str(file), "--into", str(package))
        assert done.returncode == 1
        assert f"{validated} layers validated" in done.stdout
        told = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
        assert len(told) == 3
        for words in ("no input shows extent K", "layer gammas, equation of output", "layer logs: what does not hold"):
            assert any(words in line for line in told)
        assert {path.stem for path in (package / "kernels").glob("*.json")} == {"total"}
        assert "def total(" in (package / "functions" / "total.py").read_text(encoding="utf-8")
    assert run("generate", str(file), "logs", "--into", str(tmp_path / "none")).returncode == 1
    assert not (tmp_path / "none").exists()


def test_a_wrong_kernel_is_not_written(folder: Path) -> None:
    """A formula file that plants a fault in the printer gets no package."""
    fault = "\nfrom svertka.codegen.emit import triton_printer\ntriton_printer._BINARY['multiply'] = (6, '/')\n"
    with (folder / "my_layers.py").open("a", encoding="utf-8") as file:
        file.write(fault)
    done = run("generate", str(folder / "my_layers.py"), "bell", "--into", str(folder / "my_package"))
    assert done.returncode == 1
    assert "nothing was written" in done.stderr
    assert not (folder / "my_package").exists()


@pytest.mark.slow
def test_nothing_of_a_killed_run_goes_on(folder: Path) -> None:
    """Workers end with the process that started them, however it ends."""
    code = (
        "import multiprocessing, os, signal, sys, threading, time\n"
        "def killed():\n"
        "    while len(found := multiprocessing.active_children()) < 2: time.sleep(0.05)\n"
        "    print(*(child.pid for child in found), flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=killed, daemon=True).start()\n"
        "    from svertka.codegen.command import main\n"
        f"    sys.argv = ['svertka', 'generate', {str(folder / 'my_layers.py')!r}, '--into', {str(folder / 'own')!r}]\n"
        "    main()\n"
    )
    (folder / "killing.py").write_text(code, encoding="utf-8")
    with (folder / "children").open("w") as stream:  # processes that survive would keep a pipe open
        subprocess.run([sys.executable, str(folder / "killing.py")], stdout=stream, stderr=stream, check=False)
    children = [int(number) for number in (folder / "children").read_text().split() if number.isdecimal()]
    assert len(children) == 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not (folder / "own").exists()
