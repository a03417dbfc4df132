"""A cluster profile: the facts about a cluster that its jobs need, from a YAML file."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from slurm.sbatch_options import TO_SRUN, check_option
from urbanvlm.errors import UserError, suggest
from urbanvlm.experiment import Part, number_hint, section_type, shortened
from urbanvlm.times import Minutes
from urbanvlm.yaml_text import parse_yaml

PROFILES = Path(__file__).parent / "clusters"

LOCAL_KEYS = ("name", "executor", "environment", "node_scratch", "container")
"""what means something on one machine without Slurm"""

SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?(_|$)", re.IGNORECASE)
SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{20,}|\bgh[opsu]_[A-Za-z0-9]{20,}|://[^/\s:@]*:[^/\s@$]+@")
SECRETS_GO = (
    "keep it in a file of your home folder that only you can read, and let a line of setup read it: "
    "`export NAME=$(cat ~/.config/urbanvlm/NAME)`"
)

OUR_VARIABLES = {
    "TMPDIR": "give node_scratch instead",
    "PYTHONPATH": "jobs run the code that was there when they were submitted",
    "MASTER_ADDR": "each job finds a place to meet by itself",
    "MASTER_PORT": "each job finds a place to meet by itself",
}
OUR_PREFIXES = ("URBANVLM_", "SLURM_", "SBATCH_", "SUBMITIT_")

VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


def _one_line(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty: leave the key out, or give it a value")
    if not value.isprintable():
        raise ValueError("has a line break or another control character, which a batch script cannot hold: remove it")
    return value


def _sbatch_value(value: str) -> str:
    if "\\" in _one_line(value):
        raise ValueError("has a backslash, which sbatch drops even between quotes: write it without")
    return value


def _no_secret(value: str) -> str:
    if "\0" in value:
        raise ValueError("has a NUL character, which no variable can hold: remove it")
    if SECRET_VALUE.search(value):
        raise ValueError(f"holds what looks like a secret, and scripts would hold it: {SECRETS_GO}")
    return value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Line = Annotated[str, AfterValidator(_one_line)]
Word = Annotated[str, AfterValidator(_sbatch_value)]
Lines = Annotated[tuple[Line, ...], BeforeValidator(_as_tuple)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host that a container sees."""

    source: str
    target: str
    read_only: bool = False
    on_node: bool = False
    """is on the nodes, and not on the machine that submits"""

    @classmethod
    def parse(cls, text: str) -> Bind:
        """`source[:target[:ro][,node]]`, absolute paths. Raises ValueError."""
        source, _, rest = text.partition(":")
        target, _, words = rest.partition(":")
        flags = set(words.split(",")) if words else set()
        if not flags <= {"ro", "rw", "node"} or {"ro", "rw"} <= flags:
            raise ValueError(f"{text!r} ends in neither ro nor rw: write source:target:ro, or …:ro,node")
        target = target or source
        for path in (source, target):
            if not path.startswith("/"):
                raise ValueError(f"{text!r}: {path!r} is not an absolute path: write source:target:ro")
        return cls(source, target, "ro" in flags, "node" in flags)


class Preemption(Part):
    """What Slurm does with a job whose nodes another one needs more."""

    mode: Literal["none", "requeue", "cancel"] = Field(
        "none", description="none: never happens; requeue: Slurm starts the job again; cancel: we do, in the grace time"
    )
    grace_seconds: NonNegative = Field(0, description="between the warning, SIGTERM, and the end")


class Container(Part):
    """What jobs run in."""

    runtime: Literal["apptainer", "singularity", "docker", "podman", "pyxis", "any"] = Field(
        description="what starts it; docker is for one machine; any: apptainer, podman or docker, with executor local"
    )
    image: Line | None = Field(
        None, description="a file, or a name that the runtime knows; what `make image` makes for this code if not given"
    )
    binds: Lines = Field(
        (),
        description="`source[:target[:ro]]`: what jobs see beside the code, the data and the run folder; "
        "`:ro,node` for what is on nodes only",
    )

    @field_validator("runtime", mode="before")
    @classmethod
    def _one_runtime(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError("a profile has one runtime: keep one, and write a second profile for the other")
        return value

    @field_validator("image")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("-"):
            raise ValueError("begins with '-', as options do: name the file as ./-…")
        return value

    @field_validator("binds")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Bind.parse(text)
        return value

    @model_validator(mode="after")
    def _together(self) -> Container:
        if self.runtime == "pyxis" and self.image is None:
            raise ValueError("pyxis needs an image: give the .sqsh that enroot made of yours, or a registry's name")
        if self.runtime == "any" and self.image is not None:
            raise ValueError("runtime any takes the image that `make image` makes: remove image, or name one runtime")
        return self

    @property
    def parsed_binds(self) -> tuple[Bind, ...]:
        return tuple(Bind.parse(text) for text in self.binds)


class Cluster(Part):
    """Facts about where jobs run."""

    name: Line = Field(description="the file's name without .yaml")
    executor: Literal["local", "slurm"] = Field(description="local: processes of this machine; slurm: sbatch")
    partition: Word | None = Field(None, description="partition of jobs with GPUs, and of all if it is the only one")
    cpu_partition: Word | None = Field(None, description="partition of jobs without GPUs; `partition` if not given")
    account: Word | None = Field(None, description="account that pays; Slurm's default for you if not given")
    account_required: bool = Field(False, description="refuse to plan without an account")
    qos: Word | None = Field(None, description="quality of service of all jobs")
    constraint: Word | None = Field(None, description="node features that jobs with GPUs ask for, such as `a100&ib`")
    exclude: Lines = Field((), description="nodes to keep away from, such as `gpu07` or `gpu[10-12]`")
    gpus_per_node: NonNegative = Field(0, description="GPUs that a node of `partition` has")
    gpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]+$")] | None = Field(
        None, description="the GPUs' type in Slurm's words, to ask for; any type if not given"
    )
    gpu_request: Literal["gpus-per-node", "gres", "none"] = Field(
        "gpus-per-node",
        description="how GPUs are asked for: `--gpus-per-node=a100:4` or `--gres=gpu:a100:4`; none: a node has them",
    )
    stand_in_gpus: bool = Field(
        False, description="GPUs exist for Slurm only: no job may compute on them, and preflight looks for none"
    )
    cpus_per_node: Positive | None = Field(None, description="CPUs that a node of `partition` has; unchecked if absent")
    memory_gb_per_node: Positive | None = Field(
        None, description="memory that jobs may have on a node of `partition`; unchecked if absent"
    )
    memory_request: Literal["per-node", "per-cpu", "none"] = Field(
        "per-node", description="how memory is asked for: `--mem`, `--mem-per-cpu`, or not at all"
    )
    max_timeout_minutes: Minutes | None = Field(
        None, description="time limit of `partition`, also as `1-12:00:00`; unchecked if absent"
    )
    preemption: Preemption = Field(Preemption(), description="what Slurm does with a job that must make way")
    signal_delay_seconds: Annotated[int, Field(ge=10)] = Field(
        90, description="a job is told to save so long before its time limit, until it is known how long saving takes"
    )
    meeting_suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")] | None = Field(
        None, description="end of the name under which a job's processes reach its first node: `i` where n1 is `n1i`"
    )
    setup: Lines = Field((), description="shell lines before the job, such as `module load cuda`")
    environment: dict[str, Annotated[str, AfterValidator(_no_secret)]] = Field(
        {}, description="variables of the job, such as NCCL_SOCKET_IFNAME; no secrets, they end up in scripts"
    )
    node_scratch: Line | None = Field(
        None,
        description="folder on a node's own disk, `$NAME` allowed; jobs have TMPDIR in a folder of their own there",
    )
    sbatch: dict[str, str | int | bool] = Field(
        {}, description="further sbatch options without dashes, `true` for one without a value: `mail-type: FAIL`"
    )
    container: Container | None = Field(None, description="what jobs run in; the virtual environment if not given")
    _called: str = PrivateAttr("")

    @property
    def called(self) -> str:
        """What `load_cluster` takes to find this profile again, from whatever folder."""
        return self._called or self.name

    @field_validator("exclude")
    @classmethod
    def _node_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[\w.\[\],-]+", name, re.ASCII) or name.startswith("-"):
                raise ValueError(f"{name!r} is not a node's name: write names such as gpu07 or gpu[10-12]")
        return value

    @field_validator("setup")
    @classmethod
    def _setup_lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            if line.lstrip().startswith("#SBATCH"):
                raise ValueError(f"{line!r} would be ignored here: put the option under sbatch")
            for name, start in re.findall(r"\b([A-Za-z_]\w*)=[\"']?(\S?)", line):
                if SECRET_NAME.search(name) and start not in ("", "$", "`", "<", '"', "'"):
                    raise ValueError(f"{name} looks like a secret, and scripts would hold it: {SECRETS_GO}")
            _no_secret(line)
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not (name.isascii() and name.isidentifier()):
                raise ValueError(f"{name!r} is not a variable's name: use letters, digits and '_'")
            if SECRET_NAME.search(name):
                raise ValueError(f"{name} looks like a secret, and scripts would hold it: {SECRETS_GO}")
            if name in OUR_VARIABLES or name.startswith(OUR_PREFIXES):
                raise ValueError(f"{name} is ours to set: {OUR_VARIABLES.get(name, 'remove it')}")
        return value

    @field_validator("node_scratch")
    @classmethod
    def _scratch_path(cls, value: str | None) -> str | None:
        if value is not None:
            if not value.startswith(("/", "$")):
                raise ValueError("is not an absolute path: begin it with / or $NAME")
            if "$" in VARIABLE.sub("", value):
                raise ValueError("only $NAME and ${NAME} are replaced in it: give a plain path")
        return value

    @field_validator("sbatch", mode="before")
    @classmethod
    def _options(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for option, argument in value.items():
                check_option(option, argument)
                if isinstance(argument, str):
                    try:
                        _no_secret(_sbatch_value(argument))
                    except ValueError as error:
                        raise ValueError(f"{option} {error}") from None
        return value

    @model_validator(mode="after")
    def _together(self) -> Cluster:
        given = [key for key in type(self).model_fields if key in self.model_fields_set and key not in LOCAL_KEYS]
        if self.executor == "local" and given:
            raise ValueError(f"executor local has no {given[0]}: remove it, or set executor: slurm")
        if self.executor == "local" and self.container is not None and self.container.runtime == "pyxis":
            raise ValueError("container.runtime pyxis is a part of Slurm: use apptainer, podman or docker here")
        if self.executor == "slurm" and self.container is not None and self.container.runtime == "any":
            raise ValueError("container.runtime any is for executor local: name the one that the nodes have")
        if self.preemption.mode == "none" and self.preemption.grace_seconds:
            raise ValueError("preemption.grace_seconds means nothing without a mode: set preemption.mode")
        if self.gpu_type and not self.gpus_per_node:
            raise ValueError("gpu_type means nothing without GPUs: set gpus_per_node")
        if self.gpu_type and self.gpu_request == "none":
            raise ValueError("gpu_type means nothing where GPUs are not asked for: remove it, or gpu_request: none")
        if self.container is not None and self.node_scratch is not None and self.node_scratch_root is None:
            raise ValueError(
                "node_scratch must begin with a plain folder where there is a container, which has to see it: "
                "write it as /folder/$NAME"
            )
        return self

    @property
    def node_scratch_root(self) -> str | None:
        """The part of `node_scratch` that is a folder on every node: all of it up to the first variable."""
        if self.node_scratch is None or not VARIABLE.search(self.node_scratch):
            return self.node_scratch
        return VARIABLE.split(self.node_scratch)[0].rpartition("/")[0] or None

    @property
    def node_scratch_words(self) -> str | None:
        """`node_scratch` in shell: variables are replaced, the rest is quoted; one that is not set ends the script."""
        if self.node_scratch is None:
            return None
        words, at = [], 0
        for found in VARIABLE.finditer(self.node_scratch):
            words += [_quoted(self.node_scratch[at : found.start()]), f'"${{{found[1] or found[2]}:?}}"']
            at = found.end()
        return "".join([*words, _quoted(self.node_scratch[at:])])

    @property
    def srun_options(self) -> list[str]:
        """What the profile decides of every srun."""
        # Nothing here speaks PMI; a site's default may wait for it, or write to a folder that a container has not.
        return ["--mpi=none", *(f"--{name}={self.sbatch[name]}" for name in TO_SRUN if name in self.sbatch)]

    def memory_options(self, memory_gb: int, cpus: int) -> dict[str, str]:
        """The sbatch option for so much memory on a node, of which a job has so many CPUs there."""
        if self.memory_request == "none":
            return {}
        if self.memory_request == "per-cpu":
            return {"mem-per-cpu": f"{-(-memory_gb * 1024 // cpus)}MB"}
        return {"mem": f"{memory_gb}GB"}

    def sbatch_options(self, gpus_per_node: int) -> dict[str, str | int | bool]:
        """Every sbatch option that the profile decides, for a job with so many GPUs on each of its nodes."""
        options = dict(self.sbatch)
        choices = {
            "partition": self.partition if gpus_per_node else self.cpu_partition or self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint if gpus_per_node else None,
            "exclude": ",".join(self.exclude) or None,
        }
        options |= {option: value for option, value in choices.items() if value is not None}
        if gpus_per_node and self.gpu_request == "gres":
            asked = ":".join(filter(None, ("gpu", self.gpu_type, str(gpus_per_node))))
            # A second --gres would replace the first.
            options["gres"] = ",".join([asked, *([str(options["gres"])] if "gres" in options else [])])
        elif gpus_per_node and self.gpu_request == "gpus-per-node":
            options["gpus-per-node"] = ":".join(filter(None, (self.gpu_type, str(gpus_per_node))))
        return options


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def check_fits(
    cluster: Cluster,
    *,
    job: str,
    gpus_per_node: int,
    cpus_per_node: int,
    memory_gb: int,
    timeout_minutes: int,
) -> None:
    """Raises UserError where a job asks for more than the profile says there is.

    What the profile doesn't say is left to sbatch, as are jobs on `cpu_partition`: the figures are `partition`'s.
    """
    if cluster.executor == "local":
        return
    if cluster.account_required and not cluster.account:
        raise UserError(
            f"cluster {cluster.name}: account",
            "is missing, and this cluster takes no job without one",
            "add it to the profile; `sacctmgr show associations user=$USER format=account` lists yours",
        )
    if not gpus_per_node and cluster.cpu_partition not in (None, cluster.partition):
        return
    for asked, there, things, key, fix in (
        (gpus_per_node, cluster.gpus_per_node, "GPUs", "gpus_per_node", "resources.processes"),
        (cpus_per_node, cluster.cpus_per_node, "CPUs", "cpus_per_node", "resources.cpus_per_process"),
        (memory_gb, cluster.memory_gb_per_node, "GB of memory", "memory_gb_per_node", "resources.memory_gb"),
    ):
        if there is not None and asked > there:
            raise UserError(
                f"job {job}",
                f"asks for {asked} {things} on a node, but a node of cluster {cluster.name} has {there} ({key})",
                f"lower {fix}",
            )
    if gpus_per_node and cluster.stand_in_gpus:
        raise UserError(
            f"job {job}",
            f"computes on GPUs, and those of cluster {cluster.name} exist for Slurm only (stand_in_gpus)",
            "set resources.gpus_per_process=0",
        )
    limit = cluster.max_timeout_minutes
    if limit is not None and timeout_minutes > limit:
        raise UserError(
            f"job {job}",
            f"asks for {timeout_minutes} minutes, but cluster {cluster.name} ends jobs after {limit} "
            "(max_timeout_minutes)",
            f"set resources.timeout_minutes={limit}: a job that needs longer is started again and goes on",
        )


def user_profiles() -> Path:
    """The folder of this user's own profiles."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification of that variable says to ignore a relative path.
    return (Path(config) if config.startswith("/") else Path.home() / ".config") / "urbanvlm" / "clusters"


def load_cluster(name: str) -> Cluster:
    """The profile at that path if it ends in .yaml, else the user's own or a shipped one of that name.

    Raises UserError.
    """
    path = _find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})") from None
    cluster = parse_cluster(text, path)
    cluster._called = name if name == path.stem else str(path.absolute())
    return cluster


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"cluster {name!r}", "no such file", "CLUSTER= takes a profile's name or the path of one")
        return path
    folders = {"yours": user_profiles(), "shipped": PROFILES}
    known = {kind: sorted(path.stem for path in folder.glob("*.yaml")) for kind, folder in folders.items()}
    for kind, folder in folders.items():
        if name in known[kind]:
            return folder / f"{name}.yaml"
    close = suggest(name, [*known["yours"], *known["shipped"]])
    lists = (
        f"yours in {folders['yours']}: {', '.join(known['yours']) or 'none'}; shipped: {', '.join(known['shipped'])}"
    )
    raise UserError(
        f"cluster {name!r}",
        "there is no such profile",
        f"{close} {lists}" if close.startswith("did you mean") else lists,
    )


def parse_cluster(text: str, path: Path) -> Cluster:
    """A profile from its YAML; `path` gives its name. Raises UserError with one line for the first thing wrong."""
    tree = parse_yaml(text, path)
    if not isinstance(tree, dict):
        raise UserError(path, "is not a mapping of keys", f"see {PROFILES / 'slurm-example.yaml'}")
    if "name" in tree:
        raise UserError(f"{path}: name", "is the file's name", "remove it")
    try:
        return Cluster.model_validate({**tree, "name": path.stem})
    except ValidationError as error:
        raise _explain(error, path) from None


def _explain(error: ValidationError, path: Path) -> UserError:
    problems = error.errors(include_url=False)
    # The others may only follow from an unknown key.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [part for part in problem["loc"] if part != "[key]"]
    where = f"{path}: {'.'.join(map(str, location))}" if location else str(path)
    kind, value = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        section = section_type(Cluster.model_fields[str(location[0])].annotation) if len(location) > 1 else Cluster
        known = [name for name in (section or Cluster).model_fields if name != "name"]
        return UserError(where, "unknown key", suggest(location[-1], known))
    got = f" (got {shortened(value)})" if isinstance(value, (str, int, float, bool)) or value is None else ""
    if kind == "missing":
        return UserError(where, "is missing", "add it")
    if kind == "string_type":
        return UserError(where, f"must be text{got}", "put it in quotes")
    if kind == "tuple_type":
        return UserError(where, f"must be a list{got}", "write each item on a line of its own: `- …`")
    if kind in ("model_type", "dict_type"):
        return UserError(where, f"must be a section of keys{got}", "write each key on a line of its own: `key: …`")
    if kind == "value_error":
        return UserError(where, problem["msg"].removeprefix("Value error, "))
    return UserError(where, problem["msg"][0].lower() + problem["msg"][1:] + got, number_hint(kind, value))


def reference() -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every key of a profile; the table in docs/clusters.md is made from it."""

    def walk(part: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
        for name, info in part.model_fields.items():
            if name == "name":
                continue
            inner = section_type(info.annotation)
            plain = isinstance(info.default, (str, int))
            default = "required" if info.is_required() else f"`{info.default}`".lower() if plain else ""
            yield prefix + name, default, info.description or ""
            if inner is not None:
                yield from walk(inner, f"{prefix}{name}.")

    yield from walk(Cluster, "")
