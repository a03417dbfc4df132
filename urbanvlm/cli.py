"""`python -m urbanvlm …`: commands that need no job."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
from pathlib import Path

from urbanvlm.disk import mistake_of
from urbanvlm.errors import UserError
from urbanvlm.generated import fill, markdown_table
from urbanvlm.records import write_atomic
from urbanvlm.terminal import drop_stdout, use_plain_signs
from urbanvlm.user import settle_user

COMMANDS = {
    "questions": ("urbanvlm.dataset.questions", "a metadata file of one's own -> question files"),
    "question-docs": ("urbanvlm.dataset.document", "rewrite the generated parts of docs/questions.md"),
    "validate": ("urbanvlm.dataset.validate", "everything that is wrong with a question file"),
    "ask": ("urbanvlm.evaluate.ask", "what a question file asks, for others to answer"),
    "score": ("urbanvlm.evaluate.command", "stored predictions -> scores, without any model"),
    "report": ("urbanvlm.report.command", "a run's report anew, or several runs side by side"),
    "fetch": ("urbanvlm.fetch", "checkpoints of the hub onto this machine, for jobs"),
    "doctor": ("urbanvlm.doctor", "what is wrong with packages, GPUs and disks here"),
}
"""Name -> (module, help). Only what is asked for is imported: the doctor is called where packages are broken."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 after a user's mistake (one line on stderr)."""
    use_plain_signs()
    settle_user(os.environ)
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m urbanvlm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    readme = commands.add_parser("readme", help="rewrite the generated parts of the README: the tree, the reference")
    readme.add_argument("file", type=Path, nargs="?", default=Path("README.md"))
    readme.set_defaults(command=_readme)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if words[:1] == [name]:
            importlib.import_module(module).add_arguments(command)
    options = parser.parse_args(words)
    try:
        code = int(options.command(options))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        drop_stdout()
        return 1
    except OSError as error:
        if (mistake := mistake_of(error)) is None:
            raise
        if error.filename is None:  # it may have been stdout
            drop_stdout()
        print(mistake, file=sys.stderr)
        return 2


def _readme(options: argparse.Namespace) -> int:
    write_atomic(options.file, fill_readme(options.file.read_text(encoding="utf-8"), options.file.absolute().parent))
    return 0


def fill_readme(text: str, root: Path) -> str:
    """The README with its generated parts made anew from the code below `root`."""
    for name, body in (("tree", tree_lines(root)), ("reference", reference_table())):
        text = fill(text, name, body, "README.md")
    return text


def reference_table() -> str:
    """Markdown: every key of an experiment with its type, default and meaning."""
    from urbanvlm.experiment import reference

    rows = [
        (f"`{key}`", kind, default and f"`{default}`" if default != "required" else "required", meaning)
        for key, kind, default, meaning in reference()
    ]
    return markdown_table(("key", "type", "default", "meaning"), rows)


def tree_lines(root: Path) -> str:
    """Every module of the two packages with the first sentence of its docstring."""
    lines = ["```"]
    for package in ("slurm", "urbanvlm"):
        for path in sorted((root / package).rglob("*.py")):
            duty = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
            lines.append(f"{path.relative_to(root).as_posix():<36} {duty}".rstrip())
    return "\n".join([*lines, "```"])
