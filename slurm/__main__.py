"""`python -m slurm plan|submit|status|logs`: the launch layer's command line."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slurm.cluster import load_cluster
from slurm.plan import Plan, make_plan
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.inputs import check_inputs, check_same_inputs
from urbanvlm.lock import hold
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import is_done

LOG_LINES = 40
LOG_WIDTH = 120
"""columns where no terminal says how many it has"""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 after a user's mistake (one line), 1 when a job failed, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    try:
        return int(options.command(options, console))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slurm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (("plan", _plan, "show what submit would do"), ("submit", _submit, "do it")):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("experiment", type=Path, help="an experiment YAML")
        sub.add_argument("--cluster", default="local", help="a profile of slurm/clusters, or a YAML of your own")
        sub.add_argument("--set", default="", help='overrides, e.g. "train.learning_rate=1e-4 seed=3"')
        sub.set_defaults(command=command)
    status = commands.add_parser("status", help="one table over all runs")
    status.set_defaults(command=_status)
    logs = commands.add_parser("logs", help="the newest log lines of every job of a run")
    logs.add_argument("run", help="a run's id, the beginning of one, or its folder")
    logs.set_defaults(command=_logs)
    for sub in (status, logs):
        sub.add_argument("--output", type=Path, default=Path("runs"), help="folder of the run folders")
    return parser


def _load(options: argparse.Namespace) -> tuple[Experiment, Plan, RunFolder]:
    try:
        overrides = shlex.split(options.set)
    except ValueError as error:
        raise UserError(f"SET {options.set!r}", str(error), "quote a value that has spaces") from None
    experiment = load_experiment(options.experiment, overrides)
    plan, run = make_plan(experiment, load_cluster(options.cluster)), RunFolder.of(experiment)
    if not all(is_done(run, experiment, job.stage) for job in plan.jobs):
        for remark in check_inputs(experiment, options.experiment):
            print(f"note: {remark}", file=sys.stderr)
    return experiment, plan, run


def _plan(options: argparse.Namespace, console: Console) -> int:
    experiment, plan, run = _load(options)
    _show(plan, experiment, run, console)
    if plan.cluster.executor == "slurm":
        from slurm.submit import sbatch_text

        for job in plan.jobs:
            console.rule(f"{job.name}.sbatch", align="left")
            console.print(sbatch_text(plan, job, run), markup=False, soft_wrap=True)
    return 0


def _submit(options: argparse.Namespace, console: Console) -> int:
    experiment, plan, run = _load(options)
    _show(plan, experiment, run, console)
    if plan.cluster.executor == "slurm":
        raise UserError(
            f"cluster {plan.cluster.name}",
            "submitting to Slurm is not built yet",
            "`make plan` prints the batch scripts; CLUSTER=local runs here",
        )
    if all(is_done(run, experiment, job.stage) for job in plan.jobs):
        check_same_inputs(experiment, run)
    else:
        _run_here(plan, experiment, run, console)
    _show_result(run, experiment, console)
    return 0


def _run_here(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    from slurm.live import Live
    from slurm.submit import JobFailed, check_gpus, run_here

    check_gpus(plan)
    run.create()
    with hold(run.lock, f"submit {run.id}"):
        check_same_inputs(experiment, run)
        run.write_experiment(experiment)
        try:
            run_here(plan, experiment, run, Live(console))
        except JobFailed as failure:
            print(failure, file=sys.stderr)
            raise SystemExit(1) from None


def _show(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    console.print(f"[bold]{plan.run_id}[/] on {plan.cluster.name}, in {escape(_short(run.path))}")
    if experiment.question:
        console.print(escape(experiment.question), style="italic")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("job", "processes", "after", "writes", ""):
        table.add_column(column, overflow="fold")
    for job in plan.jobs:
        processes = f"{job.nodes} × {job.tasks_per_node}" if job.nodes > 1 else str(job.tasks)
        if job.gpus_per_task:
            processes += f" ({job.gpus_per_task} GPU each)"
        needs = job.needs[0] if len(job.needs) == 1 else f"{len(job.needs)} jobs" if job.needs else ""
        done = "[green]done[/]" if is_done(run, experiment, job.stage) else ""
        table.add_row(job.name, processes, needs, ", ".join(job.writes), done)
    console.print(table)


def _show_result(run: RunFolder, experiment: Experiment, console: Console) -> None:
    from urbanvlm.evaluate.score import read_scores
    from urbanvlm.report import is_partial, terminal_table

    console.print()
    console.print(terminal_table(read_scores(run.scores), partial=is_partial(run)))
    console.print(f"report       {_short(run.report)}", soft_wrap=True, markup=False)
    console.print(f"scores       {_short(run.scores)}", soft_wrap=True, markup=False)
    if experiment.mode == "fine-tune":
        tensorboard = _short(run.path / "tensorboard")
        console.print(f"TensorBoard  {tensorboard}  (make tensorboard RUN={run.id})", soft_wrap=True, markup=False)


def _status(options: argparse.Namespace, console: Console) -> int:
    from slurm.status import find_runs, status_table

    runs = find_runs(options.output)
    console.print(status_table(runs) if runs else f"no runs in {options.output} yet")
    return 0


def _logs(options: argparse.Namespace, console: Console) -> int:
    from slurm.status import find_run, newest_logs

    run = find_run(options.run, options.output)
    for log in newest_logs(run):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        console.rule(escape(_short(log)), align="left")
        if len(lines) > LOG_LINES:
            console.print(f"… {len(lines) - LOG_LINES} earlier lines", style="dim")
        for line in lines[-LOG_LINES:]:
            console.print(line, markup=False, soft_wrap=True)
    return 0


def _short(path: Path) -> str:
    """Relative to here where it is below here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    sys.exit(main())
