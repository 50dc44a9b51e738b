"""A conversation of several turns with one assistant."""

from typing import TYPE_CHECKING

from olhar.core.errors import UserError
from olhar.core.types import Turn
from olhar.inference.generation import Generation
from olhar.inference.stream import Answer, Stream
from olhar.inference.turns import Images, Marks, Media, Video, asked, media

if TYPE_CHECKING:
    from olhar.inference.assistant import Assistant


class Chat:
    """Turns so far, and what the model keeps of having read them.

    ``turns`` may be changed between questions: only what is still the same is not read again. ``shown`` are the
    pictures that go with the next question; ``answer`` is the last one with its numbers.
    """

    def __init__(self, assistant: "Assistant", shown: Media, generation: Generation, reuse: bool) -> None:
        self.turns: list[Turn] = []
        self.shown = shown
        self.generation = generation
        self.answer: Answer | None = None
        self._assistant = assistant
        self._cache = assistant.prefix_cache() if reuse else None

    def say(
        self,
        question: str,
        images: Images = (),
        video: Video | None = None,
        marks: Marks = (),
        generation: Generation | None = None,
    ) -> str:
        """The answer to a question, which may show further pictures; ``generation`` is for this one only."""
        return self.stream(question, images, video, marks, generation).text()

    def stream(
        self,
        question: str,
        images: Images = (),
        video: Video | None = None,
        marks: Marks = (),
        generation: Generation | None = None,
    ) -> Stream:
        """``say``, piece by piece. A stream that is closed early leaves what was heard as the answer."""
        turn = asked(question, (*self.shown, *media(images, video, marks)), self._assistant.checkpoint.settings)
        return self._stream([*self.turns, turn], generation)

    def retry(self, generation: Generation | None = None) -> Stream:
        """Another answer to the last question; raises ``UserError`` before the first."""
        if len(self.turns) < 2 or self.turns[-1].role != "assistant":
            raise UserError("there is no answer to try again", "the conversation", "ask a question first")
        return self._stream(self.turns[:-1], generation)

    def new(self, shown: Media = ()) -> None:
        """Begin afresh: no turns, and these pictures with the next question."""
        self.turns, self.shown, self.answer = [], shown, None
        if self._cache:
            self._cache.clear()

    def _stream(self, turns: list[Turn], generation: Generation | None) -> Stream:
        def finished(answer: Answer) -> None:
            self.turns[:] = [*turns, Turn("assistant", (answer.text,))]
            self.shown, self.answer = (), answer

        return self._assistant.reply(turns, generation or self.generation, self._cache, finished)
