"""A translation means what its original means, as LaBSE sees it: cosine of two sentence embeddings.

Feng et al. 2022, "Language-agnostic BERT Sentence Embedding" (arXiv:2007.01852). 109 languages; only the beginning of
a long turn is read. A model is loaded and every turn goes through it, so nothing asks it unless a recipe names it.
"""

from collections.abc import Mapping, Sequence

from olhar.checks._check import Check
from olhar.checks._scored import Pair, scored
from olhar.core.errors import UserError

NAME = "labse"
INSTALL = 'pip install "olhar[labse]"'
MODEL = "sentence-transformers/LaBSE"
ADVICE: Mapping[str, str] = {"meaning differs": "read the turn beside its original, and translate it again if need be"}


def start(*, below: float = 0.6) -> Check:
    """``below`` is a beginning: cosines shift with language and length, so look at your own first.

    Raises ``UserError`` where sentence-transformers or the model is missing.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError("the check labse needs sentence-transformers", "check.checks: labse", INSTALL) from error
    try:
        model = SentenceTransformer(MODEL)
    except (OSError, ValueError) as error:
        raise UserError(f"{MODEL} cannot be loaded: {error}", "check.checks: labse", f"hf download {MODEL}") from error

    def score(pairs: Sequence[Pair]) -> list[float]:
        texts = [text for pair in pairs for text in pair]
        vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)  # (2 pairs, hidden)
        return [float(original @ turn) for original, turn in zip(vectors[::2], vectors[1::2], strict=True)]

    return scored(NAME, "meaning differs", score, below)
