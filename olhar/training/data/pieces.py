"""One sample as it is learned from: whole, cut at its end, or in several pieces; or not at all, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from olhar.core.errors import UserError
from olhar.core.recipe.training import Overlong
from olhar.core.types import Finding, ImageRef, Sample, Turn, VideoRef
from olhar.families import Encoder, View

Media = tuple[ImageRef | VideoRef, ...]
Fate = Literal["kept", "truncated", "split", "rejected"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What is learned from at once.

    ids (tokens,) int32; trained (tokens,) bool; after_images: tokens up to the last image's end. shown: its media
    are the first ``shown[0]`` of the sample's and those from ``shown[1]`` up to ``shown[2]``.
    """

    ids: np.ndarray
    trained: np.ndarray
    after_images: int
    media: Media
    shown: tuple[int, int, int]
    views: Sequence[View]

    @property
    def labelled(self) -> int:
        """Tokens that are learned; the first one of all is predicted by nothing."""
        return int(self.trained[1:].sum())

    @property
    def tiles(self) -> int:
        return sum(view.budget.tiles for view in self.views)

    @property
    def image_tokens(self) -> int:
        return sum(view.budget.tokens for view in self.views)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample; no pieces where it was rejected."""

    fate: Fate
    pieces: Sequence[Piece]
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Cutter:
    """Encodes samples and sees to it that each fits into a pack.

    overlong: ``reject``; ``truncate`` cuts the end of the text, never an image nor all that is trained; ``split``
    makes several pieces of a conversation. A piece is as many consecutive exchanges (a user's turn and its answer)
    as fit, after the system turn. Media stand in the turn in which they stood; those of the first user turn, which
    most conversations are about, are shown anew at the beginning of every piece. An exchange that does not fit alone
    is left out, with a finding.
    """

    encoder: Encoder
    max_tokens: int
    overlong: Overlong
    max_tiles: int | None = None

    def outcome(self, sample: Sample) -> Outcome:
        """The pieces of a sample, and what there is to say of them. Never raises ``UserError``: what cannot be
        encoded (turns out of order, an unreadable picture) is a finding."""
        try:
            whole = self._piece(sample, sample.turns, (0, 0, len(sample.media)))
            if self._fits(whole):
                return self._learned(sample, "kept", [whole], [])
            if self.overlong == "truncate" and not self._too_many_tiles(whole):
                return self._truncated(sample, whole)
            if self.overlong == "split" and len(_exchanges(sample)) > 1:
                return self._split(sample, whole)
        except UserError as error:
            return _rejected(sample, "encoding", f"{error.what} ({error.where})")
        return _rejected(sample, "length", self._excess(whole))

    def _piece(self, sample: Sample, turns: Sequence[Turn], shown: tuple[int, int, int]) -> Piece:
        encoded = self.encoder.sample(Sample(sample.id, sample.language, tuple(turns)))
        media = sample.media[: shown[0]] + sample.media[shown[1] : shown[2]]
        ids = np.asarray(encoded.ids, dtype=np.int32)
        return Piece(ids, encoded.trained, encoded.after_images, media, shown, encoded.views)

    def _too_many_tiles(self, piece: Piece) -> bool:
        return self.max_tiles is not None and piece.tiles > self.max_tiles

    def _fits(self, piece: Piece) -> bool:
        return len(piece.ids) <= self.max_tokens and not self._too_many_tiles(piece)

    def _excess(self, piece: Piece) -> str:
        if self._too_many_tiles(piece):
            return f"{piece.tiles} tiles, where a pack holds {self.max_tiles}"
        return f"{len(piece.ids)} tokens, where a pack holds {self.max_tokens}"

    def _learned(self, sample: Sample, fate: Fate, pieces: list[Piece], findings: list[Finding]) -> Outcome:
        """The outcome without pieces that would cost time and teach nothing."""
        teaching = [piece for piece in pieces if piece.labelled]
        if len(teaching) < len(pieces):
            findings = [*findings, Finding(sample.id, "labels", "error", "no token of it is trained")]
        return Outcome(fate if teaching else "rejected", teaching, findings)

    def _truncated(self, sample: Sample, whole: Piece) -> Outcome:
        cut = self.max_tokens
        if whole.after_images > cut:
            what = f"{self._excess(whole)}, and its images end only at {whole.after_images}"
            return _rejected(sample, "length", what)
        trained = whole.trained[:cut]
        piece = Piece(whole.ids[:cut], trained, whole.after_images, whole.media, whole.shown, whole.views)
        if not piece.labelled:
            return _rejected(sample, "length", f"{self._excess(whole)}, and no trained one would be left")
        lost = whole.labelled - piece.labelled
        what = f"cut from {len(whole.ids)} to {cut} tokens; {lost} of {whole.labelled} trained ones are lost"
        return Outcome("truncated", [piece], [Finding(sample.id, "length", "warning", what)])

    def _split(self, sample: Sample, whole: Piece) -> Outcome:
        pieces: list[Piece] = []
        findings: list[Finding] = []
        exchanges, first = _exchanges(sample), 0
        while first < len(exchanges):
            best, last = None, first
            for end in range(first + 1, len(exchanges) + 1):
                piece = self._piece(sample, *_part(sample, exchanges, first, end))
                if not self._fits(piece):
                    break
                best, last = piece, end
            if best is None:
                what = f"exchange {first + 1} of {len(exchanges)} is left out: {self._excess(piece)}"
                findings.append(Finding(sample.id, "length", "error", what))
            else:
                pieces.append(best)
            first = max(last, first + 1)
        if pieces:
            what = f"split into {len(pieces)}: {self._excess(whole)}"
            findings.insert(0, Finding(sample.id, "length", "warning", what))
        return self._learned(sample, "split", pieces, findings)


def _rejected(sample: Sample, check: str, message: str) -> Outcome:
    return Outcome("rejected", (), (Finding(sample.id, check, "error", message),))


def _exchanges(sample: Sample) -> list[tuple[Turn, Turn]]:
    spoken = sample.turns[1:] if sample.turns and sample.turns[0].role == "system" else sample.turns
    return list(zip(spoken[::2], spoken[1::2], strict=True))


def _part(
    sample: Sample, exchanges: Sequence[tuple[Turn, Turn]], first: int, last: int
) -> tuple[tuple[Turn, ...], tuple[int, int, int]]:
    """Turns of the exchanges [first, last), and which of the sample's media they show."""
    again = exchanges[0][0].media if first else ()
    (question, answer), *rest = exchanges[first:last]
    opening = Turn(question.role, (*again, *question.parts))
    system = sample.turns[:1] if sample.turns[0].role == "system" else ()
    turns = (*system, opening, answer, *(turn for exchange in rest for turn in exchange))
    before, until = (_count(exchanges[:end]) for end in (first, last))
    return turns, (len(again), before, until)


def _count(exchanges: Sequence[tuple[Turn, Turn]]) -> int:
    return sum(len(turn.media) for exchange in exchanges for turn in exchange)


def shown_media(sample: Sample, shown: Sequence[int]) -> Iterator[ImageRef | VideoRef]:
    """The media of one piece, in the order of its image tokens."""
    yield from sample.media[: shown[0]]
    yield from sample.media[shown[1] : shown[2]]
