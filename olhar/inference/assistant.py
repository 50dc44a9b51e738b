"""Asking a checkpoint: one question, many at once, or one with its answer growing token by token."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from olhar.core.errors import UserError
from olhar.core.types import Turn
from olhar.families import Checkpoint, Encoder, Loading, embedded, feature_ids, load
from olhar.inference.features import Features, Seen
from olhar.inference.generation import Generation
from olhar.inference.prefix import PrefixCache, shorten
from olhar.inference.session import Chat
from olhar.inference.stream import Answer, Ending, Stopping, Stream
from olhar.inference.turns import Images, Marks, Video, asked, media, penned
from olhar.languages import language as language_of
from olhar.prompts import prompt as prompt_of
from olhar.prompts import with_placeholder

Conversation = Sequence[Turn]
PUBLISHED = Path("publish", "model")  # of a run
GREEDY = Generation()


@dataclass(frozen=True, slots=True)
class _Read:
    """One conversation as the model reads it; each medium's features take the places of its feature tokens."""

    ids: list[int]
    seen: list[Seen]


class Assistant:
    """A loaded checkpoint: ``Assistant.load(folder)``, then ``ask``, ``stream``, ``answers`` or ``chat``.

    One question at a time: an assistant is not made for several threads. Raises ``UserError`` for pictures that
    cannot be read, turns that the prompt cannot write, and conversations longer than the model reads.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        spoken, tokenizer = checkpoint.spoken, with_placeholder(checkpoint.tokenizer)
        form = prompt_of(spoken.prompt)
        family, settings = checkpoint.family, checkpoint.settings
        self.encoder = Encoder(form, spoken.variant, tokenizer, family, settings, spoken.system)
        stops = form.stop(language_of(spoken.language), spoken.variant)
        texts = tuple(stop for stop in stops if tokenizer.token_to_id(stop) is None)
        self._ending = Ending(checkpoint.tokenizer, frozenset(checkpoint.stop_ids()), texts)
        self._features = Features(checkpoint)
        self._feature_ids = feature_ids(checkpoint.model, family)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        loading: Loading | None = None,
        prompt: str | None = None,
        language: str | None = None,
    ) -> "Assistant":
        """The checkpoint in a folder, or the published one of a run.

        Args:
            prompt: ``NAME`` or ``NAME/VARIANT`` of another prompt than the checkpoint's own.
            language: code of another language for the prompt's role words and system text.

        Raises:
            UserError: no checkpoint, weights that are not exactly its model's, an unknown prompt or language, a
                prompt whose end of answer the tokenizer does not know, a device or type this machine has not.
        """
        folder = Path(folder)
        inside = folder / PUBLISHED
        checkpoint = load(inside if inside.is_dir() else folder, loading)
        if prompt is not None or language is not None:
            checkpoint = replace(checkpoint, spoken=checkpoint.spoken.other(prompt, language))
        return cls(checkpoint)

    def ask(
        self,
        question: str,
        images: Images = (),
        video: Video | None = None,
        marks: Marks = (),
        generation: Generation = GREEDY,
    ) -> str:
        """The answer to one question about images or a video; marks are drawn on the last image."""
        return self.stream(question, images, video, marks, generation).text()

    def stream(
        self,
        question: str,
        images: Images = (),
        video: Video | None = None,
        marks: Marks = (),
        generation: Generation = GREEDY,
    ) -> Stream:
        """``ask``, piece by piece as the answer is generated."""
        return self.reply([asked(question, media(images, video, marks), self.checkpoint.settings)], generation)

    def chat(
        self,
        images: Images = (),
        video: Video | None = None,
        marks: Marks = (),
        generation: Generation = GREEDY,
        reuse: bool = True,
    ) -> Chat:
        """A conversation of several turns, its pictures shown with the first question.

        With ``reuse`` what the model has read is kept between turns: the next answer begins sooner, at the cost of
        memory for one key/value cache.
        """
        return Chat(self, media(images, video, marks), generation, reuse)

    def answers(
        self,
        conversations: Sequence[Conversation],
        max_new_tokens: int | None = None,
        blank: bool = False,
        generation: Generation = GREEDY,
    ) -> list[str]:
        """Answers to a batch of conversations that end with a user turn, in order; each as it would be alone.

        Args:
            max_new_tokens: instead of that of ``generation``.
            blank: every picture is replaced by a grey one of its size: what is then still right was guessed.
        """
        if not conversations:
            return []
        if max_new_tokens is not None:
            generation = replace(generation, max_new_tokens=max_new_tokens)
        read = [self._read(conversation) for conversation in conversations]
        rooms = [self._room(len(one.ids), generation) for one in read]
        options = self._options(generation, max(rooms), Stopping(self._ending))
        seen = [medium for one in read for medium in one.seen]
        with torch.inference_mode():
            features = (self._features.blank if blank else self._features.of)(seen)
            rows = self.checkpoint.model.generate(**self._inputs(read, features), **options).tolist()
        return [self._ending.text(self._ending.cut(row[:room])) for row, room in zip(rows, rooms, strict=True)]

    def reply(
        self,
        conversation: Conversation,
        generation: Generation = GREEDY,
        cache: PrefixCache | None = None,
        finished: Callable[[Answer], None] = lambda answer: None,
    ) -> Stream:
        """The answer to a conversation that ends with a user turn.

        Args:
            cache: holds what was read of a conversation before, and afterwards what was read of this one.
            finished: called with the answer as soon as its generation has ended, also when nobody listens any more.
        """
        began = time.monotonic()
        read = self._read(conversation)
        room = self._room(len(read.ids), generation)
        with torch.inference_mode():
            features = self._features.of(read.seen)
            inputs = self._inputs([read], features)
        keys = self._keys(read, [len(rows) for rows in features])

        def generate(streamer: Any, stopping: Stopping) -> list[int]:
            options = self._options(generation, room, stopping)
            if generation.beams == 1:  # transformers streams no beams
                options["streamer"] = streamer
            with torch.inference_mode():
                ids = self._generated(inputs, options, generation.beams, keys, cache)
            return self._ending.cut(ids)

        return Stream(generate, self._ending, len(read.ids), began, finished)

    def prefix_cache(self) -> PrefixCache:
        """An empty one for this model."""
        return PrefixCache(self.checkpoint.model.config)

    def _generated(
        self,
        inputs: dict[str, torch.Tensor],
        options: dict[str, Any],
        beams: int,
        keys: list[Hashable],
        prefix: PrefixCache | None,
    ) -> list[int]:
        """The ids of one answer; reads only what of the prompt is not in the cache yet."""
        generate = self.checkpoint.model.generate
        if prefix is None:
            return list(generate(**inputs, **options)[0].tolist())
        cache = prefix.take(keys)
        if beams > 1:
            cache.batch_repeat_interleave(beams)
        ids: list[int] = generate(**inputs, **options, past_key_values=cache)[0].tolist()
        if beams > 1:  # the beams have read the same prompt, and part after it
            cache.batch_select_indices(torch.tensor([0], device=self.checkpoint.model.device))
            shorten(cache, len(keys))
            ids_in_cache: list[int] = []
        else:
            ids_in_cache = ids
        prefix.keep([*keys, *ids_in_cache], cache)
        return ids

    def _options(self, generation: Generation, room: int, stopping: Stopping) -> dict[str, Any]:
        from transformers import StoppingCriteriaList

        return generation.options() | {
            "max_new_tokens": room,
            "eos_token_id": sorted(self._ending.ids),
            "pad_token_id": self.checkpoint.pad_id(),
            "suppress_tokens": self._feature_ids,
            "stopping_criteria": StoppingCriteriaList([stopping]),
        }

    def _room(self, tokens: int, generation: Generation) -> int:
        """How many tokens an answer to a prompt of so many may have."""
        most = self.checkpoint.model.config.get_text_config().max_position_embeddings
        if tokens >= most:
            raise UserError(
                f"the conversation is {tokens} tokens long, and the model reads {most}, its answer included",
                "a conversation to be answered",
                "begin a new one, or show fewer or smaller pictures",
            )
        return min(generation.max_new_tokens, most - tokens)

    def _read(self, conversation: Conversation) -> _Read:
        conversation = penned(conversation, self.checkpoint.pen)
        ids = self.encoder.question(conversation, self.checkpoint.spoken.language).ids
        return _Read(ids, self._features.seen(conversation))

    def _keys(self, read: _Read, features: Sequence[int]) -> list[Hashable]:
        """What is read at each position: a token's id, or the medium whose feature stands there."""
        media = (one for one, count in zip(read.seen, features, strict=True) for _ in range(count))
        return [next(media) if id in self._feature_ids else id for id in read.ids]

    def _inputs(self, read: Sequence[_Read], features: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Left-padded embeddings (batch, length, hidden) and their mask: answers begin at the same column.

        Args:
            features: (features, hidden) of each medium of all rows, in order.
        """
        model = self.checkpoint.model
        length = max(len(one.ids) for one in read)
        ids = torch.full((len(read), length), self.checkpoint.pad_id())
        mask = torch.zeros((len(read), length), dtype=torch.long)
        for row, one in enumerate(read):
            ids[row, length - len(one.ids) :] = torch.tensor(one.ids)
            mask[row, length - len(one.ids) :] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        found = torch.cat(list(features)) if features else None
        embeddings = embedded(model, self.checkpoint.family, ids, found)
        return {"inputs_embeds": embeddings, "attention_mask": mask}
