"""Every published recipe runs, from foreign data to a checkpoint: the file as it is, its parts and data miniatures."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from olhar.core import recipe as recipes
from olhar.core.recipe import Recipe, TrainStage
from olhar.core.store import RunFolder
from olhar.families import Loading, load
from olhar.stages import _plan, _start
from olhar.stages._walk import walk
from olhar.training import loop
from olhar.training.model import prepare
from olhar.training.model.objectives import AnswerLearner
from olhar.training.opening import opened
from olhar.training.processes import checkpoints
from tests.flow.miniature import CASES

FOLDER = Path(__file__).parents[2] / "recipes"
HERE = {"train.processes": 1, "train.workers": 0, "train.max_tokens": 600}  # of this machine
SHORT = {"batch": 4, "micro_batch": 1}  # of every stage: two steps of the eight samples


RECOMPUTED: Counter[str] = Counter()  # blocks, by stage
LORA = [name for name in CASES if name.endswith("lora")]


@dataclass(frozen=True)
class Done:
    """A recipe, as it ran, and its run folder."""

    recipe: Recipe
    folder: Path
    seen: dict[str, list["Seen"]]

    @property
    def stages(self) -> list[tuple[TrainStage, Path]]:
        assert self.recipe.train
        named = enumerate(self.recipe.train.stages, start=1)
        return [(stage, self.folder / "train" / f"{number}-{stage.name}") for number, stage in named]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "train" / "manifest.json").read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True)
class Seen:
    """What a micro-batch was: its text, the weights of its labelled tokens, its pictures and how they were cut."""

    ids: list[int]
    weights: torch.Tensor
    pixels: torch.Tensor | None
    views: tuple[Any, ...]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Done]]:
    """Runs a recipe the first time it is asked for."""
    before = torch.get_num_threads()

    @cache
    def run(name: str) -> Done:
        folder = tmp_path_factory.mktemp(name)
        file = FOLDER / f"{name}.toml"
        overrides = {**HERE, **CASES[name](folder)}
        stages = recipes.load(file).train.stages  # type: ignore[union-attr]
        overrides |= {f"train.stages.{n}.{key}": value for n in range(len(stages)) for key, value in SHORT.items()}
        recipe = recipes.load(file, [f"{key}={toml(value)}" for key, value in overrides.items()])
        _plan.check(recipe, file)
        with pytest.MonkeyPatch.context() as patch:
            seen = watched(patch)
            walk(recipe, RunFolder(folder / "run"), lambda items, *_: items, lambda _: None, ["train"])
        return Done(recipe, folder / "run", seen)

    yield run
    torch.set_num_threads(before)


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def watched(patch: pytest.MonkeyPatch) -> dict[str, list[Seen]]:
    """By stage, what its learner was given; and how often a block was computed again."""
    seen: dict[str, list[Seen]] = {}
    forward, began, recomputed = AnswerLearner.forward, loop.Job, prepare.checkpoint

    def job(**given: Any) -> loop.Job:
        seen[given["stage"].name] = []
        return began(**given)

    def watching(learner: AnswerLearner, batch: Any) -> Any:
        last = list(seen)[-1]
        pixels = None if batch.pixels is None else batch.pixels.clone()
        seen[last].append(Seen(batch.ids.tolist(), batch.weights.clone(), pixels, tuple(batch.views)))
        return forward(learner, batch)

    def counting(*given: Any, **options: Any) -> Any:
        RECOMPUTED[next(reversed(seen))] += 1
        return recomputed(*given, **options)

    patch.setattr(loop, "Job", job)
    patch.setattr(AnswerLearner, "forward", watching)
    patch.setattr(prepare, "checkpoint", counting)
    return seen


every = pytest.mark.parametrize("name", CASES)


@every
def test_it_ends_and_plain_transformers_loads_what_came_out(name: str, done: Callable[[str], Done]) -> None:
    model, loading = plain(done(name).folder / "train" / "model")
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@every
def test_every_stage_learns_from_all_samples(name: str, done: Callable[[str], Done]) -> None:
    ran = done(name)
    for stage, folder in ran.stages:
        lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [line["step"] for line in lines] == [1, 2] and all(0 < line["loss"] < 20 for line in lines)
        assert sum(line["samples"] for line in lines) == 8 or stage.unit == "packs"
        assert lines[0]["learning_rate"] == max(stage.trains.values()) and lines[1]["learning_rate"] == 0
    checked = json.loads((ran.folder / "check" / "manifest.json").read_text(encoding="utf-8"))["counts"]
    assert set(checked["passed"].values()) == {8} and not checked["rejected"]


@every
def test_what_a_stage_names_moves_and_nothing_else(name: str, done: Callable[[str], Done]) -> None:
    """The model as it began and what every stage's checkpoint holds, one after another, are what came out."""
    ran = done(name)
    began, owned = beginning(ran)
    state = dict(began)
    for stage, folder in ran.stages:
        learned = saved(folder)
        if stage.adapter:
            assert_adapter(stage, learned, owned)
            learned = {key: tensor for key, tensor in learned.items() if "lora_" not in key}
        else:
            named = {key for role in stage.trains for key in owned[role]}
            assert learned.keys() <= named
        for role in stage.trains:
            mine = [key for key in owned[role] if key in learned]
            moved = [key for key in mine if not torch.equal(state[key], learned[key])]
            assert mine == [] if stage.adapter and role in stage.adapter.roles else moved
            assert len(moved) == len(mine), f"{stage.name}: {set(mine) - set(moved)} stayed"
        state |= learned
    result = dict(load(ran.folder / "train" / "model", Loading(dtype="float32")).model.state_dict())
    adapted = {key for stage, _ in ran.stages if stage.adapter for key in owned["language"]}
    for key, tensor in result.items():
        if key in state:  # of tied tensors one name alone
            assert torch.equal(tensor, state[key]) or key in adapted, key
    assert not adapted or any(not torch.equal(result[key], state[key]) for key in adapted)


@pytest.mark.parametrize("name", LORA)
def test_the_adapter_in_plain_peft_is_the_merged_model(name: str, done: Callable[[str], Done]) -> None:
    from peft import PeftModel

    folder = done(name).folder / "train"
    merged, _ = plain(folder / "model")
    adapted = PeftModel.from_pretrained(plain(folder / "start")[0], folder / "adapter").eval()
    first = done(name).seen["lora"][0]
    ids = torch.tensor([[id for id in first.ids if id < merged.config.image_token_id]])  # text alone
    side = merged.config.vision_config.image_size
    side = side if isinstance(side, int) else side[0]
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (m(input_ids=ids, use_cache=False).logits for m in (merged, adapted))
        assert (one - other).abs().max() < 1e-5
        one, other = (m.get_image_features(pixel_values=pixels).pooler_output[0] for m in (merged, adapted))
        assert (one - other).abs().max() < 1e-5
    with torch.no_grad(), adapted.disable_adapter():
        assert (adapted(input_ids=ids, use_cache=False).logits - merged(input_ids=ids).logits).abs().max() > 1e-4


@every
def test_blocks_are_computed_again(name: str, done: Callable[[str], Done]) -> None:
    for stage, _ in done(name).stages:
        assert stage.gradient_checkpointing and RECOMPUTED[stage.name] > 0


def test_interns_tokens_weigh_by_the_square_root(done: Callable[[str], Done]) -> None:
    ran = done("vintern-3b")
    weights = {name: torch.cat([seen.weights for seen in parts]) for name, parts in ran.seen.items()}
    for name in ("warm-up", "full"):
        sizes = weights[name] ** -2
        assert torch.allclose(sizes, sizes.round(), atol=1e-3) and len(sizes.round().unique()) > 1
        for size in sizes.round().unique():
            assert (sizes.round() == size).sum() % size == 0, "as many tokens as their sample has"
    assert (weights["second"] == 1).all()


@pytest.mark.parametrize(
    ("name", "stage", "begins"),
    [
        ("vitucano-1b5", "align", "<image>"),
        ("vitucano-1b5", "sft", "Um bate-papo entre um usuário curioso"),
        ("llava-13b-pt-lora", "lora", "Um bate-papo entre um usuário curioso"),
        ("vip-llava-7b", "align", "<image>"),
        ("vip-llava-7b", "regions", "A chat between a curious human"),
        ("vintern-3b", "warm-up", "<|im_start|>system\n"),
        ("vintern-3b-lora", "lora", "<|im_start|>system\n"),
        ("llava-onevision-0b5", "align", "<image>"),
        ("llava-onevision-0b5", "single-image", "<|im_start|>system\n"),
    ],
)
def test_every_stage_speaks_its_own_prompt(name: str, stage: str, begins: str, done: Callable[[str], Done]) -> None:
    tokenizer = load(done(name).folder / "train" / "model", Loading(dtype="float32")).tokenizer
    for seen in done(name).seen[stage]:
        text = tokenizer.decode(seen.ids, skip_special_tokens=False)
        assert text.replace("<s>", "").lstrip().startswith(begins), text[:80]


def test_vip_llava_crops_while_it_aligns_and_pads_afterwards(done: Callable[[str], Done]) -> None:
    """Three of four pictures of noise are no squares: padded, they have rows of one colour."""
    seen = done("vip-llava-7b").seen
    plainly = {
        name: sum(len(tile[:, 0].unique(dim=1)[0]) == 1 or len(tile[:, :, 0].unique(dim=1)[0]) == 1 for tile in tiles)
        for name, parts in seen.items()
        if (tiles := torch.cat([part.pixels for part in parts if part.pixels is not None])) is not None
    }
    assert plainly == {"align": 0, "regions": 6, "gpt4v": 6}


def test_onevision_looks_closer_from_stage_to_stage(done: Callable[[str], Done]) -> None:
    seen = done("llava-onevision-0b5").seen
    cuts = {name: [view for part in parts for view in part.views] for name, parts in seen.items()}
    assert {view.how for view in cuts["align"]} == {"whole"}
    assert {view.how for view in cuts["mid"]} == {"anyres"} and max(v.budget.tiles for v in cuts["mid"]) <= 5
    assert {view.how for view in cuts["onevision"]} == {"anyres", "padded", "frames"}


def plain(folder: Path) -> tuple[Any, dict[str, Any]]:
    model, loading = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    return model.eval(), loading


def beginning(ran: Done) -> tuple[dict[str, torch.Tensor], dict[str, list[str]]]:
    """The model's tensors before the first stage, and the names of every role."""
    assert ran.recipe.model
    folder = ran.folder / "train"
    start = opened(ran.recipe, _start.at_hand(ran.recipe.model, folder / "start"), ran.folder, folder)
    model = start.model()
    return {name: tensor.detach() for name, tensor in model.named_parameters()}, start.family.roles(model)


def saved(folder: Path) -> dict[str, torch.Tensor]:
    """What a stage's last checkpoint holds, by the model's own names."""
    file = checkpoints.complete(folder)[-1] / "weights.safetensors"
    return {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}


def assert_adapter(stage: TrainStage, learned: Mapping[str, torch.Tensor], owned: Mapping[str, list[str]]) -> None:
    """Both factors of every linear layer of the language model's blocks, and what else the stage names in full."""
    factors = [key for key in learned if "lora_" in key]
    layers = [key for key in owned["language"] if key.endswith("_proj.weight")]
    assert len(factors) == 2 * len(layers) > 0
    assert all(learned[key].abs().max() > 0 for key in factors), "the second factor begins at zero"
    full = {key for role in stage.trains if role != "language" for key in owned[role]}
    assert learned.keys() - set(factors) == full
