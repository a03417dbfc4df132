"""`python -m slurm plan|submit|status|logs|cancel|requeue`: the launch layer's command line."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slurm.cluster import load_cluster
from slurm.image import settle
from slurm.plan import Plan, make_plan
from slurm.snapshot import PACKAGES
from slurm.verbs import add_verbs
from urbanvlm.checkout import revision
from urbanvlm.disk import mistake_of
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.inputs import check_fetched, check_inputs
from urbanvlm.lock import hold
from urbanvlm.run_folder import RunFolder
from urbanvlm.runs import remember_output, short
from urbanvlm.same_inputs import Seen, check_same_inputs
from urbanvlm.stages import is_done
from urbanvlm.sweep import Point, Sweep, SweepFolder, load_sweep
from urbanvlm.terminal import drop_stdout, use_plain_signs
from urbanvlm.user import settle_user

LOG_WIDTH = 120
"""columns where no terminal says how many it has"""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 after a user's mistake (one line), 1 when a job failed, 130 after Ctrl-C."""
    use_plain_signs()
    settle_user(os.environ)
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    try:
        code = int(options.command(options, console))
        # At the end: a mistake is one line.
        if options.command in (_plan, _submit) and (reason := revision(*PACKAGES).reason):
            print(f"note: the run's record cannot name the code's commit: {reason}", file=sys.stderr)
        return code
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        drop_stdout()
        return 1
    except OSError as error:
        if (mistake := mistake_of(error)) is None:
            raise
        if error.filename is None:  # it may have been stdout
            drop_stdout()
        print(mistake, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slurm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (("plan", _plan, "show what submit would do"), ("submit", _submit, "do it")):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("experiment", type=Path, help="an experiment YAML")
        sub.add_argument("--cluster", default="local", help="a profile of slurm/clusters, or a YAML of your own")
        sub.add_argument("--set", default="", help='overrides, e.g. "train.learning_rate=1e-4 seed=3"')
        sub.add_argument("--allow", default="", help="findings that shall not stop it, beside data.allow")
        sub.set_defaults(command=command)
    add_verbs(commands)
    compare = commands.add_parser("compare", help="write the comparison of a sweep anew, from its runs as they are")
    compare.add_argument("folder", type=Path, help="the sweep's folder, which lies beside its runs")
    compare.set_defaults(command=_compare)
    new = commands.add_parser("cluster-new", help="write a profile of this machine's cluster by asking Slurm")
    new.add_argument("name", help="the profile's name")
    new.add_argument("--partition", help="where jobs with GPUs run, if there are several such partitions")
    new.add_argument("--account", help="who pays; Slurm's default for you if not given")
    new.add_argument("--force", action="store_true", help="overwrite the profile of that name")
    new.set_defaults(command=_cluster_new)
    preflight = commands.add_parser("preflight", help="look at nodes of a cluster with a job that does only that")
    preflight.add_argument("--cluster", required=True, help="a profile's name, or the path of one")
    preflight.add_argument("--nodes", type=int, default=2)
    preflight.add_argument("--output", type=Path, default=Path("runs"), help="a folder that the nodes share")
    preflight.set_defaults(command=_preflight)
    doctor = commands.add_parser("doctor", help="what is wrong with packages, GPUs and disks in a profile's container")
    doctor.add_argument("--cluster", required=True, help="a profile's name, or the path of one")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(command=_doctor)
    docs = commands.add_parser("cluster-docs", help="rewrite the table of a profile's keys in docs/clusters.md")
    docs.set_defaults(command=_cluster_docs)
    return parser


def _load(options: argparse.Namespace) -> tuple[Sweep, list[Plan]]:
    """The runs that the YAML stands for, usually one, each with its plan; all that they name is checked."""
    try:
        overrides = shlex.split(options.set)
    except ValueError as error:
        raise UserError(f"SET {options.set!r}", str(error), "quote a value that has spaces") from None
    sweep, cluster = load_sweep(options.experiment, overrides), load_cluster(options.cluster)
    sweep = _allowing(sweep, options.allow.replace(",", " ").split())
    remarks: dict[str, None] = {}
    plans, has_work = [], False
    seen: Seen = {}
    for point in sweep.points:
        experiment, run = point.experiment, RunFolder.of(point.experiment)
        plans.append(make_plan(experiment, cluster))
        check_same_inputs(experiment, run, seen)
        if not all(is_done(run, experiment, job.stage) for job in plans[-1].jobs):
            has_work = True
            remarks |= dict.fromkeys(check_inputs(experiment, options.experiment))
            try:
                check_fetched(experiment, options.experiment, cluster.environment)
            except UserError as error:
                # Gigabytes that one may want after a look at the plan.
                if options.command is not _plan:
                    raise
                remarks[f"submit will refuse this: {error}"] = None
    if has_work:
        plans, more = settle(plans)
        remarks |= dict.fromkeys(more)
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)
    return sweep, plans


def _allowing(sweep: Sweep, codes: list[str]) -> Sweep:
    try:
        points = tuple(replace(point, experiment=point.experiment.allowing(codes)) for point in sweep.points)
    except ValueError as error:
        raise UserError("--allow", str(error)) from None
    return replace(sweep, points=points)


def _plan(options: argparse.Namespace, console: Console) -> int:
    sweep, plans = _load(options)
    if sweep.axes:
        _show_sweep(sweep, plans, console)
        _show_prompts(sweep, console)
        return 0
    experiment, plan, run = sweep.points[0].experiment, plans[0], RunFolder.of(sweep.points[0].experiment)
    _show(plan, experiment, run, console)
    _show_prompts(sweep, console)
    if plan.cluster.executor == "slurm":
        _show_scripts(plan, run, console)
    return 0


def _show_prompts(sweep: Sweep, console: Console) -> None:
    """One whole prompt of each subtype, of all runs together."""
    from urbanvlm.samples import planned_samples

    experiments = [point.experiment for point in sweep.points]
    found = dict.fromkeys(sample for one in experiments for sample in planned_samples(one, RunFolder.of(one)))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("family", "asked", "whole prompt, as the model gets it"):
        table.add_column(column, overflow="fold")
    for sample in found:
        table.add_row(sample.family, sample.asked, escape(sample.in_a_line))
    console.print()
    console.print(table)


def _show_scripts(plan: Plan, run: RunFolder, console: Console) -> None:
    """The text of every batch script, and when Slurm would start it, if there is a Slurm."""
    from slurm.submit import expected_start, planned_text

    for job in plan.jobs:
        console.rule(f"{job.name}.sbatch", align="left")
        text = planned_text(plan, job, run)
        console.print(text, markup=False, soft_wrap=True)
        if (start := expected_start(text)) is not None:
            console.print(f"expected start: {start}", style="italic", markup=False, soft_wrap=True)


def _submit(options: argparse.Namespace, console: Console) -> int:
    sweep, plans = _load(options)
    if sweep.axes:
        return _submit_sweep(sweep, plans, console)
    experiment, plan, run = sweep.points[0].experiment, plans[0], RunFolder.of(sweep.points[0].experiment)
    _show(plan, experiment, run, console)
    if not all(is_done(run, experiment, job.stage) for job in plan.jobs):
        if plan.cluster.executor == "slurm":
            _submit_to_slurm(plan, experiment, run, console)
            return 0
        _run_here(plan, experiment, run, console)
    _show_result(run, experiment, console)
    return 0


def _submit_to_slurm(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    from slurm.submit import submit_to_slurm

    run.create()
    remember_output(run.path.parent)
    with hold(run.lock, f"submit {run.id}"):
        for job, became in submit_to_slurm(plan, experiment, run):
            console.print(f"{job.name:<30} {became}", markup=False, soft_wrap=True)
    console.print(f"make status RUN={run.id} shows how it goes; make cancel RUN={run.id} ends it", soft_wrap=True)


def _run_here(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    from slurm.submit import JobFailed

    try:
        _run_point_here(plan, experiment, run, console)
    except JobFailed as failure:
        print(failure, file=sys.stderr)
        raise SystemExit(1) from None


def _run_point_here(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    """Raises UserError or JobFailed."""
    from slurm.live import Live
    from slurm.submit import check_gpus, check_not_queued, run_here

    check_gpus(plan)
    run.create()
    remember_output(run.path.parent)
    with hold(run.lock, f"submit {run.id}"):
        check_not_queued(plan, run)
        run_here(plan, experiment, run, Live(console))


def _submit_sweep(sweep: Sweep, plans: list[Plan], console: Console) -> int:
    from slurm.sweep import run_sweep_here, submit_sweep

    _show_sweep(sweep, plans, console)
    remember_output(sweep.folder.path.parent)
    if plans[0].cluster.executor == "slurm":
        for line in submit_sweep(sweep, plans):
            console.print(line, markup=False, soft_wrap=True)
        console.print("make status shows how they go", soft_wrap=True)
        return 0
    by_run = {plan.run_id: plan for plan in plans}

    def run_point(point: Point) -> None:
        _run_point_here(by_run[point.run_id], point.experiment, RunFolder.of(point.experiment), console)

    return _show_comparison(sweep.folder, run_sweep_here(sweep, run_point, console), console)


def _compare(options: argparse.Namespace, console: Console) -> int:
    from slurm.sweep import compare

    folder = SweepFolder(options.folder.absolute())
    return _show_comparison(folder, compare(folder), console)


def _show_comparison(folder: SweepFolder, missing: Mapping[str, str], console: Console) -> int:
    """Exit code 1 if a run is missing."""
    for run_id, reason in missing.items():
        console.print(f"missing      {run_id}: {reason}", soft_wrap=True, markup=False)
    console.print(f"comparison   {short(folder.comparison)}", soft_wrap=True, markup=False)
    return 1 if missing else 0


def _show_sweep(sweep: Sweep, plans: list[Plan], console: Console) -> None:
    from slurm.sweep import sweep_table

    runs = f"{len(plans)} run{'s' if len(plans) > 1 else ''}"
    console.print(
        f"[bold]{sweep.id}[/], {runs} on {plans[0].cluster.name}, compared in {escape(short(sweep.folder.path))}"
    )
    if sweep.question:
        console.print(escape(sweep.question), style="italic")
    console.print(sweep_table(sweep))


def _show(plan: Plan, experiment: Experiment, run: RunFolder, console: Console) -> None:
    console.print(f"[bold]{plan.run_id}[/] on {plan.cluster.name}, in {escape(short(run.path))}")
    if experiment.question:
        console.print(escape(experiment.question), style="italic")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("job", "processes", "after", "writes", ""):
        table.add_column(column, overflow="fold")
    for job in plan.jobs:
        processes = f"{job.nodes} × {job.tasks_per_node}" if job.nodes > 1 else str(job.tasks)
        if job.elements is not None:
            processes = f"array of {job.elements}, {job.at_once} at once"
        if job.gpus_per_task:
            processes += f" ({job.gpus_per_task} GPU each)"
        needs = job.needs[0] if len(job.needs) == 1 else f"{len(job.needs)} jobs" if job.needs else ""
        done = "[green]done[/]" if is_done(run, experiment, job.stage) else ""
        table.add_row(job.name, processes, needs, ", ".join(job.writes), done)
    console.print(table)


def _show_result(run: RunFolder, experiment: Experiment, console: Console) -> None:
    from urbanvlm.evaluate.scores_file import read_scores
    from urbanvlm.report import is_partial, terminal_table

    console.print()
    console.print(terminal_table(read_scores(run.scores), partial=is_partial(run)))
    console.print(f"report       {short(run.page)}, {run.report.name}", soft_wrap=True, markup=False)
    console.print(f"scores       {short(run.scores)}", soft_wrap=True, markup=False)
    if experiment.mode == "fine-tune":
        tensorboard = short(run.path / "tensorboard")
        console.print(f"TensorBoard  {tensorboard}  (make tensorboard RUN={run.id})", soft_wrap=True, markup=False)


def _cluster_new(options: argparse.Namespace, console: Console) -> int:
    from slurm.cluster_new import choose_in_terminal, new_profile

    path = new_profile(
        options.name,
        partition=options.partition or None,
        account=options.account or None,
        force=options.force,
        choose=choose_in_terminal,
    )
    console.print(f"wrote {path}", markup=False, soft_wrap=True)
    console.print(f"next: make plan EXP=experiments/demo.yaml CLUSTER={options.name}", markup=False, soft_wrap=True)
    return 0


def _preflight(options: argparse.Namespace, console: Console) -> int:
    from slurm.preflight import preflight

    return preflight(load_cluster(options.cluster), options.nodes, options.output, console)


def _doctor(options: argparse.Namespace, console: Console) -> int:
    from slurm.doctor import doctor

    return doctor(load_cluster(options.cluster), as_json=options.json)


def _cluster_docs(options: argparse.Namespace, console: Console) -> int:
    from slurm.cluster_docs import DOCUMENT, fill_document
    from urbanvlm.records import write_atomic

    write_atomic(DOCUMENT, fill_document(DOCUMENT.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
