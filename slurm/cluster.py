"""A cluster profile: the facts about a cluster that a job script needs, from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from urbanvlm.errors import UserError, suggest
from urbanvlm.experiment import parse_yaml

PROFILES = Path(__file__).parent / "clusters"


class Cluster(BaseModel):
    """Facts about where jobs run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(description="the file's name without .yaml")
    executor: Literal["local", "slurm"] = Field(description="local: processes of this machine; slurm: sbatch")
    partition: str | None = Field(None, description="Slurm partition of jobs with GPUs")
    cpu_partition: str | None = Field(None, description="Slurm partition of jobs without GPUs; partition if not given")
    account: str | None = Field(None, description="Slurm account that pays")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="node features to ask for")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(0, description="GPUs a node has")
    signal_delay_seconds: Annotated[int, Field(ge=10)] = Field(90, description="USR2 comes so long before the limit")
    setup: tuple[str, ...] = Field((), description="shell lines before the job, such as `module load …`")
    environment: dict[str, str] = Field({}, description="variables of the job, such as NCCL_SOCKET_IFNAME")

    @field_validator("setup", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not (name.isascii() and name.isidentifier()):
                raise ValueError(f"{name!r} is not a variable's name: use letters, digits and '_'")
        return value

    @model_validator(mode="after")
    def _local_is_plain(self) -> Cluster:
        slurm_only = ("partition", "cpu_partition", "account", "qos", "constraint", "setup")
        given = [key for key in slurm_only if getattr(self, key)]
        if self.executor == "local" and given:
            raise ValueError(f"executor local has no {given[0]}: remove it, or set executor: slurm")
        return self


def load_cluster(name: str) -> Cluster:
    """The profile with that name, or at that path if it ends in .yaml. Raises UserError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        raise UserError(f"cluster {name!r}", "there is no such profile", suggest(name, known))
    tree = parse_yaml(path.read_text(encoding="utf-8"), path)
    if not isinstance(tree, dict):
        raise UserError(path, "is not a mapping of keys")
    try:
        return Cluster.model_validate({"name": path.stem, **tree})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        where = f"{path}: {key}" if key else path
        if problem["type"] == "extra_forbidden":
            raise UserError(where, "unknown key", suggest(key, Cluster.model_fields)) from None
        raise UserError(where, problem["msg"].removeprefix("Value error, ")) from None
