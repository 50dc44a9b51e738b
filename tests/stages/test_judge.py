"""Asking a model while it trains: the same training to the last bit, right scores, answers kept once."""

import random
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from olhar.core.errors import UserError
from olhar.core.recipe import Recipe
from olhar.core.samples import writing_samples
from olhar.core.types import Sample, Score
from olhar.families import Checkpoint, Spoken, internvl
from olhar.inference.assistant import Assistant
from olhar.languages import language
from olhar.prompts import prompt, special_tokens
from olhar.sources import Request, world
from olhar.stages import _judge
from olhar.stages._judge import Judged, judge_of, mean_score, read_answers, samples_at, undisturbed
from olhar.training.model import vocabulary

TINY = Path(__file__).parents[1] / "flow" / "tiny.toml"
BEST = {"benchmark": "world", "data": "judged", "every": 5, "questions": 8}


def recipe(best: dict[str, Any] | None = BEST, **train: Any) -> Recipe:
    """The tiny recipe, judged by a data set of its own."""
    table = tomllib.loads(TINY.read_text(encoding="utf-8"))
    table["train"] |= train | ({"best": best} if best else {})
    return Recipe.model_validate(table)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with checked questions."""
    root = tmp_path_factory.mktemp("run")
    options = world.Options(split="composition", per_skill=2, nouns=20, seed=3)
    read = world.read(Request(None, options, "pt", "world", root / "ingest" / "media"))
    drawn = [sample for sample in read if isinstance(sample, Sample)]
    (root / "check").mkdir()
    for name in ("judged", "composition"):
        with writing_samples(root / "check" / f"{name}.jsonl", root) as out:
            for sample in drawn:
                out.write(sample)
    with writing_samples(root / "check" / "empty.jsonl", root):
        pass
    return root


@pytest.fixture
def fresh(run: Path) -> Iterator[Path]:
    """The same, where nothing was asked yet."""
    yield run
    (run / "train" / _judge.ANSWERS).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def make() -> Callable[[], Checkpoint]:
    torch.set_num_threads(1)
    table = recipe()
    assert table.model
    texts = ["Que coisa é esta? É um gato.", "Quantas coisas há? Três, duas, uma."] * 3
    tokens = [*special_tokens(prompt("compact"), language("pt")), *internvl.SPECIAL_TOKENS]
    tokenizer = vocabulary.learn((f" {text}" for text in texts), 340, tokens)

    def checkpoint() -> Checkpoint:
        settings = internvl.settings(table.model)
        torch.manual_seed(7)
        model = internvl.compose(table.model, settings, tokenizer)
        return Checkpoint(model, tokenizer, "internvl", settings, Spoken("compact", None, "pt"))

    return checkpoint


def trained(checkpoint: Checkpoint, asked: Callable[[int], Any]) -> list[torch.Tensor]:
    """Three steps with all kinds of chance in them, ``asked`` after each; all weights."""
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    model = checkpoint.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(1, 4):
        ids = torch.randint(10, 300, (1, 12 + random.randrange(3)))
        embeddings = model.get_input_embeddings()(ids) * float(np.random.rand())
        hidden = model.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        torch.nn.functional.dropout(hidden).square().mean().backward()
        optimizer.step()
        asked(step)
        assert model.training
        optimizer.zero_grad()
    return [tensor.clone() for tensor in model.state_dict().values()]


def test_training_is_the_same_to_the_last_bit(
    fresh: Path, make: Callable[[], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, checkpoint = judge_of(recipe(BEST | {"questions": 3}), fresh, lambda _: None), make()
    assert judge
    greedy = Assistant.answers

    def drawing(self: Assistant, *given: Any) -> list[str]:
        torch.rand(3), np.random.rand(3), random.random()  # an answer that draws numbers
        assert not self.checkpoint.model.training
        return greedy(self, *given)

    monkeypatch.setattr(Assistant, "answers", drawing)
    judged = trained(checkpoint, lambda step: judge(checkpoint, "skills", step))
    alone = trained(make(), lambda step: None)
    assert all(torch.equal(one, other) for one, other in zip(judged, alone, strict=True))
    assert not any(parameter.is_inference() for parameter in checkpoint.model.parameters())


def test_every_module_gets_its_own_mode_back() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    model[1].eval()
    with pytest.raises(KeyError), undisturbed(model):
        assert not model[0].training
        raise KeyError
    assert model.training and model[0].training and not model[1].training


def answering(right: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch, samples: list[Sample]) -> None:
    """Every question is answered rightly whose id ``right`` accepts."""
    by_text = {tuple(sample.turns[:-1]): sample for sample in samples}

    def answers(self: Assistant, conversations: Any, room: int) -> list[str]:
        asked = [by_text[tuple(turns)] for turns in conversations]
        return [sample.turns[-1].text if right(sample.id) else "?" for sample in asked]

    monkeypatch.setattr(Assistant, "answers", answers)


def test_the_score_is_the_benchmarks_own(
    fresh: Path, make: Callable[[], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    judge, checkpoint = judge_of(recipe(), fresh, said.append), make()
    assert judge
    samples = judge._samples  # type: ignore[attr-defined]
    assert len(samples) == 8
    for step, right, expected in ((5, 0, 0.0), (10, 8, 1.0)):
        chosen = {sample.id for sample in samples[:right]}
        answering(lambda name, chosen=chosen: name in chosen, monkeypatch, samples)
        judged = judge(checkpoint, "skills", step)
        assert isinstance(judged, Judged) and judged.score == expected and judged.questions == 8
        assert len(judged.answers) == 6 and all(answer.correct == bool(right) for answer in judged.answers)
    assert said[1] == "  skills, step 10: mean score 100.0% on 8 questions, 100.0% at best so far"
    answering(lambda name: False, monkeypatch, samples)
    judge(checkpoint, "skills", 15)
    assert said[2].endswith("0.0% on 8 questions, 100.0% at best so far")


def test_answers_are_kept_once_with_their_pictures(fresh: Path, make: Callable[[], Checkpoint]) -> None:
    judge, checkpoint = judge_of(recipe(), fresh, lambda _: None), make()
    assert judge
    for step in (5, 10, 5):  # step 5 again, after a kill
        judge(checkpoint, "skills", step)
    rows = read_answers(fresh / "train" / _judge.ANSWERS)
    assert [row["step"] for row in rows] == [10] * 6 + [5] * 6
    for row in rows:
        assert row["stage"] == "skills" and row["questions"] == 8 and 0 <= row["score"] <= 1
        assert row["question"] and row["expected"] and not row["correct"]
        assert all(not Path(path).is_absolute() and (fresh / path).exists() for path in row["pictures"])
        assert row["thumbnails"] and all((fresh / "train" / path).exists() for path in row["thumbnails"])


def test_without_best_a_few_samples_are_answered(fresh: Path, make: Callable[[], Checkpoint]) -> None:
    told: list[str] = []
    judge = samples_at(recipe(best=None), fresh, told.append)
    assert judge and judge_of(recipe(best=None), fresh, told.append) is None
    judged = judge(make(), "tower", 60)
    assert judged.questions == len(judged.answers) == 4 and told == []
    rows = read_answers(fresh / "train" / _judge.ANSWERS)
    assert [row["score"] for row in rows] == [None] * 4
    assert len({row["question"] for row in rows}) > 1, "not four times the first skill"


def test_a_model_of_mixed_exactness_is_asked_as_it_trains(fresh: Path, make: Callable[[], Checkpoint]) -> None:
    judge, checkpoint = judge_of(recipe(), fresh, lambda _: None), make()
    checkpoint.model.model.vision_tower.to(torch.bfloat16)
    assert judge and judge(checkpoint, "skills", 5).questions == 8


def test_best_takes_the_place_of_samples(run: Path) -> None:
    assert samples_at(recipe(), run, print) is None
    without = recipe(best=None).model_copy(update={"evaluate": ()})
    assert samples_at(without, run, print) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"best": BEST | {"data": "scenes"}}, "'scenes' is trained on"),
        ({"best": BEST | {"data": "composition"}}, "'composition' is reported by an evaluation"),
        ({"best": BEST | {"data": "empty"}}, "there is no question to ask"),
        ({"best": BEST | {"data": "absent"}}, "there are no samples"),
    ],
)
def test_what_cannot_be_judged_is_said_at_once(changes: dict[str, Any], words: str, run: Path) -> None:
    with pytest.raises(UserError, match=words):
        judge_of(recipe(**changes), run, print)


def score(skill: str, value: float, n: int) -> Score:
    return Score("b", skill, "m", value, 0.0, 1.0, n, "pt", "s", "image", "")


def test_one_number_of_many() -> None:
    assert mean_score([score("a", 1.0, 9), score("macro", 0.4, 9)]) == pytest.approx(0.4)
    assert mean_score([score("a", 1.0, 30), score("b", 0.0, 10)]) == pytest.approx(0.75)
