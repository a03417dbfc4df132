"""What processor time `python -m urbanvlm score` takes from files to table, on one core, and what memory.

`python tests/bench/score.py [ROWS] [PLACES]`; a million rows and 20,000 places where nothing else is said. Most answers
are short, a sixth are rationales no two of which are alike, and one in thirty says nothing that could be read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from urbanvlm.dataset.taxonomy import DEPTH_LABELS, OBJECTS, SIDE_LABELS, SUBTYPES, AnswerKind

ROOT = Path(__file__).parents[2]
RESAMPLES = 1000
MEASURED = """
import resource, sys
from urbanvlm.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def write_files(data: Path, predictions: Path, rows: int, places: int) -> None:
    """Questions of every subtype about places that have as many rows each, and an answer to each question."""
    chance = Random(0)
    makers: dict[AnswerKind, Callable[[], str]] = {
        "yes_no": lambda: chance.choice(("Yes", "No")),
        "integer": lambda: str(chance.randrange(12)),
        "share": lambda: f"{chance.random():.2f}",
        "number": lambda: f"{chance.uniform(2, 60):.2f}",
        "class": lambda: chance.choice(("car", "person", "building", "tree", "bus")),
        "depth_label": lambda: chance.choice(DEPTH_LABELS),
        "side_label": lambda: chance.choice(SIDE_LABELS),
    }
    choices = {"multi_hop.which_is_more": ("people", "cars"), "depth.range": ("Complex", "Simple")}
    names = list(SUBTYPES)
    with data.open("w", encoding="utf-8") as asked, predictions.open("w", encoding="utf-8") as said:
        for number in range(rows):
            place, subtype = number * places // rows, names[number % len(names)]
            kind, thing = SUBTYPES[subtype].answer_kind, chance.choice(OBJECTS)

            def answer(kind: AnswerKind = kind, subtype: str = subtype) -> str:
                return chance.choice(choices[subtype]) if subtype in choices else makers[kind]()

            gold, image = answer(), f"image_{place}_heading{90 * (number % 4)}.jpg"
            row = {
                "id": f"{image}#{number}",
                "image_id": image,
                "place": f"image_{place}",
                "question": f"What can be said of the {thing} in this street, in view of {subtype}?",
                "answer": gold,
                "qtype": SUBTYPES[subtype].qtype,
                "subtype": subtype,
                "object": thing,
            }
            text = gold if chance.random() < 0.7 else answer()
            asked.write(json.dumps(row) + "\n")
            said.write(json.dumps({"example_id": row["id"], "text": _said(text, thing, number, chance)}) + "\n")


def _said(answer: str, thing: str, number: int, chance: Random) -> str:
    luck = chance.random()
    if luck < 0.17:
        return (
            f"The street runs on for a while, and part {number} of it lies in front. Beside the kerb stands a {thing}, "
            f"seen from the left at an angle of {chance.randrange(90)} degrees. Answer: {answer}"
        )
    if luck < 0.20:
        return f"I am afraid that nobody could tell, {thing} or not."
    return answer if luck < 0.6 else f"{answer.lower()}."


def measure(arguments: list[str]) -> tuple[float, float]:
    """(seconds of the processor, MiB) of one process on one core; on a busy machine the clock says nothing."""
    core = min(os.sched_getaffinity(0))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    seconds, kilobytes = done.stderr.split()[-2:]
    return float(seconds), float(kilobytes) / 1024


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    places = int(sys.argv[2]) if len(sys.argv) > 2 else max(2, rows // 50)
    with tempfile.TemporaryDirectory() as folder:
        data, predictions = Path(folder) / "data.jsonl", Path(folder) / "predictions.jsonl"
        write_files(data, predictions, rows, places)
        sizes = [f"{file.stat().st_size / 2**20:.0f} MiB" for file in (data, predictions)]
        print(f"{rows:,} rows of {places:,} places ({' and '.join(sizes)}), {RESAMPLES:,} resamples, one core")
        for profile in ("strict", "paper"):
            command = ["score", str(predictions), "--data", str(data), "--profile", profile]
            seconds, memory = measure([*command, "--resamples", str(RESAMPLES)])
            print(f"{profile}: {seconds:.1f} s of processor time, {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
