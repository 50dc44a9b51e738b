"""The stage ``translate``: which data sets it takes, what it writes, and what the checks then see."""

import json
from pathlib import Path

import pytest

from olhar.core.errors import UserError
from olhar.core.recipe import load
from olhar.core.samples import SampleFile
from olhar.core.store import RunFolder
from olhar.stages import _plan, translate
from olhar.stages._walk import walk

RECIPE = """
name = "tiny"
language = "pt"

[[ingest]]
name = "foreign"
source = "llava"
path = "foreign.json"
language = "en"

[[ingest]]
name = "own"
source = "llava"
path = "own.json"

[translate]
engine = "identity"

[translate.policies]
key = "source"

[check]
checks = ["structure", "turns", "spans"]
"""


def record(name: str, question: str, answer: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": name, "image": f"{name}.jpg", "conversations": turns, "kept": [1, "x"]}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = [record("a", "What is this?", "Yes"), record("b", "How many?", 'There are 3 cats. It says "STOP".')]
    (tmp_path / "foreign.json").write_text(json.dumps(rows))
    (tmp_path / "own.json").write_text(json.dumps([record("c", "O que é isto?", "Um gato.")]))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def walked(recipe: Path, said: list[str] | None = None) -> RunFolder:
    read, run = load(recipe), RunFolder(recipe.parent / "runs" / "tiny")
    _plan.check(read, recipe)
    tell = said.append if said is not None else (lambda _: None)
    walk(read, run, lambda items, *_: items, lambda what: tell(str(what)))
    return run


def test_only_what_is_in_another_language_is_translated(recipe: Path) -> None:
    run = walked(recipe)
    assert [data.name for data in translate.translated(load(recipe))] == ["foreign"]
    assert not (run.path / "translate" / "own.jsonl").exists()
    samples = list(SampleFile(run.path / "translate" / "foreign.jsonl", run.path))
    assert [(sample.parent, sample.language) for sample in samples] == [("a", "pt"), ("b", "pt")]
    assert samples[0].turns[1].text == "Sim", "the table of short answers needs no engine"
    assert samples[0].media[0].path == str(recipe.parent / "a.jpg")
    assert samples[1].meta["translation"]["engine"] == "identity"


def test_checks_see_what_a_sample_was_before(recipe: Path) -> None:
    run = walked(recipe)
    assert len(SampleFile(run.path / "check" / "foreign.jsonl", run.path)) == 2
    assert len(SampleFile(run.path / "check" / "own.jsonl", run.path)) == 1


def test_a_second_walk_has_nothing_to_do_and_an_interrupted_one_goes_on(recipe: Path) -> None:
    first = walked(recipe)
    target = first.path / "translate" / "foreign.jsonl"
    before, told = target.read_bytes(), list[str]()
    walked(recipe, told)
    assert any("translate" in line and "nothing to do" in line for line in told)
    (first.path / "translate" / "manifest.json").unlink()
    walked(recipe)
    assert target.read_bytes() == before


def test_a_recipe_without_the_section_checks_what_was_read(recipe: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(text.replace('[translate]\nengine = "identity"\n\n[translate.policies]\nkey = "source"\n', ""))
    run = walked(recipe)
    assert not (run.path / "translate").exists()
    assert len(SampleFile(run.path / "check" / "foreign.jsonl", run.path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"identity"', '"identiti"', "did you mean 'identity'"),
        ('key = "source"', "quotes = 3", "policies"),
        ('engine = "identity"', 'engine = "identity"\noptions = { x = 1 }', "options"),
        ('engine = "identity"', 'engine = "identity"\nto = "vi"', "translate.to"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(recipe: Path, old: str, new: str, told: str) -> None:
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(UserError, match=told):
        walked(recipe)
    assert not (recipe.parent / "runs").exists()
