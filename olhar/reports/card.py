"""The model card (``README.md``) of a published folder, filled from measured data and nothing else.

The front matter follows the Hugging Face model-card metadata; ``co2_eq_emissions.emissions`` is in GRAMS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from olhar.core.types import Score
from olhar.reports import _pages
from olhar.reports.scores import LEARNED, Energy, Row, Table, amount, duration, interval, percent, share, significant

TASK = "image-text-to-text"  # what every result was measured on


@dataclass(frozen=True, slots=True)
class TrainingData:
    """One data set that was trained on. ``hub`` is its id on the Hugging Face hub, if it is there."""

    name: str
    samples: int
    licence: str
    attribution: str  # the line its licence asks for; empty if none
    hub: str | None = None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything a card says. No field has a default that could pass for a measurement."""

    name: str
    what: str  # one sentence on what this is
    task: str  # pipeline tag of the hub
    languages: Mapping[str, str]  # ISO 639-1 code -> English name
    licence: str  # SPDX identifier, lower case
    architecture: str  # the class of transformers that loads it
    parameters: int
    parts: Mapping[str, str]  # vision tower, connector, language model -> where it comes from
    base_models: tuple[str, ...]  # hub ids; none if trained from scratch
    training_type: str  # "pre-training" or "fine-tuning"
    usage: str  # Python that was run against this checkpoint
    tables: tuple[Table, ...]
    data: tuple[TrainingData, ...]
    energy: Energy | None
    limits: tuple[str, ...]
    tags: tuple[str, ...]
    version: str  # of olhar


def model_card(facts: CardFacts) -> str:
    """The card as Markdown with YAML front matter. Raises ``ValueError`` for a class or a language that is missing."""
    if not facts.architecture or not facts.languages:
        raise ValueError("a card needs the transformers class and at least one language")
    environment = _pages.markdown()
    formats = (duration, amount, _cell, _names, _score_table)
    environment.filters = environment.filters | {form.__name__.strip("_"): form for form in formats}
    front = yaml.safe_dump(front_matter(facts), allow_unicode=True, sort_keys=False, width=100)
    body = environment.get_template("card.md.j2").render(
        facts=facts,
        doubtful=[_doubtful(table) for table in facts.tables],
        learned=LEARNED,
    )
    return f"---\n{front}---\n\n{body}"


def front_matter(facts: CardFacts) -> dict[str, Any]:
    """The metadata the hub reads; what is not known has no key."""
    front: dict[str, Any] = {
        "language": list(facts.languages),
        "license": facts.licence,
        "library_name": "transformers",
        "pipeline_tag": facts.task,
        "tags": list(dict.fromkeys(("olhar", *facts.tags))),
    }
    if facts.base_models:
        front["base_model"] = list(facts.base_models)
    if hubs := [data.hub for data in facts.data if data.hub]:
        front["datasets"] = hubs
    if facts.energy and facts.energy.co2_g is not None:
        front["co2_eq_emissions"] = _emissions(facts.energy, facts.energy.co2_g, facts.training_type)
    if facts.tables:
        front["model-index"] = [{"name": facts.name, "results": [r for table in facts.tables for r in _results(table)]}]
    return front


def _emissions(energy: Energy, grams: float, training_type: str) -> dict[str, Any]:
    """Grams to three significant digits: no counter of energy is better than that."""
    return {
        "emissions": _plain(significant(grams)),
        "source": f"{energy.source} ({energy.method})",
        "training_type": training_type,
        "geographical_location": energy.country,
        "hardware_used": energy.hardware,
    }


def _results(table: Table) -> list[dict[str, Any]]:
    """One entry of the model index per split: the macro first, then the skills."""
    rows = [*filter(None, (table.macro,)), *table.rows]
    per_split = [[row.score for row in rows]]
    for place in range(len(table.splits)):
        per_split.append([score for row in rows if (score := row.elsewhere[place])])
    return [_result(table, scores) for scores in per_split]


def _result(table: Table, scores: list[Score]) -> dict[str, Any]:
    split = scores[0].split
    title = f"{table.benchmark}, {split.replace('_', ' ')}"
    dataset = {"name": title, "type": table.benchmark, "config": table.language, "split": split}
    metrics = [
        {"type": table.metric, "name": f"{table.metric.replace('_', ' ')}, {s.skill}", "value": round(s.value, 4)}
        for s in scores
    ]
    return {"task": {"type": TASK}, "dataset": dataset, "metrics": metrics}


def _doubtful(table: Table) -> dict[str, list[Row]]:
    """The skills a reader must not count on: not above the majority answer, or never compared with it."""
    return {
        "not learned": [row for row in table.rows if row.learned is False],
        "not compared": [row for row in table.rows if row.learned is None],
    }


def _score_table(table: Table) -> str:
    """The scores as a Markdown table, the macro first."""
    head = ["skill", "accuracy [95 %]", "n", *table.controls, *(split.replace("_", " ") for split in table.splits)]
    lines = [head, ["---", *("--:" for _ in head[1:])]]
    for row in [*filter(None, (table.macro,)), *table.rows]:
        one = row.score
        skill = f"**{row.skill}**" if row is table.macro else row.skill
        accuracy = f"{percent(one.value)} [{interval(one)}]"
        others = [share(score) for score in row.controls + row.elsewhere]
        lines.append([_cell(skill), accuracy, f"{one.n:,}", *others])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(rows: list[Row]) -> str:
    return ", ".join(row.skill for row in rows)


def _cell(text: str) -> str:
    """Text that does not end a table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _plain(number: float) -> float:
    """A whole number without its decimal point, as the hub's own cards write it."""
    return int(number) if number == int(number) else number
