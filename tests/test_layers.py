"""The wall between the launch layer and the core: `slurm` never loads torch, `urbanvlm` never imports submitit."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from urbanvlm.cli import COMMANDS

ROOT = Path(__file__).parent.parent
HEAVY = {"accelerate", "deepspeed", "peft", "torch", "transformers"}
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("slurm", "urbanvlm")
    for path in sorted((ROOT / package).rglob("*.py"))
}


class Imports(ast.NodeVisitor):
    """Dotted names that a module imports when it is imported, and late, inside functions. Types alone don't count."""

    def __init__(self) -> None:
        self.early: set[str] = set()
        self.late: set[str] = set()
        self.depth = 0

    def add(self, *names: str) -> None:
        (self.late if self.depth else self.early).update(names)

    def visit_Import(self, node: ast.Import) -> None:
        self.add(*(alias.name for alias in node.names))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0 and node.module, f"line {node.lineno}: a relative import"
        self.add(node.module, *(f"{node.module}.{alias.name}" for alias in node.names))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_If(self, node: ast.If) -> None:
        for child in node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else [*node.body, *node.orelse]:
            self.visit(child)


@cache
def imports_of(module: str) -> Imports:
    imports = Imports()
    imports.visit(ast.parse(SOURCES[module].read_text(encoding="utf-8")))
    return imports


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def loaded_by(module: str) -> set[str]:
    """All that importing the module imports, directly and through our own modules."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            waiting.append(name.rpartition(".")[0])
            if name in SOURCES:
                waiting += imports_of(name).early
    return seen


LAUNCH = [module for module in SOURCES if module.partition(".")[0] == "slurm"]
CORE = [module for module in SOURCES if module.partition(".")[0] == "urbanvlm"]


@pytest.mark.parametrize("module", LAUNCH)
def test_the_launch_layer_never_loads_torch(module: str) -> None:
    assert not packages(loaded_by(module)) & HEAVY
    assert not packages(imports_of(module).late) & HEAVY, "not even late: the core does that, inside a job"


@pytest.mark.parametrize("module", CORE)
def test_the_core_knows_nothing_of_the_launch_layer(module: str) -> None:
    imports = imports_of(module)
    assert not packages(imports.early | imports.late) & {"slurm", "submitit"}


def test_submitit_starts_jobs_writes_scripts_and_tells_a_task_its_rank_no_more() -> None:
    early = {module for module in SOURCES if "submitit" in packages(imports_of(module).early)}
    late = {module for module in SOURCES if "submitit" in packages(imports_of(module).late)}
    assert early == {"slurm.submit", "slurm.script"}
    assert late == {"slurm.job"}


@pytest.mark.parametrize(
    "module",
    [
        *("slurm.__main__", "slurm.plan", "urbanvlm.cli", "urbanvlm.experiment", "urbanvlm.stages"),
        *(module for module, _ in COMMANDS.values()),
    ],
)
def test_what_a_login_node_runs_is_light(module: str) -> None:
    assert not packages(loaded_by(module)) & HEAVY


@pytest.mark.parametrize("command", ["slurm plan experiments/demo.yaml", "slurm status", "urbanvlm --help"])
def test_a_command_leaves_torch_unloaded(command: str) -> None:
    module, *arguments = command.split()
    code = f"""
import json, runpy, sys
sys.argv = {[module, *arguments]!r}
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=False)
except SystemExit as end:
    assert not end.code, end.code
print()
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "urbanvlm.errors" in loaded
    assert not packages(loaded) & HEAVY
