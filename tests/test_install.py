"""The installed package: a wheel that works from any folder, without the generator's packages; error messages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import svertka

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("package", "spec", "reference", "codegen", "generated", "networks")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST = re.findall(r"```python\n(.*?)```", README, re.S)[0]
GENERATOR = ("sympy", "jinja2", "markupsafe", "rich", "typer", "filelock", "ruff")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of this tree installed; the tree is copied first, so that nothing is written into it."""
    folder = tmp_path_factory.mktemp("install")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "tree")]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def python(code: str, installed: Path, folder: Path, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Run code in another folder, with the installed package first on the path and without some modules."""
    block = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", block + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_a_wheel_works_from_any_folder_without_the_generator(installed: Path, tmp_path: Path) -> None:
    """README's first example, from the wheel, where no module of the extras can be imported."""
    where = "import svertka, svertka.generated\nprint(svertka.__file__, svertka.generated.__file__, sep='\\n')\n"
    done = python(where + FIRST, installed, tmp_path, *GENERATOR)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(str(installed)) == 2
    assert "torch.Size([2, 3, 16, 12])" in done.stdout


def test_a_wheel_makes_gradients_of_gradients_without_the_extras(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d/dx of the square of d(x^2)/dx = 2 x, of positive elements, is 8 x; the certificate names the kernels."""
    monkeypatch.setenv("SVERTKA_CACHE", str(tmp_path / "cache"))
    code = (
        "import torch\nfrom svertka.generated import functional\n"
        "x = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)\n"
        "(first,) = torch.autograd.grad(functional.relu(x).square().sum(), x, create_graph=True)\n"
        "(second,) = torch.autograd.grad(first.square().sum(), x)\n"
        "print(second.tolist())\n"
    )
    done = python(code, installed, tmp_path, "rich", "typer", "ruff")
    assert done.stdout.strip() == "[0.0, 4.0, 16.0]", done.stderr[-2000:]
    assert len(list((tmp_path / "cache" / "relu_gradient").glob("*/kernels/relu_gradient.py"))) == 1


def test_the_layers_bring_in_nothing_of_the_generator(installed: Path, tmp_path: Path) -> None:
    """The layers work without the modules, and do not even try to import them.

    PyTorch itself imports SymPy and Jinja for some of its parts; the test checks what svertka adds to ``import torch``.
    """
    code = (
        "import sys, torch, triton, numpy\nbefore = set(sys.modules)\n"
        "import svertka.generated.modules, svertka.generated.functional, svertka.reference\n"
        "added = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        f"print(sorted(added & {set(GENERATOR)!r}), 'svertka' in added)\n"
    )
    done = python(code, installed, tmp_path)
    assert done.stdout.split("\n")[0] == "[] True", done.stderr[-2000:]


def test_the_name_alone_brings_in_no_torch(installed: Path, tmp_path: Path) -> None:
    done = python("import svertka, sys; print(svertka.__version__, 'torch' in sys.modules)", installed, tmp_path)
    assert done.stdout.split() == [svertka.__version__, "False"], done.stderr[-2000:]


COMMAND = "import sys\nsys.argv = ['svertka', {arguments}]\nfrom svertka.codegen.command import main\nmain()\n"


@pytest.mark.parametrize("missing", [GENERATOR, ("typer",), ("sympy",), ("jinja2",)], ids=lambda names: names[0])
def test_the_command_without_the_generator_says_what_to_install(
    missing: tuple[str, ...], installed: Path, tmp_path: Path
) -> None:
    done = python(COMMAND.format(arguments="'validate', 'relu'"), installed, tmp_path, *missing)
    assert done.returncode == 2
    assert "pip install 'svertka[generator]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_training_without_pillow_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    done = python(COMMAND.format(arguments="'train', 'lenet'"), installed, tmp_path, "PIL")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr[-2000:]
    assert "pip install 'svertka[networks]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_svertka_does_not_bring_is_no_sentence(installed: Path, tmp_path: Path) -> None:
    """A missing module that belongs to no extra is a fault, and is shown with its traceback."""
    done = python(COMMAND.format(arguments="'validate', 'relu'"), installed, tmp_path, "json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_command_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = python(COMMAND.format(arguments="'--version'"), installed, tmp_path)
    assert done.stdout == f"svertka {svertka.__version__}\n"
    listed = python(COMMAND.format(arguments="'explain', 'relu'"), installed, tmp_path)
    assert listed.returncode == 0, listed.stderr[-2000:]
    assert "grad_input" in listed.stdout


IMPORTED = """
import sys
from svertka.codegen.command import main
sys.argv = ["svertka", "--help"]
try:
    main()
except SystemExit:
    print([name for name in ("torch", "triton", "numpy", "sympy", "jinja2") if name in sys.modules])
"""


def test_help_imports_neither_torch_nor_sympy(installed: Path, tmp_path: Path) -> None:
    done = python(IMPORTED, installed, tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr[-2000:]


WITHOUT_NUMPY = """
import importlib, pkgutil, sys, torch
sys.path.insert(0, {folder!r})
import mine
for part in pkgutil.walk_packages(mine.__path__, "mine."):
    if part.name not in ("mine.host", "mine.formulas.evaluation", "mine.kernels.interpreting"):
        if not part.name.startswith("mine.formulas."):
            importlib.import_module(part.name)
del sys.modules["sympy"]  # PyTorch itself imports it, for the strides of meta tensors
print(mine.functional.{function}(torch.empty(4, 5, device="meta")).shape)
"""


def test_a_package_of_ones_own_needs_numpy_on_the_cpu_alone(tmp_path: Path) -> None:
    """Everything that CUDA tensors need is imported, and a call's arguments and shapes are checked, without NumPy."""
    from svertka.codegen.driver.generate import generate_package
    from svertka.spec import Equation, Layer, Tensor, axis, define

    i = axis("i", many=True)
    x, y = Tensor("input", i), Tensor("output", i)
    definition = define(Layer("tripled", (x,), (Equation(y, 3 * x[i]),), ("output",)))
    for name, text in generate_package([definition]).sources.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    code = WITHOUT_NUMPY.format(folder=str(tmp_path), function=definition.function)
    done = python(code, tmp_path, tmp_path, "numpy", *GENERATOR)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "torch.Size([4, 5])" in done.stdout
