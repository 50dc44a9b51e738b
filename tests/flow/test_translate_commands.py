"""`olhar translate` and `olhar review` as a person gives them, and what their page in the documents promises."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from olhar.cli import app
from olhar.core import choices, recipe
from olhar.core.errors import UserError
from olhar.stages import translate as stage
from olhar.translators import apertium

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PAGE = Path(__file__).parents[2] / "docs" / "translate.md"
MADE = ("out.json", "out.json.flagged.jsonl", "out.json.manifest.json")
SAID = 'The sign says "STOP" and there are 3 cars at [0.1, 0.2].'
RECORDS: list[dict[str, Any]] = [
    {
        "id": "000123",
        "image": "a.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat does the sign say?\nA. STOP\nB. GO"},
            {"from": "gpt", "value": "A"},
            {"from": "human", "value": "Are there cars?"},
            {"from": "gpt", "value": f"Yes. {SAID}"},
        ],
        "score": 1.50,
    },
    {
        "id": 7,
        "image": "b.jpg",
        "conversations": [
            {"from": "human", "value": "Is it raining?\n<image>"},
            {"from": "gpt", "value": "No"},
        ],
        "kept": {"b": None, "a": ["What does the sign say?"]},
    },
]


def olhar(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "olhar.cli", *words]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


def translate(folder: Path, *more: str, engine: str = "identity") -> subprocess.CompletedProcess[str]:
    return olhar(folder, "translate", "in.json", "out.json", "--to", "pt", "--engine", engine, *more)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command printed for a program."""
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The three lines of a refusal."""
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: .+\n  where: .+\n  fix:   .+\n", done.stderr), done.stderr
    return done.stderr


def flagged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out.json.flagged.jsonl").read_text(encoding="utf-8").splitlines()]


def written(folder: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.json").write_text(json.dumps(RECORDS, indent=1), encoding="utf-8")
    return tmp_path


@pytest.fixture
def with_apertium(folder: Path) -> Path:
    try:
        apertium.open(apertium.Options(), "en", "pt").close()
    except UserError as error:
        pytest.skip(f"Apertium is not there: {error.what}")
    return folder


def corrected(folder: Path, source: str, target: str) -> subprocess.CompletedProcess[str]:
    """Export, change the translation of one sentence as a spreadsheet would, import."""
    done = olhar(folder, "review", "out.json", "--export", "sentences.csv")
    assert done.returncode == 0, done.stderr
    with open(folder / "sentences.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    (row,) = (row for row in rows if row["source"] == source)
    row["target"] = target
    with open(folder / "back.csv", "w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(row))
        writer.writeheader()
        writer.writerows(rows[::-1])
    return olhar(folder, "review", "out.json", "--import", "back.csv", "--who", "Ana")


def test_only_texts_change_and_a_program_is_told_what_was_done(folder: Path) -> None:
    done = told(translate(folder, "--json"))
    given = (folder / "in.json").read_text(encoding="utf-8")
    expected = given.replace('"Yes. ', '"Sim. ').replace('"No"', '"Não"')
    assert (folder / "out.json").read_text(encoding="utf-8") == expected
    assert done["counts"]["records"] == 2 and done["engine"]["name"] == "identity" and done["flags"] == {}
    assert flagged(folder) == []


def test_nothing_is_overwritten_and_nothing_is_asked_for_twice(folder: Path) -> None:
    first = told(translate(folder, "--json"))
    before = (folder / "out.json").read_bytes()
    assert first["counts"]["segments asked for"] > 0
    assert "nothing is overwritten" in refused(translate(folder))
    assert (folder / "out.json").read_bytes() == before
    (folder / "out.json").unlink()
    again = told(translate(folder, "--json"))
    assert again["counts"]["segments asked for"] == 0
    assert (folder / "out.json").read_bytes() == before


def test_an_estimate_leaves_no_output(folder: Path) -> None:
    found = told(translate(folder, "--estimate", "--json"))["estimate"]
    assert found["records"] == 2 and found["texts"] == 6 and found["known"] == 0
    assert found["probed"] == found["asked"] == found["unique"] > 0
    assert sorted(path.name for path in folder.iterdir()) == ["in.json", "translations.sqlite"]
    assert f"{found['unique']} distinct, {found['unique']} known already" in translate(folder, "--estimate").stdout


def test_a_broken_line_is_left_out_and_named_by_row_and_byte(folder: Path) -> None:
    lines = '{"id": 1, "conversations": []}\n{"id": 2, x}\n{"id": 3, "conversations": []}\n'
    (folder / "in.json").write_text(lines, encoding="utf-8")
    done = translate(folder)
    assert done.returncode == 1 and "left out: 1" in done.stdout
    (flag,) = flagged(folder)
    assert flag["row"] == 2 and flag["outcome"] == "left out" and "byte 41" in flag["reasons"][0]


@pytest.mark.parametrize(
    ("form", "row", "byte"),
    [
        ('{"id": 1, "conversations": []}\n{"id": 2, "conv', 2, 31),
        ('[{"id": 1, "conversations": []},\n {"id": 2, "conv', 2, 34),
        ('[{"id": 1, "conversations": []},\n {"id": 2 "conversations": []}, {"id": 3, "conversations": []}]', 2, 43),
    ],
    ids=["last line", "truncated", "array"],
)
def test_a_file_that_cannot_be_read_to_its_end_is_refused(folder: Path, form: str, row: int, byte: int) -> None:
    (folder / "in.json").write_text(form, encoding="utf-8")
    said = refused(translate(folder))
    assert f"row {row}, byte {byte}" in said and not (folder / "out.json").exists()


def test_a_file_of_something_else_is_refused(folder: Path) -> None:
    (folder / "in.json").write_text("Dear Ana,\n", encoding="utf-8")
    assert "neither an array nor a record" in refused(translate(folder))
    (folder / "in.json").write_text('[{"q": "What is it?"}]', encoding="utf-8")
    assert "its keys are q" in refused(translate(folder))
    assert not any((folder / name).exists() for name in MADE)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--engine", "identiti"], "did you mean 'identity'"),
        (["--option", "speed=3"], "speed"),
        (["--option", "speed"], "not name=value"),
        (["--quotes", "some"], "quotes"),
        (["--policies", "wrong.toml"], "default.quote"),
        (["--policies", "none.toml"], "none.toml"),
        (["--to", "xx"], "xx"),
        (["--cache", "in.json"], "no cache"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_not_known_is_refused(folder: Path, words: list[str], what: str) -> None:
    (folder / "wrong.toml").write_text('[default]\nquote = "keep"\n', encoding="utf-8")
    given = (folder / "in.json").read_bytes()
    assert what in refused(translate(folder, *words))
    assert not any((folder / name).exists() for name in MADE) and (folder / "in.json").read_bytes() == given


def test_a_review_is_a_page_and_sentences(folder: Path) -> None:
    translate(folder)
    done = olhar(folder, "review", "out.json", "--html", "review.html", "--export", "sentences.csv")
    assert done.returncode == 0, done.stderr
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert "identity" in page and "Is it raining?" in page and not re.search(r'(?:src|href)="https?:', page)
    with open(folder / "sentences.csv", encoding="utf-8", newline="") as lines:
        assert SAID in [row["source"] for row in csv.DictReader(lines)]
    refused(olhar(folder, "review", "in.json"))


def test_a_correction_stands_in_the_output(folder: Path) -> None:
    translate(folder)
    mended = 'Na placa está escrito "STOP" e há 3 carros em [0.1, 0.2].'
    done = corrected(folder, SAID, mended)
    assert done.returncode == 0 and "1 corrections are kept" in done.stdout, done.stdout + done.stderr
    (folder / "out.json").unlink()
    again = told(translate(folder, "--json"))
    assert again["counts"]["segments asked for"] == 0 and again["counts"]["segments by correction"] == 1
    assert written(folder)[0]["conversations"][3]["value"] == f"Sim. {mended}"


def test_a_correction_that_breaks_a_sentence_is_refused(folder: Path) -> None:
    translate(folder)
    done = corrected(folder, SAID, 'Na placa está escrito "PARE" e há 3 carros em [0.1, 0.2].')
    assert done.returncode == 1 and '"STOP"' in done.stdout and "0 corrections are kept" in done.stdout
    (folder / "out.json").unlink()
    translate(folder)
    assert SAID in written(folder)[0]["conversations"][3]["value"]


def test_apertium_writes_portuguese_and_breaks_nothing(with_apertium: Path) -> None:
    folder = with_apertium
    done = translate(folder, engine="apertium")
    assert done.returncode == 0 and "GPL" in done.stdout, done.stderr
    first, second = written(folder)
    question, letter, _, answer = (turn["value"] for turn in first["conversations"])
    assert question.startswith("<image>\n") and letter == "A"
    assert re.search(r"\nA\. .+\nB\. .+\Z", question) and "sign say" not in question
    assert answer.startswith("Sim. ") and '"STOP"' in answer and "3 carros" in answer and "[0.1, 0.2]" in answer
    assert second["conversations"][0]["value"].endswith("\n<image>") and second["conversations"][1]["value"] == "Não"
    assert first["id"] == "000123" and second["id"] == 7 and second["kept"] == RECORDS[1]["kept"]
    done = corrected(folder, "Are there cars?", "Há carros?")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "out.json").unlink()
    again = told(translate(folder, "--json", engine="apertium"))
    assert again["counts"]["segments asked for"] == 0
    assert written(folder)[0]["conversations"][2]["value"] == "Há carros?"


# --- docs/translate.md


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_policies_of_the_page_do_what_the_page_says(folder: Path) -> None:
    (policies,) = (block for block in blocks("toml") if "[default]" in block)
    texts = {
        "mine": ("Where is the fire hydrant?", "Fire hydrant"),
        "textvqa": ("What is written?\nAnswer the question using a single word or phrase.", "red bull"),
        "ocr_pages": ("Is it raining?", "Yes"),
    }
    records = [
        {"id": name, "source": name, "question": question, "answer": answer}
        for name, (question, answer) in texts.items()
    ]
    (folder / "in.json").write_text(json.dumps(records), encoding="utf-8")
    (folder / "policies.toml").write_text(policies, encoding="utf-8")
    assert translate(folder, "--policies", "policies.toml").returncode == 0
    mine, read, copied = written(folder)
    assert mine["question"] == "Where is the hidrante?" and mine["answer"] == "Hidrante"
    assert read["question"].startswith("What is written?\nResponda") and read["answer"] == "red bull"
    assert copied == records[2]


def test_the_recipe_of_the_page_is_one(folder: Path) -> None:
    (shown,) = (block for block in blocks("toml") if "[translate]" in block)
    (folder / "recipe.toml").write_text(shown, encoding="utf-8")
    read = recipe.load(folder / "recipe.toml")
    settings = stage.settings(read, "en")
    assert settings.policies.partitions["instruct"].quotes == "both" and settings.max_cost == 20
    assert set(read.check.checks) <= set(choices.names("checks"))


def test_the_page_names_every_engine_and_only_options_that_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
    assert set(choices.names("translators")) <= {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    command: Any = typer.main.get_command(app)
    known = {word for name in ("translate", "review") for given in command.commands[name].params for word in given.opts}
    named = {word for code in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"--[a-z][\w-]*", code)}
    assert "--max-cost" in named and named - known <= {"--copy_files"}
