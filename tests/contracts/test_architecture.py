"""The house rules that no single module can hold: layers, what is imported when, sizes, and where words live."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import olhar
from olhar.core import recipe
from olhar.core.choices import names

PACKAGE = Path(olhar.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
RECIPES = sorted((PACKAGE.parent / "recipes").glob("*.toml"))
LONGEST_FUNCTION, LONGEST_FILE = 60, 330  # lines
TORCHLESS = ("core", "languages", "sources", "prompts", "checks", "benchmarks", "metrics", "stages")
WORDLESS = ("sources", "checks", "prompts", "metrics", "benchmarks", "families", "training", "inference", "stages")


def layers() -> list[set[str]]:
    """The ranks written in the docstring of ``olhar``, highest first."""
    text = (olhar.__doc__ or "").split("Layer order")[1].split("::")[1]
    return [set(re.findall(r"\w+", rank)) for rank in text.split(">")]


RANKS = {folder: number for number, rank in enumerate(layers()) for folder in rank}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def folder_of(path: Path) -> str:
    """``olhar/core/types.py`` -> core; ``olhar/cli.py`` -> cli."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module of olhar that a file imports anywhere, also inside functions and under TYPE_CHECKING."""
    package = ("olhar", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.split(".")[0] == "olhar")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *filter(None, [node.module])))
            if start.split(".")[0] == "olhar":
                yield from ((f"{start}.{alias.name}", node.lineno) for alias in node.names)


def by_name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def test_every_folder_has_a_rank_and_core_the_lowest() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} | {"cli"}
    assert folders <= RANKS.keys(), f"without a rank: {folders - RANKS.keys()}"
    assert layers()[-1] == {"core"} and layers()[0] == {"cli"}
    assert sum(map(len, layers())) == len(RANKS), "a folder has two ranks"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent != PACKAGE or path.stem == "cli"], ids=by_name
)
def test_imports_point_one_way(path: Path) -> None:
    own, wrong = folder_of(path), []
    for name, line in imported(path):
        other = name.split(".")[1]
        if other in RANKS and other != own and RANKS[other] <= RANKS[own]:
            wrong.append(f"line {line} imports {name}")
    assert not wrong, f"{own} may not know them: {wrong}"


def test_the_layer_test_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "core" / "x.py"
    file.parent.mkdir()
    file.write_text(
        "import olhar.stages.train\nfrom olhar import cli\nfrom ..families import internvl\nfrom . import types\n"
        "if TYPE_CHECKING:\n    from olhar.training.loop import Job\ndef f():\n    from olhar.reports import live\n"
        "import torch\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert sorted(name for name, _ in imported(file)) == [
        "olhar.cli",
        "olhar.core.types",
        "olhar.families.internvl",
        "olhar.reports.live",
        "olhar.stages.train",
        "olhar.training.loop.Job",
    ]


@pytest.mark.parametrize("stage", names("stages"))
def test_no_stage_calls_another(stage: str) -> None:
    others = {f"olhar.stages.{name}" for name in names("stages")} - {f"olhar.stages.{stage}"}
    reached = {".".join(name.split(".")[:3]) for name, _ in imported(PACKAGE / "stages" / f"{stage}.py")}
    assert not reached & others


def test_the_early_layers_leave_torch_alone() -> None:
    wanted = ["olhar.cli", *(module_name(path) for path in MODULES if folder_of(path) in TORCHLESS)]
    assert len(wanted) > 40
    program = (
        "import importlib, sys\n"
        f"for name in {wanted!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers'} & sys.modules.keys()\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_help_answers() -> None:
    program = "import sys; sys.argv = ['olhar', '--help']; from olhar.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(stage in done.stdout for stage in ("ingest", "mix", "train", "evaluate", "publish", "run"))


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {
        node.name: size for node in functions if (size := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long, f"longer than {LONGEST_FUNCTION} lines: {long}"


def foreign_letters(text: str) -> set[str]:
    """Letters of Latin script beyond ASCII, and of any other script."""
    return {letter for letter in text if ord(letter) > 0xBF and letter.isalpha()}


def docstrings(module: ast.Module) -> set[int]:
    """Ids of the nodes that only explain: a string standing alone as a statement."""
    return {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("path", [path for path in MODULES if folder_of(path) in WORDLESS], ids=by_name)
def test_words_of_a_language_live_in_languages(path: Path) -> None:
    module = tree(path)
    explaining = docstrings(module)
    found: dict[int, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining:
            found |= {node.lineno: node.value} if foreign_letters(node.value) else {}
    assert not found


def test_the_word_test_knows_letters_from_signs() -> None:
    assert foreign_letters("ação → 3 × 4 · “quote” … Đường") == set("çãĐườ")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_shipped_can_be_read(path: Path) -> None:
    read = recipe.load(path)
    assert read.name == path.stem
    known = {data.name for data in read.ingest}
    assert {taking.data for mixture in read.mix for taking in mixture.take} <= known
    assert {name for evaluation in read.evaluate for name in evaluation.data} <= known
    for stage in read.train.stages if read.train else ():
        assert stage.mixture in {mixture.name for mixture in read.mix}


def test_there_are_recipes() -> None:
    assert RECIPES
