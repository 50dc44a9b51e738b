"""Training: what learns from what, at which rate, for how long, and on which machine."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from olhar.core.recipe._base import Name, Part, PositiveInt, Rate, Share, no_repeats

ParameterRole = Literal["vision", "connector", "language", "fusion", "tuning"]
Weighting = Literal["token", "sample", "square"]
Overlong = Literal["reject", "truncate", "split"]
Log = Literal["tensorboard", "trackio", "wandb"]


Decay = Annotated[float, Field(ge=0)]


class Adapter(Part):
    """Low-rank adapters instead of the weights themselves (LoRA, Hu et al. 2021, arXiv:2106.09685).

    roles: whose linear layers get them; all other roles a stage trains are trained in full. bits: keep the weights
    below them in 4 or 8 bits (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).
    """

    rank: PositiveInt = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    roles: Annotated[tuple[ParameterRole, ...], Field(min_length=1)] = ("language",)
    bits: Literal[4, 8] | None = None


class TrainStage(Part):
    """One stage of training: what it sees, what it trains at which rate, and for how long.

    trains: role -> peak learning rate; a role that is not named is frozen.
    last_layers: role -> only that many of its last layers learn, and of that role nothing else.
    new_tokens: rate at which the vocabulary rows that were added to a pretrained language model learn, where the
        language model itself is frozen.
    batch: how many of ``unit`` a step learns from, on all processes together. A pack is filled with whole samples
        up to ``max_tokens``; ``samples`` draws that many and packs them anew at every step, as published recipes
        count. micro_batch: packs that a process takes through the model at once; default: all of its share.
    packing: False gives every sample a pack of its own; micro-batches then hold samples of like length.
    weight_decay: of all matrices, or role -> of its matrices (0 of a role not named); never of biases and norms.
    weighting: what counts alike: every trained ``token``, every ``sample``, or the ``square`` root between them.
    prompt, variant, max_tokens, image: of this stage, where they differ from the recipe's.
    """

    name: Name
    mixture: Name
    objective: Literal["answers", "patches"] = "answers"
    trains: Annotated[dict[ParameterRole, Rate], Field(min_length=1)]
    adapter: Adapter | None = None
    last_layers: dict[ParameterRole, PositiveInt] = {}
    new_tokens: Rate | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[Share, Share] = (0.9, 0.98)
    steps: PositiveInt | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    batch: PositiveInt  # packs or samples a step (answers), images a step (patches)
    unit: Literal["packs", "samples"] = "packs"
    micro_batch: PositiveInt | None = None
    packing: bool = True
    warmup_steps: Annotated[int, Field(ge=0)] | None = None  # default 30, unless warmup_share is given
    warmup_share: Annotated[float, Field(ge=0, lt=1)] | None = None  # of the steps, rounded up
    final_share: Share = 0.03  # of the peak rate, where the cosine ends
    weight_decay: Decay | dict[ParameterRole, Decay] = 0.05
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    weighting: Weighting = "token"
    gradient_checkpointing: bool = False
    augment: bool = False
    prompt: str | None = None
    variant: str | None = None
    max_tokens: PositiveInt | None = None
    image: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_length(self) -> "TrainStage":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("write steps or epochs, one of the two")
        if self.warmup_steps is not None and self.warmup_share is not None:
            raise ValueError("write warmup_steps or warmup_share, one of the two")
        if self.steps is not None and self.warmup_share is None and self.warmup(self.steps) >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup(self.steps)}) must be below steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _named_roles_train(self) -> "TrainStage":
        decaying = self.weight_decay if isinstance(self.weight_decay, dict) else ()
        for role in (*self.last_layers, *decaying, *(self.adapter.roles if self.adapter else ())):
            if role not in self.trains:
                raise ValueError(f"{role} has no learning rate in trains")
        if self.new_tokens is not None and "language" in self.trains and self.adapter is None:
            raise ValueError("new_tokens is for a frozen language model; here all its rows learn")
        return self

    def decay_of(self, role: str) -> float:
        """The weight decay of a role's matrices."""
        return self.weight_decay.get(role, 0.0) if isinstance(self.weight_decay, dict) else self.weight_decay  # type: ignore[call-overload]

    def warmup(self, steps: int) -> int:
        """How many of that many steps warm up."""
        if self.warmup_share is not None:
            return -int(-self.warmup_share * steps // 1)
        return 30 if self.warmup_steps is None else self.warmup_steps


class MarkPen(Part):
    """How marks are drawn on the pictures trained on, so that a person's marks are drawn alike: ``core.types.Pen``."""

    width: Annotated[float, Field(ge=0)] | None = None
    alpha: Annotated[int, Field(ge=1, le=255)] | None = None


class Best(Part):
    """Which checkpoint to keep beside the newest: the one that answers most of a benchmark's questions.

    every: steps between two looks. questions: how many are asked, the first ones of the data set. It must be a data
    set that no mixture takes and no evaluation reports, else the reported numbers would be chosen by themselves.
    """

    benchmark: str
    data: Name
    every: PositiveInt
    questions: PositiveInt = 100


class Hardware(Part):
    """The machine a recipe is meant for: what ``olhar plan`` reckons hours, memory and energy with.

    tflops: dense bf16 peak of one GPU; utilisation: the share of it that training reaches (MFU), an assumption.
    """

    gpu: str
    count: PositiveInt = 1
    memory_gib: Annotated[float, Field(gt=0)]
    tflops: Annotated[float, Field(gt=0)]
    watts: Annotated[float, Field(gt=0)]
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.4


class Training(Part):
    """How to train. ``max_tokens`` is a pack's length, ``max_tiles`` the most image tiles in one; ``overlong`` says
    what becomes of a sample that is longer; ``isolate_questions`` hides samples on the same images from each other
    while they share the images' tokens.

    sharding: several processes hold the whole model each (``replicate``, DDP) or a part each (``shard``, FSDP2).
    cache_features: keep on disk what a frozen tower sees, instead of looking at every picture in every epoch.
    """

    prompt: str
    variant: str | None = None
    max_tokens: PositiveInt
    max_tiles: PositiveInt | None = None
    overlong: Overlong = "reject"
    isolate_questions: bool = False
    marks: MarkPen = MarkPen()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sharding: Literal["replicate", "shard"] = "replicate"
    kernels: Literal["liger"] | None = None
    cache_features: bool = False
    processes: PositiveInt = 1  # that share every step's batch on this machine; torchrun's own number counts instead
    threads: PositiveInt = 1  # of each process
    workers: Annotated[int, Field(ge=0)] = 1
    checkpoint_seconds: PositiveInt = 20
    checkpoint_steps: PositiveInt | None = None  # write one after so many steps too
    keep: PositiveInt = 2  # newest checkpoints
    best: Best | None = None
    logs: tuple[Log, ...] = ()  # beside steps.jsonl
    country: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "BRA"  # ISO 3166-1 alpha-3, for grams of CO2
    hardware: Hardware | None = None
    stages: Annotated[tuple[TrainStage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "Training":
        no_repeats([stage.name for stage in self.stages], "training stages")
        return self

    def tokens_of(self, stage: TrainStage) -> int:
        """The length of a stage's packs."""
        return stage.max_tokens or self.max_tokens

    def spoken(self, stage: TrainStage) -> tuple[str, str | None]:
        """The prompt of a stage and its variant; a prompt of its own comes without the recipe's variant."""
        if stage.prompt is not None:
            return stage.prompt, stage.variant
        return self.prompt, self.variant if stage.variant is None else stage.variant

    def caches(self, stage: TrainStage) -> bool:
        """Whether a stage reads what its frozen tower sees from disk."""
        return self.cache_features and "vision" not in stage.trains and stage.objective == "answers"
