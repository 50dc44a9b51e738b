"""Which policy holds for which record."""

import pytest
from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.translation.engines import instructed
from olhar.translation.policies import Policies, Policy


@pytest.mark.parametrize(
    ("record", "partition", "answers"),
    [
        ({"image": "textvqa/train_images/1.jpg"}, "textvqa", "keep"),
        ({"image": ["ocr_vqa/images/1.jpg", "coco/2.jpg"]}, "ocr_vqa", "keep"),
        ({"images": ["coco/train2017/1.jpg"]}, "coco", "translate"),
        ({"image": "my_textvqa/1.jpg"}, "my_textvqa", "translate"),
        ({"image": "textvqa.jpg"}, "", "translate"),
        ({"image": 7}, "", "translate"),
        ({"image": []}, "", "translate"),
        ({}, "", "translate"),
    ],
)
def test_the_first_folder_names_the_partition(record: dict[str, object], partition: str, answers: str) -> None:
    name, policy = Policies().of(record)
    assert (name, policy.answers) == (partition, answers)


def test_a_key_may_name_it_instead() -> None:
    policies = Policies(key="_category", partitions={"ocr": Policy(skip="omit")})
    assert policies.of({"_category": "ocr", "image": "textvqa/1.jpg"}) == ("ocr", Policy(skip="omit"))
    assert policies.of({"_category": 3, "image": "textvqa/1.jpg"}) == ("", Policy())


def test_json_and_back_for_provenance() -> None:
    policies = Policies(default=Policy(quotes="both", glossary={"dog": "cão"}), formality="formal", variety="BR")
    assert Policies.model_validate_json(policies.model_dump_json()) == policies


@pytest.mark.parametrize(
    "wrong", [{"quotes": "drop"}, {"answer": "keep"}, {"glossary": {"": "x"}}, {"glossary": {"a": ""}}]
)
def test_unknown_words_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy(**wrong)  # type: ignore[arg-type]


def test_engines_are_told_of_formality_and_variety() -> None:
    formal = Policies(formality="formal", variety="BR")
    assert instructed("deepl", {"price": 1.0}, "pt", formal) == ({"price": 1.0, "formality": "prefer_more"}, "pt-BR")
    assert instructed("openai", {}, "pt-BR", formal) == ({"formality": "formal"}, "pt-BR")
    assert instructed("apertium", {}, "pt-PT", Policies()) == ({}, "pt-PT")


@pytest.mark.parametrize(
    ("engine", "options", "target", "told"),
    [
        ("apertium", {}, "pt", "cannot be told to be formal.*\n.*\n.*: deepl, openai$"),
        ("deepl", {"formality": "less"}, "pt", "the engine's option less"),
        ("openai", {}, "pt-PT", "the target is pt-PT"),
    ],
)
def test_what_an_engine_cannot_be_told_is_refused(engine: str, options: dict[str, str], target: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        instructed(engine, options, target, Policies(formality="formal", variety="BR"))
