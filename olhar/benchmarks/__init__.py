"""Questions with known answers, and the rule that scores them. One file a benchmark, holding

``SPEC``
    what a report must say beside every number (``Spec``);
``samples(path, language) -> Iterator[Sample]``
    the questions of a file or folder, each with its expected answer as the assistant's turn; a file that
    cannot be read, or that holds another language, raises ``UserError`` naming the row;
``prompt(sample) -> Sample``
    what the model is shown: the sample without its answer;
``expected(sample) -> tuple[str, ...]``, ``skill_of(sample) -> str``, ``split_of(sample) -> str``
    what the caller copies into each ``Prediction``;
``right(prediction) -> bool``
    whether one answer counts, for the gallery of a report;
``score(predictions) -> list[Score]``
    a pure function of all answers; perfect answers score 1, empty ones 0;
``majority(samples) -> list[Score]``
    what always giving the most frequent answer would score (control ``majority``): no number is read without it.

A benchmark knows no model and spells no word of any language.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """What a report says of a benchmark. ``protocol`` tells apart rules that share a metric's name."""

    name: str
    metric: str
    protocol: str
    max_new_tokens: int  # the longest answer that is waited for
    source: str  # where the questions come from
    licence: str
