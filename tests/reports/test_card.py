"""The model card: types of the front matter, the published ViTucano figures, and no claim that was not measured."""

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from olhar.core.types import Control, Score
from olhar.reports.card import CardFacts, TrainingData, front_matter, model_card
from olhar.reports.scores import Energy, table

LOGS = Path(__file__).parents[1] / "golden" / "vitucano_logs" / "emissions-1b5-v1.csv"


def score(skill: str, value: float, control: Control = "image", split: str = "pairs") -> Score:
    return Score("world", skill, "exact_match", value, value / 2, (1 + value) / 2, 1250, "no", split, control, "a rule")


def vitucano() -> Energy:
    """The two trainings of ViTucano-1b5, summed from their emissions log."""
    with LOGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    seconds, kwh, kg = (sum(float(row[key]) for row in rows) for key in ("duration", "energy_consumed", "emissions"))
    one = rows[0]
    source = f"CodeCarbon {one['codecarbon_version']}"
    return Energy(seconds, kwh, 1000 * kg, "measured", source, one["gpu_model"], one["country_name"])


@pytest.fixture
def facts() -> CardFacts:
    scores = [score("name", 0.98), score("where", 0.34), score("box", 0.7), score("macro", 0.6733)]
    scores += [score("name", 0.04, "majority"), score("where", 0.29, "majority"), score("name", 0.42, split="style_x")]
    return CardFacts(
        name="olho",
        what="A model that sees.",
        task="image-text-to-text",
        languages={"no": "Norwegian"},
        licence="apache-2.0",
        architecture="LlavaForConditionalGeneration",
        parameters=1_213_440,
        parts={"vision tower": "google/siglip", "language model": "TucanoBR/Tucano-1b1"},
        base_models=("TucanoBR/Tucano-1b1",),
        training_type="fine-tuning",
        usage="pipe = pipeline('image-text-to-text', model='olho')\n",
        tables=(table(scores, "pairs"),),
        data=(
            TrainingData("GQA | part", 70_000, "CC-BY-4.0", "Pictures: Visual Genome, CC-BY-4.0.", "lmms-lab/GQA"),
            TrainingData("own", 5, "MIT", ""),
        ),
        energy=vitucano(),
        limits=("It has seen a hundred nouns.",),
        tags=("vision", "olhar"),
        version="0.1.0",
    )


def parsed(card: str) -> tuple[dict[str, Any], str]:
    opening, front, body = card.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(front), body.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{EN DASH}", "-")


def test_the_front_matter_has_the_types_the_hub_reads(facts: CardFacts) -> None:
    front, _ = parsed(model_card(facts))
    assert front["language"] == ["no"]  # the code of Norwegian, not YAML's False
    assert (front["library_name"], front["pipeline_tag"]) == ("transformers", "image-text-to-text")
    assert front["tags"] == ["olhar", "vision"]
    assert front["datasets"] == ["lmms-lab/GQA"] and front["base_model"] == ["TucanoBR/Tucano-1b1"]
    assert front == front_matter(facts)


def test_vitucanos_published_energy_comes_out_of_its_logs(facts: CardFacts) -> None:
    front, body = parsed(model_card(facts))
    emissions = front["co2_eq_emissions"]
    assert emissions["emissions"] == 14100 and isinstance(emissions["emissions"], int)  # grams
    assert emissions["geographical_location"] == "Germany" and "NVIDIA A40" in emissions["hardware_used"]
    assert emissions["source"] == "CodeCarbon 2.8.2 (measured)"
    assert "| 37 kWh | 14.10 kg | 14 h 42 min | 8 x NVIDIA A40 | Germany |" in body
    assert "**measured**" in body and "381 g CO₂ per kWh" in body


def test_the_hubs_own_reader_finds_every_score(facts: CardFacts) -> None:
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(model_card(facts)).data.eval_results
    found = {(r.dataset_split, r.metric_name.rsplit(" ")[-1]): r.metric_value for r in results}
    assert found[("pairs", "where")] == 0.34 and found[("pairs", "macro")] == 0.6733
    assert found[("style_x", "name")] == 0.42 and len(found) == 5


def test_scores_stand_beside_what_they_are_compared_with(facts: CardFacts) -> None:
    _, body = parsed(model_card(facts))
    assert "| skill | accuracy [95 %] | n | majority | blank | style x |" in body
    assert "| name | 98 % [49-99] | 1,250 | 4 % | - | 42 % |" in body
    assert body.index("| **macro** |") < body.index("| name |") < body.index("| where |")


def test_what_was_not_learned_or_not_compared_is_said(facts: CardFacts) -> None:
    _, body = parsed(model_card(facts))
    limits = body[body.index("## What it does not do") : body.index("## Training data")]
    assert "majority answer): where.\n" in limits
    assert "so do not count on them: box.\n" in limits
    assert "It has seen a hundred nouns." in limits


def test_attributions_and_licences_are_given(facts: CardFacts) -> None:
    _, body = parsed(model_card(facts))
    assert "| GQA \\| part | 70,000 | CC-BY-4.0 |" in body
    assert "Pictures: Visual Genome, CC-BY-4.0." in body


def test_what_is_not_known_is_not_claimed(facts: CardFacts) -> None:
    bare = replace(facts, tables=(), base_models=(), data=(), energy=None)
    front, body = parsed(model_card(bare))
    assert not front.keys() & {"co2_eq_emissions", "model-index", "base_model", "datasets"}
    assert "has not been evaluated" in body and "Neither time nor energy was recorded" in body
    timed = replace(facts, energy=replace(vitucano(), kwh=None, co2_g=None))
    front, body = parsed(model_card(timed))
    assert "co2_eq_emissions" not in front and "Energy was not recorded" in body and "kWh" not in body


def test_a_small_run_is_not_rounded_to_nothing(facts: CardFacts) -> None:
    front = front_matter(replace(facts, energy=replace(vitucano(), kwh=0.008971, co2_g=3.4178)))
    assert front["co2_eq_emissions"]["emissions"] == 3.42


def test_tables_are_whole_markdown_tables(facts: CardFacts) -> None:
    """Every row of a table has as many cells as its head, and a table is not glued to text."""
    _, body = parsed(model_card(facts))
    lines = body.replace("\\|", "").splitlines()
    for above, line in pairwise(lines):
        if line.startswith("|"):
            assert above == "" or above.count("|") == line.count("|")
        elif above.startswith("|"):
            assert line == ""


@pytest.mark.parametrize("missing", [{"architecture": ""}, {"languages": {}}])
def test_a_card_names_its_class_and_language(missing: dict[str, Any], facts: CardFacts) -> None:
    with pytest.raises(ValueError, match="card needs"):
        model_card(replace(facts, **missing))
