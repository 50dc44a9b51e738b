"""What can be set of a generation, and that it means what transformers and the seed say."""

from typing import Any

import pytest
import torch

from olhar.core.errors import UserError
from olhar.inference.drawing import Drawing
from olhar.inference.generation import Generation


@pytest.mark.parametrize(
    "values",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"max_new_tokens": None},
        {"max_new_tokens": True},
        {"temperature": -0.1},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"temperature": 1, "top_p": 0},
        {"temperature": 1, "top_p": 1.1},
        {"temperature": 1, "top_k": 0},
        {"beams": 0},
        {"beams": 2, "temperature": 0.5},
        {"top_p": 0.9},
        {"top_k": 5},
        {"repetition_penalty": 0},
        {"repetition_penalty": float("inf")},
        {"temperature": 1, "seed": -1},
    ],
)
def test_what_means_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        Generation(**values)
    assert any(name in caught.value.what for name in values)


def test_values_are_changed_as_a_person_writes_them() -> None:
    changed = Generation().changed({"temperature": "0.7", "top_p": "0.9", "seed": "3", "max_new_tokens": "12"})
    assert changed == Generation(max_new_tokens=12, temperature=0.7, top_p=0.9, seed=3)
    assert changed.changed({"seed": "none", "top_p": "none"}) == Generation(max_new_tokens=12, temperature=0.7)
    for bad in ({"warmth": "1"}, {"beams": "two"}, {"temperature": "none"}, {"top_k": "4.5"}):
        with pytest.raises(UserError):
            changed.changed(bad)


def test_the_options_are_those_of_transformers() -> None:
    assert Generation(max_new_tokens=7, beams=3).options() == {
        "max_new_tokens": 7,
        "num_beams": 3,
        "do_sample": False,
        "logits_processor": [],
    }
    how = Generation(temperature=0.5, top_k=4, top_p=0.9, seed=1, repetition_penalty=1.5)
    assert [type(step).__name__ for step in how.options()["logits_processor"]] == [
        "RepetitionPenaltyLogitsProcessor",
        "TemperatureLogitsWarper",
        "TopKLogitsWarper",
        "TopPLogitsWarper",
        "Drawing",
    ]


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    scores = torch.tensor([0.5, 0.3, 0.2, 0.0]).log().repeat(4000, 1)
    drawn = Drawing(None)(torch.zeros(4000, 0), scores)
    shares = (drawn == 0).float().mean(0)
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2, 0.0]), atol=0.035) and shares[3] == 0
    assert ((drawn == 0).sum(1) == 1).all() and torch.isinf(drawn[drawn != 0]).all()


def test_a_seed_draws_the_same_in_any_batch() -> None:
    scores = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    alone, batch = Drawing(5), Drawing(5)
    for step in scores:
        one, many = alone(None, step[None]), batch(None, torch.stack([step, step.flip(0), step]))
        assert one.equal(many[:1]) and one.equal(many[2:])
    fresh = [Drawing(None)(None, scores[:1]).argmax().item() for _ in range(20)]
    assert len(set(fresh)) > 1
