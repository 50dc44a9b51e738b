"""What the documents name is there: links, headings, paths, trees, targets of make, commands and their options."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from olhar.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/golden/**/*.md")])
ONE_DAY = re.compile(r"(?<![a-z])xx(?![a-z])")  # a file that the reader is told to write
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"^(?:olhar|recipes|tests|tools|docs|\.ci)/[\w./*-]*$")
BRANCH = re.compile(r"^(?P<indent>(?:[│ ]   )*)(?:[├└]── )?(?P<names>\S+(?: \S+)*)")


def by_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return FENCE.findall(text(page))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in (link or image for link, image in LINK.findall(prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_paths_named_exist(page: Path) -> None:
    words = [*CODE.findall(prose(page)), *(word for _, block in blocks(page) for word in block.split())]
    named = {word.rstrip("/") for word in words if PATH.match(word) and not ONE_DAY.search(word)}
    assert not [name for name in named if not any(ROOT.glob(name))]


def tree_paths(block: str) -> Iterator[str]:
    """The paths of a drawn tree; what stands two blanks behind the names explains them."""
    above: list[str] = []
    for line in filter(str.strip, block.splitlines()):
        drawn = BRANCH.match(line.split("  #")[0])
        assert drawn, line
        depth = len(drawn["indent"]) // 4 + ("── " in line)
        names = re.split(r" {2,}", drawn["names"])[0].split(" ")
        yield from ("".join([*above[:depth], name]) for name in names)
        above[depth:] = [names[0]]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "architecture.md"], ids=by_name)
def test_trees_show_what_is_there(page: Path) -> None:
    trees = [block for _, block in blocks(page) if "── " in block]
    assert trees, "this page shows the tree"
    missing = [path for block in trees for path in tree_paths(block) if not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


def test_a_tree_is_read_as_it_is_drawn() -> None:
    lines = (
        "olhar/",
        "├── cli.py    commands",
        "├── core/",
        "│   ├── types.py store.py  what flows",
        "└── stages/",
        "recipes/  x",
    )
    assert list(tree_paths("\n".join(lines))) == [
        "olhar/",
        "olhar/cli.py",
        "olhar/core/",
        "olhar/core/types.py",
        "olhar/core/store.py",
        "olhar/stages/",
        "recipes/",
    ]


@dataclass(frozen=True)
class Line:
    """A command line in a document: the words behind ``olhar``."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{by_name(self.page)}: olhar {' '.join(self.words)}"


def command_lines() -> Iterator[Line]:
    """Every ``olhar ...`` of a shell block or of a piece of code in a sentence, without assignments before it."""
    for page in PAGES:
        shell = "\n".join(block for kind, block in blocks(page) if kind in ("sh", "bash", "console"))
        for line in (*shell.splitlines(), *CODE.findall(prose(page))):
            words = shlex.split(line.removeprefix("$ "), comments=True) if "olhar " in line else []
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if len(words) > 1 and words[0] in ("olhar", ".venv/bin/olhar"):
                yield Line(page, tuple(words[1:]))


LINES = list(dict.fromkeys(command_lines()))


@pytest.mark.parametrize("line", LINES, ids=str)
def test_commands_are_those_of_the_command_line(line: Line) -> None:
    command: Any = typer.main.get_command(app)
    name, *rest = line.words
    if name.startswith("-"):
        assert name in options(command)
        return
    assert name in command.commands, f"there is no `olhar {name}`"
    unknown = {word.split("=")[0] for word in rest if word.startswith("-")} - options(command.commands[name])
    assert not unknown


def options(command: Any) -> set[str]:
    return {"--help"} | {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}


def test_the_documents_name_commands() -> None:
    assert {line.words[0] for line in LINES} >= {"run", "plan", "chat", "check"}


def test_make_has_every_target_named() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shell = re.compile(r"(?:^|[`;&] ?|=\S+ )make ([a-z-]+)", re.MULTILINE)
    named = {target for page in PAGES for target in shell.findall(text(page))}
    assert {"demo", "test"} <= named <= rules


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text(folder / "README.md")))
    assert listed == {page.name for page in folder.glob("0*.md")}
