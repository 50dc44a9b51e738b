"""A segment as Apertium's stream format says it, and back.

Reserved signs are escaped. What stands in ``[…]`` is a blank to Apertium and comes back as it is: a kept span goes
through as its number, and so does all white space but a single blank. The segment's own number and a full stop end
the unit; the stop, in a blank of its own, keeps "No." from being read as an abbreviation and gives the tagger the end
of a sentence, the number shows that the answer is this unit's.
"""

import re
from collections.abc import Iterator, Sequence

from olhar.translators import Failure, Kept, Segment

RESERVED = re.compile(r"[\\\[\]{}^$/@<>]")
BLANK = re.compile(r"\s+|~+")  # a lone ~ is lost by the post-generator
TOKEN = re.compile(r"\\(?P<escaped>.)|\[(?P<blank>[^\]]*)\]|(?P<text>[^\\\[]+)", re.DOTALL)
NUMBER = "="


def unit(segment: Segment, number: int) -> bytes:
    """The segment, bare of outer white space, as one unit of the stream, without the NUL that ends it.

    Raises ``ValueError`` for text that no stream can hold: a NUL, half a surrogate pair.
    """
    parts, kept = [], 0
    for part in bare(segment):
        if isinstance(part, Kept):
            parts.append(f"[{kept}]")
            kept += 1
        else:
            parts.append(_escaped(part))
    whole = "".join(parts)
    if "\0" in whole:
        raise ValueError("it holds a NUL")
    return f"{whole}[{NUMBER}{number}].[]".encode()


def bare(segment: Segment) -> Segment:
    """The segment without its leading and trailing white space."""
    parts = list(_joined(segment))
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return tuple(parts)


def _escaped(text: str) -> str:
    pieces, at = [], 0
    for blank in BLANK.finditer(text):
        pieces.append(RESERVED.sub(r"\\\g<0>", text[at : blank.start()]))
        pieces.append(" " if blank.group() == " " else f"[{blank.group()}]")
        at = blank.end()
    return "".join((*pieces, RESERVED.sub(r"\\\g<0>", text[at:])))


def number_of(output: bytes) -> int | None:
    """The number of the unit that this is the answer to; None where it has none."""
    found = re.findall(rb"\[=(\d+)\]", output)
    return int(found[-1]) if found else None


def segment_from(output: bytes, source: Segment) -> Segment | Failure:
    """What came back for ``source``, with its outer white space, doubled and outer blanks of Apertium's taken away."""
    kept = [part for part in source if isinstance(part, Kept)]
    parts: list[str | Kept] = []
    behind = ""  # what follows the number: the stop
    ended = False
    for token in _tokens(output.decode(errors="replace")):
        if ended:
            behind += token if isinstance(token, str) else ""
        elif isinstance(token, str):
            parts.append(token)
        elif token[0].startswith(NUMBER):
            ended = True
        elif token[0].isdecimal() and int(token[0]) < len(kept):
            parts.append(kept[int(token[0])])
        else:
            parts.append(token[0])
    if behind.strip() != ".":
        return Failure("Apertium moved the end of the sentence")
    result = _outside(source, _joined(parts))
    if _has_text(source) and not _has_text(result):
        return Failure("Apertium gave nothing back")
    return result


def _has_text(segment: Segment) -> bool:
    return any(isinstance(part, str) and part.strip() for part in segment)


def _tokens(output: str) -> Iterator[str | tuple[str]]:
    """Text with its doubled blanks made single, and the contents of ``[…]``, each as a tuple of one."""
    text = ""
    for token in TOKEN.finditer(output):
        if token["blank"] is None:
            text += token["escaped"] or token["text"]
            continue
        if text:
            yield re.sub(" {2,}", " ", text)
            text = ""
        yield (token["blank"],)
    if text:
        yield re.sub(" {2,}", " ", text)


def _joined(parts: Sequence[str | Kept]) -> Segment:
    """The same with neighbouring strings joined, and no empty one."""
    joined: list[str | Kept] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


def _outside(source: Segment, result: Segment) -> Segment:
    """The result with exactly the leading and trailing white space of the source."""
    joined = _joined(source)
    first, last = joined[:1], joined[-1:]
    lead = first[0][: len(first[0]) - len(first[0].lstrip())] if first and isinstance(first[0], str) else ""
    trail = last[0][len(last[0].rstrip()) :] if last and isinstance(last[0], str) else ""
    return _joined([lead, *bare(result), trail])
