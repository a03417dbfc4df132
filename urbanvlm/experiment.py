"""The experiment: the YAML as a typed, frozen value with every field documented once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from urbanvlm.dataset.findings import allowable
from urbanvlm.errors import UserError, missing_file, suggest
from urbanvlm.times import Minutes
from urbanvlm.yaml_text import dump_yaml, parse_yaml

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
Metres = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """A part of the experiment: immutable, no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Images = Literal["real", "blank", "shuffled"]
"""what a model is shown: the picture it is asked about, an even grey one, or the picture of another place"""
IMAGES: tuple[Images, ...] = get_args(Images)


def _as_kinds(value: Any) -> Any:
    """One kind of images or a list of them; their order means nothing, so they get that of IMAGES."""
    kinds = (value,) if isinstance(value, str) else _as_tuple(value)
    if not isinstance(kinds, tuple) or not all(kind in IMAGES for kind in kinds):
        return kinds
    if not kinds or len(set(kinds)) != len(kinds):
        raise ValueError(f"name at least one of {', '.join(IMAGES)}, and each once")
    return tuple(kind for kind in IMAGES if kind in kinds)


class Scenes(Part):
    """Street scenes to render; each place is seen from every heading."""

    places: Annotated[int, Field(ge=2, description="number of street blocks")]
    headings: tuple[int, ...] = Field((0, 90, 180, 270), description="camera headings in degrees")
    image_size: Annotated[int, Field(ge=64, le=512)] = Field(512, description="width and height in pixels")
    camera: Literal["eye", "car", "mixed"] = Field("mixed", description="camera height: eye 1.6 m, car 2.5 m, or both")
    validation_share: Share = Field(0.1, description="share of the places in the validation split")
    test_share: Share = Field(0.2, description="share of the places in the test split")
    examples_per_subtype: Positive = Field(
        400, description="most examples of one subtype in the training split; the other splits in proportion"
    )
    subtypes: tuple[str, ...] | None = Field(None, description="subtypes to ask; all that exist if not given")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="subtype → factor of examples_per_subtype, where it is not to be 1"
    )

    _tuples = field_validator("headings", "subtypes", mode="before")(_as_tuple)

    @model_validator(mode="after")
    def _check(self) -> Scenes:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "validation_share + test_share must leave places to train on: make them sum to less than 1"
            )
        if not self.headings or len(set(self.headings)) != len(self.headings):
            raise ValueError("headings must be a list of different degrees, at least one")
        if any(not 0 <= h < 360 for h in self.headings):
            raise ValueError("headings are degrees from 0 to 359")
        return self


class Thresholds(Part):
    """Where the rules and the labels of rendered scenes draw their lines: shares of what is named, metres, numbers."""

    dominant_share: Share = Field(0.5, description="a factor dominates above this share of the pixels")
    sparse_share: Share = Field(0.2, description="a factor is sparse up to this share of the pixels")
    moderate_depth_m: Metres = Field(20.0, description="depth varies, and is moderate, above this range")
    high_depth_m: Metres = Field(40.0, description="the depth range is high above this")
    foreground_m: Metres = Field(5.0, description="nearer is foreground")
    background_m: Metres = Field(10.0, description="farther is background")
    left_share: Share = Field(0.6, description="on the left: more than this share of its pixels in the left half")
    right_share: Share = Field(0.4, description="on the right: less than this share of its pixels in the left half")
    top_rows_share: Share = Field(0.2, description="share of the rows that are the top of the picture")
    skyline_columns_share: Share = Field(0.5, description="share of the columns that a clear skyline needs")
    green_share: Share = Field(0.2, description="negation.conjunction: green from this greenery share on")
    open_share: Share = Field(0.2, description="negation.conjunction: open from this sky share on")
    leafy_share: Share = Field(0.4, description="composite_conjunction_1: green from this greenery share on")
    built_up_share: Share = Field(0.4, description="composite_conjunction_1: built-up from this building share on")
    open_sky_share: Share = Field(0.5, description="composite_conjunction_2: open sky from this sky share on")
    little_green_share: Share = Field(
        0.3, description="composite_conjunction_2: little green up to this greenery share"
    )
    low_rise_share: Share = Field(0.3, description="composite_conjunction_3: low-rise up to this building share")
    closed_sky_share: Share = Field(0.3, description="composite_conjunction_3: closed sky up to this sky share")
    opens_up_share: Share = Field(0.3, description="absence_viewfactor: matters above this building share")
    recoloured_share: Share = Field(0.4, description="attribute_substitution: matters above this sky share")
    added_people: Positive = Field(2, description="count_perturbation: people who come along")
    crowd: Positive = Field(5, description="count_perturbation: people who make a crowd")

    @model_validator(mode="after")
    def _check(self) -> Thresholds:
        for low, high in (
            ("sparse_share", "dominant_share"),
            ("moderate_depth_m", "high_depth_m"),
            ("right_share", "left_share"),
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(f"{low} must be less than {high}: change one of them")
        if self.foreground_m > self.background_m:
            raise ValueError("foreground_m must not be more than background_m: change one of them")
        for name in ("top_rows_share", "skyline_columns_share"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0")
        return self


DEFAULT_THRESHOLDS = Thresholds()


class Data(Part):
    """The questions: either rendered scenes, or files in the study's JSONL and a folder of images."""

    scenes: Scenes | None = Field(None, description="render the images and generate the questions")
    train_file: str | None = Field(None, description="JSONL of training examples")
    val_file: str | None = Field(None, description="JSONL of validation examples")
    test_file: str | None = Field(None, description="JSONL of examples to evaluate on")
    images: str | None = Field(
        None, description="folder of the pictures; `package:sklearn/datasets/images` is a folder inside a package"
    )
    thresholds: Thresholds = Field(
        default_factory=lambda: DEFAULT_THRESHOLDS, description="lines that the rules draw; only for rendered scenes"
    )
    chain_of_thought: bool = Field(False, description="train on rationales and ask for one, ending in `Answer: …`")
    allow: tuple[str, ...] = Field(
        (), description="codes of findings that shall not stop the run, as `python -m urbanvlm validate` names them"
    )

    _tuples = field_validator("allow", mode="before")(_as_tuple)

    @field_validator("allow")
    @classmethod
    def _allowable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return allowable(value)

    @model_validator(mode="after")
    def _check(self) -> Data:
        files = [self.train_file, self.val_file, self.test_file, self.images]
        if self.scenes is not None and any(files):
            raise ValueError("scenes and files exclude each other: keep data.scenes, or the files and data.images")
        if self.scenes is None and not (self.test_file and self.images):
            raise ValueError("needs scenes, or test_file and images")
        if self.scenes is None and self.thresholds != DEFAULT_THRESHOLDS:
            raise ValueError("thresholds are for data.scenes; the answers in files are given: take them out")
        return self


class Model(Part):
    """A model: its family and where its weights come from."""

    family: str = Field(description="blip2 | instructblip | llava")
    checkpoint: str = Field(
        "tiny",
        description="name on the Hugging Face hub, a folder (a whole model, or LoRA adapters that name their base), or "
        "a tiny preset (random weights): `tiny`, …",
    )
    revision: str | None = Field(None, description="commit of the hub's repository, for a result that can be repeated")
    label: str = Field("", description="the model's name in folders and tables; the family if not given")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="number format of weights and compute")
    images: tuple[Images, ...] | None = Field(
        None, description="what this model is shown; evaluate.images if not given"
    )

    _kinds = field_validator("images", mode="before")(_as_kinds)

    @model_validator(mode="before")
    @classmethod
    def _default_label(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("label") and isinstance(value.get("family"), str):
            return {**value, "label": value["family"]}
        return value

    @field_validator("label")
    @classmethod
    def _safe_label(cls, value: str) -> str:
        return _safe_name(value)


class Lora(Part):
    """Low-rank adapters on the language model's linear layers; everything else is frozen."""

    rank: Positive = Field(8, description="r")
    alpha: Positive = Field(32, description="scaling numerator; the update is scaled by alpha / rank")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="dropout before the adapter")


class Train(Part):
    """Fine-tuning with DeepSpeed."""

    epochs: Positive | None = Field(None, description="passes over the training examples; or give max_steps")
    max_steps: Positive | None = Field(None, description="optimizer steps; or give epochs")
    train_batch_size: Positive = Field(description="examples per optimizer step, over all processes")
    micro_batch_size: Positive = Field(description="examples per forward pass of one process")
    gradient_accumulation_steps: Positive = Field(1, description="forward passes per optimizer step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(5e-5, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="after the warm-up")
    warmup_steps: NonNegative = Field(0, description="steps of linear warm-up")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's betas")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's decoupled weight decay")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="gradients are clipped to this norm")
    lora: Lora | None = Field(None, description="train adapters instead of all weights")
    freeze_vision: bool = Field(False, description="keep the vision tower as it is")
    gradient_checkpointing: bool = Field(False, description="recompute activations: less memory, more time")
    zero_stage: Literal[0, 1, 2, 3] = Field(2, description="DeepSpeed ZeRO stage")
    log_every_steps: Positive = Field(10, description="cadence of TensorBoard and metrics.jsonl")
    validate_every_steps: Positive = Field(200, description="cadence of the validation loss")
    validation_examples: Positive = Field(512, description="most validation examples per validation")
    checkpoint_every_steps: Positive = Field(500, description="cadence of checkpoints")
    keep_checkpoints: Positive = Field(2, description="newest checkpoints to keep, the best one beside them")

    _tuples = field_validator("betas", mode="before")(_as_tuple)

    @model_validator(mode="after")
    def _check(self) -> Train:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give exactly one of epochs and max_steps")
        return self


class Evaluate(Part):
    """Greedy generation on the test split, and its scores."""

    batch_size: Positive = Field(16, description="examples generated together")
    shards: Positive = Field(1, description="parts of the test split; each is one process without collectives")
    max_new_tokens: Positive = Field(16, description="longest answer; a chain of thought needs about 256")
    prompts: str | None = Field(None, description="YAML of what stands after a question; the shipped one if not given")
    profile: Literal["strict", "paper"] = Field(
        "strict", description="how text becomes an answer and scores: strict, or paper as the published scorer does"
    )
    bootstrap_resamples: Positive = Field(1000, description="resamples of the places for the 95 % intervals")
    max_examples: Positive | None = Field(
        None, description="ask only the first so many; the scores are then stamped partial"
    )
    images: tuple[Images, ...] = Field(
        ("real",),
        description="what the models are shown, any of: real, blank (grey), shuffled (the picture of another place)",
    )

    _kinds = field_validator("images", mode="before")(_as_kinds)


LONGEST_JOB_MINUTES = 366 * 24 * 60


class Resources(Part):
    """What the run may use. Not part of the run's identity."""

    # The upper bounds are far above any machine: what passes them is a slip or another unit, such as megabytes.
    nodes: Annotated[int, Field(ge=1, le=10_000)] = Field(1, description="machines of a training job")
    processes: Annotated[int, Field(ge=1, le=1_024)] = Field(
        1, description="training processes per node, one per GPU where there are GPUs"
    )
    gpus_per_process: Annotated[int, Field(ge=0, le=64)] = Field(0, description="0 on a machine without GPUs")
    cpus_per_process: Annotated[int, Field(ge=1, le=4_096)] = Field(
        1, description="cores, and threads of torch, per process"
    )
    memory_gb: Annotated[int, Field(ge=1, le=32_768)] = Field(6, description="memory of one node of a job")
    timeout_minutes: Annotated[Minutes, Field(le=LONGEST_JOB_MINUTES)] = Field(
        60, description="time limit of one job on Slurm: minutes, or as Slurm writes times, such as 24:00:00 or 1-12"
    )
    shards_at_once: Positive | None = Field(
        None, description="evaluation shards that run at the same time on Slurm; nodes × processes if not given"
    )


SWEEP = "sweep"
"""key of an experiment's YAML that no Experiment has: `urbanvlm.sweep` makes several experiments of it"""
SWEEP_MEANING = (
    "make several runs, one for each combination: dotted key → list of values, or → {label: value} with labels for the "
    "runs' names; keys that change together are separated by commas, their values are lists"
)

NO_EFFECT = {"log_every_steps", "checkpoint_every_steps", "keep_checkpoints"}
"""keys of train that change what is kept, not what is computed"""


class Experiment(Part):
    """Everything that decides what a run computes."""

    name: str = Field(description="letters, digits, `-`, `_`, `.`; the run's id begins with it")
    question: str = Field("", description="what the experiment is to find out, in a sentence")
    mode: Literal["fine-tune", "zero-shot"] = Field(description="fine-tune evaluates before and after; zero-shot once")
    seed: Seed = Field(0, description="the root of all randomness")
    output: str = Field("runs", description="folder of the run folders")
    data: Data = Field(description="the questions")
    models: Annotated[tuple[Model, ...], Field(min_length=1)] = Field(description="the models, one after the other")
    train: Train | None = Field(None, description="required by, and only for, mode fine-tune")
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate(), description="generation and scores")
    resources: Resources = Field(default_factory=lambda: Resources(), description="processes, memory, time")

    _tuples = field_validator("models", mode="before")(_as_tuple)

    @field_validator("name")
    @classmethod
    def _safe(cls, value: str) -> str:
        return _safe_name(value)

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        if (self.mode == "fine-tune") != (self.train is not None):
            raise ValueError("mode fine-tune needs a train section, mode zero-shot none: change mode or the section")
        labels = [model.label for model in self.models]
        if len(set(labels)) != len(labels):
            raise ValueError(f"two models have one label ({', '.join(labels)}): set models.N.label")
        if self.train is not None:
            t, world = self.train, self.world_size
            product = t.micro_batch_size * t.gradient_accumulation_steps * world
            if product != t.train_batch_size:
                raise ValueError(
                    f"train.train_batch_size is {t.train_batch_size} but micro_batch_size {t.micro_batch_size} × "
                    f"gradient_accumulation_steps {t.gradient_accumulation_steps} × processes {world} = {product}: "
                    f"change one of them"
                )
            half = [model.label for model in self.models if model.precision != "fp32"]
            if t.zero_stage == 0 and half:
                # Its first update is 0.744 of Adam's (DeepSpeed 0.19.8).
                raise ValueError(
                    f"train.zero_stage 0 computes wrong updates in half precision (model {half[0]}): "
                    "use stage 1, 2 or 3, or precision fp32"
                )
            if self.data.scenes is None and not (self.data.train_file and self.data.val_file):
                raise ValueError("mode fine-tune needs data.train_file and data.val_file, or data.scenes")
        return self

    @property
    def world_size(self) -> int:
        """Training processes over all nodes."""
        return self.resources.nodes * self.resources.processes

    @property
    def phases(self) -> tuple[str, ...]:
        return ("before", "after") if self.mode == "fine-tune" else ("before",)

    def images_of(self, model: Model) -> tuple[Images, ...]:
        """The kinds of images that a model is evaluated on, in every phase."""
        return self.evaluate.images if model.images is None else model.images

    def allowing(self, codes: Sequence[str]) -> Experiment:
        """The same run, which further findings do not stop. Raises ValueError for one that nothing can go on with."""
        allow = tuple(dict.fromkeys((*self.data.allow, *allowable(codes))))
        return self.model_copy(update={"data": self.data.model_copy(update={"allow": allow})})

    @property
    def identity(self) -> dict[str, Any]:
        """All of the resolved experiment that decides what is computed, its name included."""
        return self.model_dump(
            mode="json",
            exclude={"resources": True, "output": True, "question": True, "train": NO_EFFECT, "data": {"allow"}},
        )

    @property
    def run_id(self) -> str:
        """`<name>-<hash8 of its identity>`."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}"

    def to_yaml(self) -> str:
        return dump_yaml(self.model_dump(mode="json"))


def _safe_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("use letters, digits, '-', '_' and '.', at most 64, a letter or digit first")
    return value


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment YAML, apply `section.key=value` overrides, check it. Raises UserError, also for a sweep."""
    tree = read_tree(path)
    for override in overrides:
        set_key(tree, *parse_override(override))
    if tree.pop(SWEEP, None) is not None:
        raise UserError(
            f"{path}: {SWEEP}", "makes several runs, and this command takes one", "take `sweep` out: SET=sweep=null"
        )
    return check_experiment(tree, path)


def read_tree(path: Path) -> dict[Any, Any]:
    """An experiment YAML as it is written. Raises UserError where it is not a mapping of keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(path, missing_file(path), "EXP= takes the path of an experiment YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})") from None
    tree = parse_yaml(text, path)
    if not isinstance(tree, dict):
        raise UserError(path, "is not a mapping of keys", "see experiments/demo.yaml")
    return tree


def check_experiment(tree: Any, where: object) -> Experiment:
    """A parsed YAML → Experiment. Raises UserError with one line for the first thing that is wrong."""
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, where) from None


def parse_override(override: str) -> tuple[str, Any, str]:
    """`a.b.c=value` → (dotted key, value, where it stands, for errors). Raises UserError."""
    where = f"SET {override!r}"
    dotted, equals, raw = override.partition("=")
    if not equals or not dotted.strip():
        raise UserError(where, "not of the form section.key=value")
    return dotted.strip(), parse_yaml(raw, where), where


def set_key(tree: dict[Any, Any], dotted: str, value: Any, where: str) -> None:
    """Set one dotted key in place; list items by their number, as `models.0.checkpoint`. Raises UserError."""
    *parents, leaf = dotted.split(".")
    node: Any = tree
    for key in parents:
        node = _child(node, key, where)
    if isinstance(node, list):
        _child(node, leaf, where)
        node[int(leaf)] = value
    else:
        node[leaf] = value


def _child(node: Any, key: str, where: str) -> Any:
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise UserError(where, f"{key!r} is not an item of the list", f"use 0 to {len(node) - 1}")
        return node[int(key)]
    if node.get(key) is None:
        node[key] = {}
    child = node[key]
    if not isinstance(child, (dict, list)):
        raise UserError(where, f"{key!r} is a value, not a section")
    return child


def _explain(error: ValidationError, where: object) -> UserError:
    """The first problem in words; unknown keys first, because the others may only follow from them."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in problem["loc"])
    place = f"{where}: {key}" if key else str(where)
    if problem["type"] == "extra_forbidden":
        known = [name for name, _ in fields_at(problem["loc"][:-1])] + ([SWEEP] if len(problem["loc"]) == 1 else [])
        return UserError(place, "unknown key", suggest(problem["loc"][-1], known))
    if problem["type"] == "missing":
        return UserError(place, "is missing", "add it")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type":
        message = "must be a list, as in [a, b]"
    value = problem.get("input")
    got = f" (got {shortened(value)})" if isinstance(value, (str, int, float, bool)) or value is None else ""
    return UserError(place, message[0].lower() + message[1:] + got, number_hint(problem["type"], value))


def shortened(value: Any) -> str:
    """A value for an error: a number of a thousand digits is not repeated."""
    text = repr(value)
    return text if len(text) < 80 else f"{text[:80]}…"


def number_hint(kind: str, value: Any) -> str:
    """The next step where text stands for a number: 1_000 and 010 are text to us, and numbers to other readers."""
    return (
        "write it in plain digits, such as 1000"
        if kind in ("int_type", "float_type") and isinstance(value, str)
        else ""
    )


def fields_at(location: Sequence[int | str]) -> list[tuple[str, Any]]:
    """(name, pydantic field) of the section at a location such as ("data", "scenes") or ("models", 0)."""
    part: type[BaseModel] = Experiment
    for key in location:
        if isinstance(key, str) and key in part.model_fields:
            part = section_type(part.model_fields[key].annotation) or part
    return list(part.model_fields.items())


def section_type(annotation: Any) -> type[BaseModel] | None:
    """The section class inside an annotation such as `Scenes | None` or `tuple[Model, ...]`, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := section_type(argument)) is not None:
            return found
    return None


def reference() -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every key, depth first; the README's reference is made from it."""

    def walk(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
        for name, info in part.model_fields.items():
            inner = section_type(info.annotation)
            key = f"{prefix}{name}"
            many = inner is not None and "tuple" in str(info.annotation)
            kind = "list" if many else "section" if inner else _type_words(info.annotation)
            default = "required" if info.is_required() else "" if inner else json.dumps(info.default)
            yield key, kind, default, info.description or ""
            if inner is not None:
                yield from walk(inner, f"{key}.N." if many else f"{key}.")

    yield from walk(Experiment, "")
    yield SWEEP, "section", "", SWEEP_MEANING


def _type_words(annotation: Any) -> str:
    text = re.sub(r"typing\.|<class '|'>|NoneType", "", str(annotation))
    text = re.sub(r"Annotated\[(\w+).*?\]\)?\]", r"\1", text)
    if literal := re.search(r"Literal\[(.*?)\]", text):
        return literal.group(1).replace("'", "").replace(", ", " | ")
    for word in ("dict", "tuple", "str", "bool", "float", "int"):
        if word in text:
            return {"dict": "mapping", "tuple": "list", "str": "text", "float": "number"}.get(word, word)
    return text
