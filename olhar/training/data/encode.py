"""Samples become token ids once, before training: flat arrays on disk, read by memory map.

Lengths are exact (images are counted from their headers), so packs are planned without decoding a picture. Shards of
the samples file are encoded by several processes, each shard written whole; an interrupted run goes on with those
that are missing. Then they become one set, whose counts are written last.
"""

import importlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from olhar.core.errors import UserError
from olhar.core.recipe.training import Overlong
from olhar.core.samples import SampleFile
from olhar.core.store import digest, digest_path, read_json, write_json
from olhar.core.types import Finding
from olhar.families import Encoder
from olhar.training.data import _shards
from olhar.training.data.pieces import Cutter

SHARD = 4096  # samples; neighbours in two shards share no images
COUNTS = "counts.json"  # written last: what is counted is whole
FINDINGS = "findings.jsonl"


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """All samples of a mixture as flat arrays. A sample here is what is learned from at once: a sample of the file,
    or one of the pieces into which it was split.

    ids (tokens,) int32; trained (tokens,) bool; starts (samples + 1,) int64; rows (samples,) int64 into the
    samples file; after_images (samples,) int32: tokens shared with the neighbours of the same document; groups
    (documents + 1,) int64 into samples: neighbours that share their images; tiles, image_tokens, labelled (samples,)
    int32; shown (samples, 3) int32: which of its row's media it shows, see ``Piece.shown``.

    counts: samples, documents, tokens (shared ones once), image_tokens, labelled; and of the file's samples how many
    were rejected, truncated and split.
    """

    ids: np.ndarray
    trained: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    after_images: np.ndarray
    groups: np.ndarray
    tiles: np.ndarray
    image_tokens: np.ndarray
    labelled: np.ndarray
    shown: np.ndarray
    counts: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None

    def __reduce__(self) -> Any:
        """To another process it goes as the folder it was read from."""
        if self.folder is not None:
            return load, (self.folder,)
        return type(self), tuple(getattr(self, entry.name) for entry in fields(self))

    @property
    def documents(self) -> int:
        return len(self.groups) - 1

    @property
    def samples(self) -> int:
        return len(self.rows)

    def spans(self) -> np.ndarray:
        """Every document as its samples [first, last): (documents, 2) int64."""
        return np.stack([self.groups[:-1], self.groups[1:]], axis=1)

    def lengths(self) -> np.ndarray:
        """Tokens of every document, its shared images counted once: (documents,) int64."""
        own = np.diff(self.starts) - self.after_images
        tails = np.concatenate([[0], np.cumsum(own)])
        first = self.groups[:-1]
        return tails[self.groups[1:]] - tails[first] + self.after_images[first]

    def lengths_of(self, spans: np.ndarray) -> np.ndarray:
        """The same of any parts of documents, given as samples [first, last): (spans,) int64."""
        found = [
            int(self.starts[last] - self.starts[first]) - (last - first - 1) * int(self.after_images[first])
            for first, last in spans.tolist()
        ]
        return np.asarray(found, dtype=np.int64)


def encode_set(
    samples: SampleFile,
    encoder: Encoder,
    max_tokens: int,
    overlong: Overlong,
    share_images: bool,
    folder: Path,
    workers: int,
    track: Callable[..., Iterable[Any]],
    max_tiles: int | None = None,
) -> EncodedSet:
    """Encode all samples of a file into ``folder``, or take what was encoded there in the same way before.

    With ``share_images``, neighbours that begin with the same words and images become one document, in which these
    stand once; not more of them than a pack holds. What was rejected, truncated or split, and why, stands in
    ``findings(folder)``.

    Raises ``UserError`` when no sample is left to learn from.
    """
    cutter = Cutter(encoder, max_tokens, overlong, max_tiles)
    work = _Work(samples, cutter, share_images, folder, _key(samples, cutter, share_images), SHARD)
    found = load(folder, work.key)
    if found is None:
        work.shards.mkdir(parents=True, exist_ok=True)
        _encode(work, workers, track)
        _assemble(work)
        found = load(folder, work.key)
        assert found is not None
    return found


def load(folder: Path, key: str | None = None) -> EncodedSet | None:
    """The set in ``folder``, memory-mapped; None unless it is whole (and encoded as ``key`` says)."""
    if not (folder / COUNTS).exists():
        return None
    counts = read_json(folder / COUNTS)
    if key not in (None, counts.pop("key")):
        return None
    arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS}
    return EncodedSet(**arrays, counts=counts, folder=folder)


ARRAYS = tuple(entry.name for entry in fields(EncodedSet) if entry.name not in ("counts", "folder"))


def findings(folder: Path) -> Iterator[Finding]:
    """What was rejected, truncated or split while encoding into ``folder``."""
    with open(folder / FINDINGS, encoding="utf-8") as lines:
        for line in lines:
            yield Finding(**json.loads(line))


def _key(samples: SampleFile, cutter: Cutter, share_images: bool) -> str:
    """A hash of all that the arrays depend on, but for the sizes of the pictures, which are looked at again later."""
    encoder = cutter.encoder
    said = [encoder.variant, encoder.system, cutter.max_tokens, cutter.max_tiles, cutter.overlong, share_images, SHARD]
    made = [_name(encoder.prompt), _name(encoder.family), repr(encoder.settings), encoder.tokenizer.to_str()]
    return digest([digest_path(samples.path), *said, *made])


def _name(module: Any) -> str:
    return module.__name__ if isinstance(module, ModuleType) else type(module).__qualname__


@dataclass(frozen=True, slots=True)
class _Work:
    """What a process needs to encode a shard of ``size`` samples."""

    samples: SampleFile
    cutter: Cutter
    share_images: bool
    folder: Path
    key: str
    size: int

    @property
    def shards(self) -> Path:
        return self.folder / f"shards-{self.key}"

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def rows(self, shard: int) -> range:
        """The samples of a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, len(self.samples)))

    def do(self, shard: int) -> int:
        """Encode a shard; its number."""
        made = _shards.encoded(self.samples, self.rows(shard), self.cutter, self.share_images)
        _shards.save(made, self.shards, shard)
        return shard


@dataclass(frozen=True, slots=True)
class _Portable:
    """An encoder as text and names: how it goes to another process."""

    prompt: Any  # a module's name, or a prompt that is no module
    variant: str | None
    tokenizer: str
    family: str
    settings: Any
    system: str | None

    @classmethod
    def of(cls, encoder: Encoder) -> "_Portable":
        prompt = _name(encoder.prompt) if isinstance(encoder.prompt, ModuleType) else encoder.prompt
        tokenizer, family = encoder.tokenizer.to_str(), _name(encoder.family)
        return cls(prompt, encoder.variant, tokenizer, family, encoder.settings, encoder.system)

    def encoder(self) -> Encoder:
        prompt = importlib.import_module(self.prompt) if isinstance(self.prompt, str) else self.prompt
        tokenizer, family = Tokenizer.from_str(self.tokenizer), importlib.import_module(self.family)
        return Encoder(prompt, self.variant, tokenizer, family, self.settings, self.system)


_assistant: list[_Work] = []  # of a worker process


def _begin(work: _Work, encoder: _Portable) -> None:
    """A worker process begins; it ends when the process that started it does, however that comes about."""
    _assistant.append(replace(work, cutter=replace(work.cutter, encoder=encoder.encoder())))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _assist(shard: int) -> int:
    return _assistant[0].do(shard)


def _encode(work: _Work, workers: int, track: Callable[..., Iterable[Any]]) -> None:
    """Encode the shards that are missing; told are their samples."""
    missing = [shard for shard in range(len(work)) if not _shards.path(work.shards, shard).exists()]
    alone = workers < 2 or len(missing) < 2
    done = map(work.do, missing) if alone else _side_by_side(work, missing, workers)
    samples = (sample for shard in done for sample in work.rows(shard))
    for _ in track(samples, "tokens", sum(len(work.rows(shard)) for shard in missing)):
        pass


def _side_by_side(work: _Work, missing: Sequence[int], workers: int) -> Iterator[int]:
    """Encode shards in several processes; the number of each as it is finished."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch half-way
    bare = replace(work, cutter=replace(work.cutter, encoder=None))  # type: ignore[arg-type]  # made anew there
    given = bare, _Portable.of(work.cutter.encoder)
    with ProcessPoolExecutor(min(workers, len(missing)), context, _begin, given) as pool:
        waiting = [pool.submit(_assist, shard) for shard in missing]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BrokenProcessPool as error:
            what = "a process that encodes samples was lost"
            raise UserError(what, str(work.folder), "give the same command again; lower train.workers") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _assemble(work: _Work) -> None:
    """The shards as one set, then its counts; the shards are deleted."""
    (work.folder / COUNTS).unlink(missing_ok=True)
    parts = [_shards.Kept(work.shards, shard) for shard in range(len(work))]
    counts = _shards.join(parts, work.folder, FINDINGS)
    if not counts["samples"]:
        raise _nothing_left(work)
    write_json(work.folder / COUNTS, {"key": work.key, **counts})
    for folder in work.folder.glob("shards-*"):
        shutil.rmtree(folder)


def _nothing_left(work: _Work) -> UserError:
    """All samples were rejected: the commonest reason, with an example."""
    told: Sequence[Finding] = [found for found in findings(work.folder) if found.severity == "error"]
    if not told:
        return UserError("there are no samples to learn from", str(work.samples.path), "fill the mixture")
    checks = [found.check for found in told]
    commonest = max(dict.fromkeys(checks), key=checks.count)
    example = next(found for found in told if found.check == commonest)
    return UserError(
        f"none of {len(work.samples)} samples can be learned from; {checks.count(commonest)} because of {commonest}, "
        f"for example: {example.message}",
        f"sample {example.sample_id!r}",
        f"see {work.folder / FINDINGS}; raise train.max_tokens, choose train.overlong, or check the samples",
    )
