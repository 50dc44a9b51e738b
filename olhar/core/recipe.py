"""What a person writes: one TOML file that says the whole way, read by frozen models.

A misspelt key, a wrong type or an impossible value is found here; names, paths, sizes and budgets that need
other folders to be looked at are bound by ``olhar plan``. ``--set train.stages.0.steps=10`` is the only override.
"""

import tomllib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from olhar.core.errors import Problem, RecipeError, UserError

ParameterRole = Literal["vision", "connector", "language", "fusion", "tuning"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
PositiveInt = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSet(_Model):
    """One data set to ingest: which source reads it, from where, with which options of that source."""

    name: Name
    source: str
    path: Path | None = None
    language: str | None = None  # default: the recipe's
    license: str | None = None  # for the model card; default: what the source itself knows
    attribution: str = ""
    options: dict[str, Any] = {}


class Checking(_Model):
    """Which checks every ingested sample must pass. ``stop_above``: share of rejected samples that stops the run.
    ``thresholds``: check -> its thresholds by name, where they shall differ from the check's own."""

    checks: tuple[str, ...] = ("structure", "turns", "placeholders", "images")
    thresholds: dict[str, dict[str, float]] = {}
    stop_above: Annotated[float, Field(ge=0, le=1)] = 0.05

    @model_validator(mode="after")
    def _of_its_checks(self) -> "Checking":
        for name in self.thresholds:
            if name not in self.checks:
                raise ValueError(f"thresholds are given for {name!r}, which is not among checks")
        return self


class Translating(_Model):
    """How data sets in other languages become the recipe's. ``options``: of the engine; ``policies``: quotes, answers
    and so on, see ``olhar.translation.policies``; ``max_cost``: in the engine's currency, for all runs together."""

    engine: str
    options: dict[str, Any] = {}
    to: str | None = None  # a variety of the recipe's language: "pt-PT"
    policies: dict[str, Any] = {}
    batch: PositiveInt | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None


class Taking(_Model):
    """A share of one data set. ``where`` keeps samples whose meta holds one of the listed values."""

    data: Name
    where: dict[str, tuple[str | int | bool, ...]] = {}
    repeat: Annotated[float, Field(gt=0)] = 1.0  # 0.5: a seeded half; 3: three times


class Mixture(_Model):
    """A training set made of shares of data sets, in a seeded order."""

    name: Name
    take: Annotated[tuple[Taking, ...], Field(min_length=1)]


class TowerShape(_Model):
    """A vision tower to make from nothing, in the shape its family uses."""

    image_size: PositiveInt = 64
    patch_size: PositiveInt = 8
    hidden_size: PositiveInt = 128
    layers: PositiveInt = 6
    heads: PositiveInt = 4
    intermediate_size: PositiveInt = 512


class LanguageModelShape(_Model):
    """A language model to make from nothing (Llama architecture, tied embeddings)."""

    hidden_size: PositiveInt = 128
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    intermediate_size: PositiveInt = 384
    max_tokens: PositiveInt = 512
    initial_std: Annotated[float, Field(gt=0)] = 0.08


class TokenizerShape(_Model):
    """A byte-level BPE tokenizer to learn from a mixture's text."""

    vocabulary: Annotated[int, Field(ge=300)] = 1400
    mixture: Name


class ModelParts(_Model):
    """The parts a family joins: each a path (or hub name) to a pretrained one, or a shape to make anew."""

    family: str
    tower: str | TowerShape
    language_model: str | LanguageModelShape
    tokenizer: str | TokenizerShape


class TrainStage(_Model):
    """One stage of training: what it sees, what it trains at which rate, and for how long."""

    name: Name
    mixture: Name
    objective: Literal["answers", "patches"] = "answers"
    trains: Annotated[dict[ParameterRole, Rate], Field(min_length=1)]
    optimizer: Literal["adamw", "muon"] = "adamw"
    steps: PositiveInt
    batch: PositiveInt  # packs a step (answers) or images a step (patches)
    warmup_steps: Annotated[int, Field(ge=0)] = 30
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.03  # of the peak rate, where the cosine ends
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    augment: bool = False

    @model_validator(mode="after")
    def _warm_within(self) -> "TrainStage":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        return self


class MarkPen(_Model):
    """How marks are drawn on the pictures trained on, so that a person's marks are drawn alike: ``core.types.Pen``."""

    width: Annotated[float, Field(ge=0)] | None = None
    alpha: Annotated[int, Field(ge=1, le=255)] | None = None


class Training(_Model):
    """How to train. ``max_tokens`` is a pack's length; ``isolate_questions`` hides samples on the same images
    from each other while they share the images' tokens."""

    prompt: str
    variant: str | None = None
    max_tokens: PositiveInt
    isolate_questions: bool = False
    marks: MarkPen = MarkPen()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    processes: PositiveInt = 1  # that share every step's batch on this machine
    threads: PositiveInt = 1  # of each process
    workers: Annotated[int, Field(ge=0)] = 1
    checkpoint_seconds: PositiveInt = 20
    country: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "BRA"  # ISO 3166-1 alpha-3, for grams of CO2
    stages: Annotated[tuple[TrainStage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "Training":
        _no_repeats([stage.name for stage in self.stages], "training stages")
        return self


class Evaluation(_Model):
    """One benchmark on ingested data sets; the data set's name is the split it reports."""

    benchmark: str
    data: Annotated[tuple[Name, ...], Field(min_length=1)]
    controls: tuple[Literal["image", "blank"], ...] = ("image", "blank")
    batch: PositiveInt = 256


class Publishing(_Model):
    """What the model card says beside the measured numbers."""

    title: str
    license: str
    limits: tuple[str, ...] = ()
    tower: bool = False  # write the vision tower as a folder of its own too, for other recipes to start from


class Recipe(_Model):
    """The whole way, from foreign data to a published folder."""

    name: Name
    language: str
    seed: Annotated[int, Field(ge=0)] = 0
    ingest: Annotated[tuple[DataSet, ...], Field(min_length=1)]
    translate: Translating | None = None
    check: Checking = Checking()
    mix: tuple[Mixture, ...] = ()
    model: ModelParts | None = None
    train: Training | None = None
    evaluate: tuple[Evaluation, ...] = ()
    publish: Publishing | None = None

    @model_validator(mode="after")
    def _names_bind(self) -> "Recipe":
        _no_repeats([data.name for data in self.ingest], "data sets")
        _no_repeats([mixture.name for mixture in self.mix], "mixtures")
        if self.train and not self.model:
            raise ValueError("[train] needs [model]")
        return self


def _no_repeats(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two {what} are called {', '.join(twice)}")


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file; relative paths in it are taken from the file's folder.

    Raises ``RecipeError`` with every problem of form, ``UserError`` when there is no such file or it is not TOML.
    """
    if not path.is_file():
        raise UserError("there is no such recipe", str(path), "recipes ship in recipes/; `olhar list` names them")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"this is not TOML: {error}", str(path), "mend that line") from error
    for override in overrides:
        _override(tree, override)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(str(path), problems(error, Recipe)) from error
    return _from_folder(recipe, path.resolve().parent)


def _from_folder(recipe: Recipe, folder: Path) -> Recipe:
    """Paths of the recipe that exist beside it become absolute; a name that does not stays (a hub name)."""

    def beside(name: Any) -> Any:
        return str(folder / name) if isinstance(name, str) and (folder / name).exists() else name

    ingest = tuple(
        data.model_copy(update={"path": folder / data.path}) if data.path else data for data in recipe.ingest
    )
    changed: dict[str, Any] = {"ingest": ingest}
    if recipe.model:
        parts = {part: beside(getattr(recipe.model, part)) for part in ("tower", "language_model", "tokenizer")}
        changed["model"] = recipe.model.model_copy(update=parts)
    return recipe.model_copy(update=changed)


def _override(tree: dict[str, Any], override: str) -> None:
    """``a.b.0.c=value`` with a TOML value; a bare word is a string."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not key=value", "--set", "write --set train.stages.0.steps=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.strip().split(".")
    node: Any = tree
    try:
        for step in path:
            node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
        node[int(last) if isinstance(node, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise UserError(f"the recipe has no place {key!r}", "--set", "write the dotted location of a value") from error


BRANCHES = frozenset({"str", "int", "bool", "float", "[key]"})  # how pydantic names the branches of a union


def problems(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """Pydantic's errors about a ``model``, one a dotted place, without those that only repeat another."""
    found: dict[str, Problem] = {}
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic calls a list "too short" once its items have failed
        told = _problem(detail, model, prefix)
        found.setdefault(told.where, told)
    return [told for where, told in found.items() if not any(other.startswith(f"{where}.") for other in found)]


def _problem(detail: ErrorDetails, model: type[BaseModel], prefix: str) -> Problem:
    """One of pydantic's errors as a problem: dotted place, what is wrong, what to do."""
    place = [part for part in detail["loc"] if part not in BRANCHES and not str(part).endswith("Shape")]
    where = ".".join(str(part) for part in (prefix, *place) if part != "") or "recipe"
    is_key = detail["loc"][-1:] == ("[key]",)  # of a mapping whose keys are parameter roles
    if detail["type"] == "extra_forbidden" or is_key:
        known = get_args(ParameterRole) if is_key else _keys_of(model, detail["loc"][:-1])
        near = get_close_matches(str(place[-1]), sorted(known), n=1)
        return Problem(where, "unknown key", f"did you mean {near[0]!r}?" if near else "remove it")
    if detail["type"] == "missing":
        return Problem(where, "this key is required", "add it")
    given = repr(detail["input"])
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(where, message, f"change {given if len(given) < 60 else 'this part'}")


def _keys_of(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[str]:
    """The keys a model at this location knows, for the nearest-match hint."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        models = [inner for field in fields for inner in _models_in(field)] or models
    for known in models:
        yield from known.model_fields


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
