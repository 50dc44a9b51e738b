"""What is translated of which records: one policy a partition of a data set."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# Partitions of instruction mixes whose short answers are strings read from the image, by the names of their folders.
READ_FROM_IMAGES = (
    *("docvqa", "infographicsvqa", "infovqa", "ocr_vqa", "ocrvqa", "st_vqa", "stvqa", "textcaps", "textocr", "textvqa"),
)
Words = Annotated[str, Field(min_length=1)]


class Policy(BaseModel):
    """How the texts of a partition are treated. It is written into each record's provenance.

    quotes: quotations stay as they are, since they may be text of the image; are translated with their sentence; or
        stay and are followed by their translation in brackets.
    answers: ``keep`` leaves answers and options as printed, all but those of ``Translation.short_answers``.
    skip: records are translated; copied untranslated; or left out.
    glossary: term of the source language -> its translation, found as whole words whatever their case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quotes: Literal["keep", "translate", "both"] = "keep"
    answers: Literal["translate", "keep"] = "translate"
    skip: Literal["no", "copy", "omit"] = "no"
    glossary: Mapping[Words, Words] = Field(default_factory=dict)


def _read_from_images() -> Mapping[str, Policy]:
    return {name: Policy(answers="keep") for name in READ_FROM_IMAGES}


class Policies(BaseModel):
    """Which policy holds for a record.

    key: the record's key whose string names its partition. Without one it is the first folder of the image's path, as
        in LLaVA's mixes (``textvqa/train_images/1.jpg``).
    partitions: partition -> policy, names matched exactly; one that is not named has ``default``.
    formality, variety: of the whole data set, told to the engine (``engines.instructed``): how people are addressed,
        and whose form of the language is written (``BR``, ``PT``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Policy = Policy()
    key: str | None = None
    partitions: Mapping[str, Policy] = Field(default_factory=_read_from_images)
    formality: Literal["", "formal", "informal"] = ""
    variety: Annotated[str, Field(pattern=r"^([A-Z]{2})?$")] = ""

    def of(self, record: Mapping[str, Any]) -> tuple[str, Policy]:
        """The record's partition ("" where it is in none) and its policy."""
        name = self._partition(record)
        return name, self.partitions.get(name, self.default)

    def _partition(self, record: Mapping[str, Any]) -> str:
        if self.key is not None:
            named = record.get(self.key)
            return named if isinstance(named, str) else ""
        image = record.get("image", record.get("images"))
        first = image[0] if isinstance(image, list) and image else image
        folder, slash, _ = first.partition("/") if isinstance(first, str) else ("", "", "")
        return folder if slash else ""
