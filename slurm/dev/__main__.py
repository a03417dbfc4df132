"""`python -m slurm.dev`: start, break and remove a development cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from slurm.dev import commands, daemons, isolation, packages, processes
from slurm.dev.settings import DEFAULT_FOLDER, FIELDS, ISOLATIONS, Settings, load_settings, make_settings
from urbanvlm.errors import UserError
from urbanvlm.terminal import use_plain_signs
from urbanvlm.user import settle_user


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 after a user's mistake (one line); `exec` has that of its command."""
    use_plain_signs()
    settle_user(os.environ)
    options = _parser().parse_args(arguments)
    # Any user of the machine may submit, so all can read what the daemons write.
    os.umask(0o022)
    try:
        return int(options.command(options) or 0)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slurm.dev", description=__doc__)
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="of the cluster (%(default)s)")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=text, description=text, parents=[everywhere])
        sub.set_defaults(command=command)
        return sub

    _add_settings(add("install", _install, "install the distribution's packages that are missing"))
    _add_settings(add("start", _start, "start the cluster, or what of it does not run"))
    add("stop", _stop, "cancel all jobs, end all daemons; start goes on from there")
    add("restart", _restart, "stop and start")
    add("wipe", _wipe, "end everything at once and remove the folder")
    add("status", _status, "the nodes and their state")
    add("env", _env, "print the line for the shell that leads Slurm's commands here")
    run = add("exec", _exec, "run a command where the cluster is reached")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    off = add("power-off", _power_off, "a node dies from one moment to the next")
    off.add_argument("node", help="its number or name, or controller")
    off.add_argument("--noticed", action="store_true", help="tell Slurm at once; else it notices in about 30 s")
    add("power-on", _power_on, "start it again").add_argument("node", help="its number or name, or controller")
    for name, text in (("cut", "pull a node's network cable"), ("join", "plug it in again")):
        cable = add(name, _cable, text)
        cable.add_argument("node", help="its number or name")
        cable.set_defaults(up=name == "join")
    text = "start requeued jobs in two seconds; Slurm holds them back for a while"
    add("nudge", _nudge, text).add_argument("job", nargs="?", help="only that one")
    preempt = add("preempt", _preempt, "a job of partition high takes all nodes for some seconds")
    preempt.add_argument("job", nargs="?", help="only the nodes of that job")
    preempt.add_argument("--seconds", type=int, default=5, help="how long (%(default)s)")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add, unset = parser.add_argument, argparse.SUPPRESS
    add("--nodes", type=int, default=unset, help=f"how many ({Settings.nodes})")
    add("--cpus", type=int, default=unset, help=f"of a node; may be more than there are ({Settings.cpus})")
    add("--memory", type=int, default=unset, dest="memory_mb", help=f"MB of a node ({Settings.memory_mb})")
    add("--gpus", type=int, default=unset, help=f"of a node, not real ({Settings.gpus})")
    isolations = "; ".join(f"{name}: {text}" for name, text in ISOLATIONS.items())
    add("--isolation", choices=ISOLATIONS, default=unset, help=f"{isolations} ({Settings.isolation})")
    add("--accounting", action="store_true", default=unset, help="slurmdbd and MariaDB, for a real sacct")
    text = "each node has its own /dev/shm, and its own disk at FOLDER/local"
    add("--node-tmp", action="store_true", default=unset, help=text)
    add("--port", type=int, default=unset, help="first of a block of 100 (follows from the folder)")


def _given(options: argparse.Namespace) -> Settings:
    return make_settings(options.folder, {name: value for name, value in vars(options).items() if name in FIELDS})


def _install(options: argparse.Namespace) -> None:
    packages.install(packages.missing_packages(daemons.needed_programs(_given(options))))


def _start(options: argparse.Namespace) -> None:
    daemons.check_root()
    settings = _given(options)
    with daemons.hold(settings.folder):
        daemons.start(settings)
    _print_nodes(settings)
    if settings.isolation == "net":
        print(f"the cluster has a network of its own: put `{_command(settings, 'exec')} …` before what shall reach it")
        return
    print("\nto use it, in this shell:\n")
    print(f"    export SLURM_CONF={settings.slurm_conf}")
    print("    make submit EXP=experiments/demo.yaml CLUSTER=slurm-dev")


def _command(settings: Settings, command: str) -> str:
    folder = "" if settings.folder == DEFAULT_FOLDER else f" --folder {settings.folder}"
    return f"python -m slurm.dev {command}{folder}"


def _stop(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    with daemons.hold(settings.folder):
        daemons.stop(settings)


def _restart(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    with daemons.hold(settings.folder):
        daemons.stop(settings)
        daemons.start(settings)
    _print_nodes(settings)


def _wipe(options: argparse.Namespace) -> None:
    if not options.folder.exists():
        return
    settings = load_settings(options.folder)
    with daemons.hold(settings.folder):
        daemons.wipe(settings)


def _print_nodes(settings: Settings) -> None:
    print(daemons.client(settings, "sinfo", "-N", "-p", "main", "-o", "%N %T %c cpus %m MB %G").rstrip())


def _status(options: argparse.Namespace) -> int:
    settings = load_settings(options.folder)
    if not processes.find(settings, daemons.CONTROLLER):
        print(f"{settings.folder}: not running; `{_command(settings, 'start')}` goes on with it")
        return 1
    _print_nodes(settings)
    return 0


def _env(options: argparse.Namespace) -> None:
    print(f"export SLURM_CONF={load_settings(options.folder).slurm_conf}")


def _exec(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    if not options.words:
        raise UserError("exec", "no command given", "for example: exec sinfo")
    words = [*isolation.client_prefix(settings), *options.words]
    try:
        os.execvpe(words[0], words, processes.clean_environment(settings))  # noqa: S606 - no shell reads it
    except OSError as error:
        raise UserError(words[0], error.strerror or str(error)) from None


def _power_off(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    daemons.check_root()
    if options.node == daemons.CONTROLLER:
        daemons.stop_controller(settings)
    else:
        daemons.power_off(settings, settings.node_number(options.node), noticed=options.noticed)


def _power_on(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    daemons.check_root()
    if options.node == daemons.CONTROLLER:
        daemons.start_controller(settings)
    else:
        daemons.power_on(settings, settings.node_number(options.node))


def _cable(options: argparse.Namespace) -> None:
    settings = load_settings(options.folder)
    isolation.set_cable(settings, settings.node_number(options.node), up=options.up)


def _nudge(options: argparse.Namespace) -> None:
    for job in commands.nudge(load_settings(options.folder), options.job):
        print(job)


def _preempt(options: argparse.Namespace) -> None:
    print(commands.preempt(load_settings(options.folder), options.job, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
