"""Exact match of the whole answer."""

import unicodedata

PROTOCOL = "exact match; NFC, one space, lower case"


def normalise(text: str) -> str:
    """``text`` in lower case and Unicode NFC, every run of white space one space, none at the ends.

    Lower case and stripping is the rule of GQA and OCR-VQA. NFC because Portuguese and Vietnamese letters have
    two spellings in Unicode that look the same. Accents and punctuation stay: they are part of the answer.
    """
    return " ".join(unicodedata.normalize("NFC", text.lower()).split())


def exact_match(prediction: str, expected: tuple[str, ...]) -> float:
    """1.0 if the normalised prediction equals one of the ``expected`` answers, else 0.0.

    An empty prediction never matches, not even an empty expected answer. Raises ``ValueError`` without any
    expected answer, because such a question cannot be answered and would count as wrong in silence.
    """
    if not expected:
        raise ValueError("exact_match needs at least one expected answer")
    said = normalise(prediction)
    return float(bool(said) and said in {normalise(answer) for answer in expected})
