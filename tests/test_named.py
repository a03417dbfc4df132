"""Whatever a message or a document names, a key, a make target, a command, a file, is there."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm.cluster
import slurm.sbatch_options
import urbanvlm.experiment

ROOT = Path(__file__).parent.parent
HOLE = "…"
"""stands for what an f-string fills in"""

EXPERIMENT_KEYS = {key for key, *_ in urbanvlm.experiment.reference()}
PROFILE_KEYS = {key for key, *_ in slurm.cluster.reference()}
KEYS = EXPERIMENT_KEYS | PROFILE_KEYS
LEAVES = {key.rpartition(".")[2] for key in KEYS}
TARGETS = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def messages() -> Iterator[tuple[str, str]]:
    """(place, text) of every string in the code that is no docstring."""
    for package in ("slurm", "urbanvlm"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for string in _strings(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(ROOT)}:{string.lineno}", " ".join(_words(string).split())


def documents() -> Iterator[tuple[str, str]]:
    """(place, text) of every line of the documents, shipped YAML files and scripts."""
    paths = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")]
    for pattern in ("docs/*.md", "experiments/*.*", "slurm/clusters/*", "containers/*.sh", "slurm/**/*.sh"):
        paths += sorted(ROOT.glob(pattern))
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def _strings(tree: ast.AST) -> Iterator[ast.expr]:
    """Whole strings: the parts of an f-string are one. A string that is a statement documents something."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr):
            yield node
            waiting += [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            waiting += ast.iter_child_nodes(node)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else HOLE


def missing_keys(text: str) -> Iterator[str]:
    """Dotted keys, and what is called a key of a profile, that nobody reads."""
    sections = "data|models|train|evaluate|resources|container|preemption"
    files = "jsonl?|ya?ml|py|sh|md|csv|txt|html|png|sif"
    for found in re.finditer(rf"(?<![\w./-])(?:{sections})(?:\.[A-Za-z_]\w*|\.[0-9]+|\.N)+", text):
        if re.search(rf"\.(?:{files})$", found[0]) or text[found.end() : found.end() + 1] in ("/", "("):
            continue
        if re.sub(r"\.[0-9]+\b", ".N", found[0]) not in KEYS:
            yield found[0]
    for found in re.finditer(r"\b(?:in|of) the cluster profile: `?([a-z_]+)`?", text):
        if found[1] not in PROFILE_KEYS:
            yield found[1]


def missing_commands(text: str) -> Iterator[str]:
    """Targets of make with their variables, and commands of our modules with their options."""
    for found in re.finditer(r"`make ([a-z-]+)([^`]*)`|\brun make ([a-z-]+)", text):
        target = found[1] or found[3]
        variables = re.findall(r"\b([A-Z_]+)=", found[2] or "")
        if target not in TARGETS or any(f"{name}=" not in TARGETS[target] for name in variables):
            yield found[0]
    for found in re.finditer(
        r"python -m ((?:slurm|urbanvlm)[\w.]*)(?: ([a-z][a-z-]+)\b(?![./=…]))?((?: --[a-z-]+)*)", text
    ):
        name = found[1].rstrip(".")
        spec = importlib.util.find_spec(name)
        if spec is None:
            yield found[0]
            continue
        package = ROOT / name.partition(".")[0]
        for word in [*filter(None, [found[2]]), *found[3].split()]:
            if not any(f'"{word}"' in path.read_text(encoding="utf-8") for path in package.rglob("*.py")):
                yield found[0]


def missing_files(text: str) -> Iterator[str]:
    folders = "docs|experiments|containers|slurm|urbanvlm|tests"
    for found in re.finditer(rf"(?<![\w./…~$}}-])(?:{folders})/[\w./-]+\.(?:md|py|sh|ya?ml|in|lock|def)\b", text):
        if not (ROOT / found[0]).exists() and not Path(found[0]).name.startswith("my"):
            yield found[0]


CHECKS = [missing_keys, missing_commands, missing_files]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_messages_and_documents_name_is_there(check: object) -> None:
    assert callable(check)
    found = [(place, name) for place, text in (*messages(), *documents()) for name in check(text)]
    assert not found


def test_a_key_that_a_message_of_the_slurm_layer_tells_to_set_is_there() -> None:
    found = [
        (place, name)
        for place, text in messages()
        if place.startswith("slurm/")
        for name in re.findall(r"\bset `([a-z_]+)`", text)
        if name not in LEAVES
    ]
    assert not found


def test_the_key_that_stands_for_an_option_of_sbatch_is_there() -> None:
    named = {key for words in slurm.sbatch_options.KEYS.values() for key in re.findall(r"[a-z_.]{3,}", words)}
    assert not named - KEYS


@pytest.mark.parametrize(
    "text",
    [
        "set resources.memory to 4",
        "lower models.precision",
        "models.0.precisoin",
        "set it (in the cluster profile: env)",
        "`make finish RUN=x` ends it",
        "`make status SPEED=3`",
        "run make locks",
        "`python -m urbanvlm.nothing`",
        "`python -m slurm finish`",
        "`python -m urbanvlm score --gold`",
        "see docs/cluster.md",
    ],
)
def test_what_is_not_there_is_found(text: str) -> None:
    assert any(list(check(text)) for check in CHECKS)
