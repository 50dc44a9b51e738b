"""Asking a checkpoint: many questions at once, or one with its answer growing token by token."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import torch

from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Checkpoint, Encoder, load, media_pixels
from olhar.prompts import prompt, with_placeholder

GREY = 128  # every pixel of the picture that a blind control shows
REMEMBERED = 4096  # pictures whose embeddings are kept between questions
AT_ONCE = 32  # pictures through the tower together: more do not fit a processor's cache

Conversation = Sequence[Turn]


class Assistant:
    """A loaded checkpoint: ``Assistant.load(folder)``, then ``answers`` or ``stream``.

    With ``blank`` every picture is replaced by a grey one of its size: what is then still right was guessed.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.encoder = Encoder(
            prompt(checkpoint.prompt_name),
            checkpoint.variant,
            with_placeholder(checkpoint.tokenizer),
            checkpoint.family,
            checkpoint.settings,
        )
        self._embedded: dict[ImageRef | VideoRef, torch.Tensor] = {}

    @classmethod
    def load(cls, folder: Path | str) -> "Assistant":
        return cls(load(Path(folder)))

    def answers(self, conversations: Sequence[Conversation], max_new_tokens: int, blank: bool = False) -> list[str]:
        """Greedy answers to a batch of conversations that end with a user turn, in order."""
        inputs = self._inputs(conversations, blank)
        with torch.inference_mode():
            generated = self.checkpoint.model.generate(**inputs, **self._greedy(max_new_tokens))
        return [self._text(ids.tolist()) for ids in generated]

    def stream(self, conversation: Conversation, max_new_tokens: int) -> Iterator[str]:
        """One answer, piece by piece as it is generated; leaving early ends the generation."""
        from transformers import PreTrainedTokenizerFast, StoppingCriteriaList, TextIteratorStreamer

        wrapped = PreTrainedTokenizerFast(tokenizer_object=self.checkpoint.tokenizer)
        streamer = TextIteratorStreamer(wrapped, skip_prompt=False, skip_special_tokens=True)
        left, failures = Event(), list[BaseException]()
        options = {**self._inputs([conversation], False), **self._greedy(max_new_tokens), "streamer": streamer}
        options["stopping_criteria"] = StoppingCriteriaList(
            [lambda ids, scores: torch.full((len(ids),), left.is_set())]
        )

        def generate() -> None:
            try:
                self.checkpoint.model.generate(**options)
            except BaseException as error:
                failures.append(error)
            finally:
                streamer.end()  # else whoever waits for a piece waits for ever

        worker = Thread(target=generate, daemon=True)
        worker.start()
        begun = False
        try:
            for piece in streamer:
                yield piece if begun else piece.lstrip()
                begun = begun or bool(piece.strip())
        finally:
            left.set()
            worker.join()
        if failures:
            raise failures[0]

    def _greedy(self, max_new_tokens: int) -> dict[str, Any]:
        return {
            "max_new_tokens": max_new_tokens,
            "do_sample": False,
            "eos_token_id": self.checkpoint.stop_ids(),
            "pad_token_id": self.checkpoint.pad_id(),
        }

    def _text(self, ids: Sequence[int]) -> str:
        stops = set(self.checkpoint.stop_ids())
        end = next((index for index, token in enumerate(ids) if token in stops), len(ids))
        return self.checkpoint.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()

    def _inputs(self, conversations: Sequence[Conversation], blank: bool) -> dict[str, torch.Tensor]:
        """Left-padded embeddings (batch, length, hidden) and their mask: answers begin at the same column."""
        model, code = self.checkpoint.model, self.checkpoint.language
        encoded = [self.encoder.question(conversation, code).ids for conversation in conversations]
        length = max(map(len, encoded))
        ids = torch.full((len(encoded), length), self.checkpoint.pad_id())
        mask = torch.zeros((len(encoded), length), dtype=torch.long)
        for row, tokens in enumerate(encoded):
            ids[row, length - len(tokens) :] = torch.tensor(tokens)
            mask[row, length - len(tokens) :] = 1
        with torch.inference_mode():
            embeddings = model.get_input_embeddings()(ids)
            media = [ref for conversation in conversations for turn in conversation for ref in turn.media]
            if media:
                images = self._embeddings(media, blank)
                where = (ids == model.config.image_token_id).unsqueeze(-1).expand_as(embeddings)
                embeddings = embeddings.masked_scatter(where, images)
        return {"inputs_embeds": embeddings, "attention_mask": mask}

    def _embeddings(self, media: Sequence[ImageRef | VideoRef], blank: bool) -> torch.Tensor:
        """(tiles, tokens, hidden) of all pictures in order; a picture asked about before is not looked at again."""
        if blank:
            return self._blank().expand(sum(self.encoder.tiles(ref) for ref in media), -1, -1)
        if len(self._embedded) > REMEMBERED:
            self._embedded.clear()
        missing = [ref for ref in dict.fromkeys(media) if ref not in self._embedded]
        for start in range(0, len(missing), AT_ONCE):
            self._look(missing[start : start + AT_ONCE])
        return torch.cat([self._embedded[ref] for ref in media])

    def _look(self, refs: Sequence[ImageRef | VideoRef]) -> None:
        family, settings = self.checkpoint.family, self.checkpoint.settings
        tiles = [media_pixels([ref], family, settings) for ref in refs]
        embedded = self._embed(torch.from_numpy(np.concatenate(tiles)))
        for ref, part in zip(refs, embedded.split([len(tile) for tile in tiles]), strict=True):
            self._embedded[ref] = part

    def _blank(self) -> torch.Tensor:
        """(1, tokens, hidden) of a grey tile."""
        side = self.checkpoint.settings.side
        return self._embed(torch.full((1, 3, side, side), GREY, dtype=torch.uint8))

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        family = self.checkpoint.family
        return family.image_embeddings(self.checkpoint.model, family.normalised(pixels, self.checkpoint.settings))
