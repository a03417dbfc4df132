"""How long an audit takes beside parsing the same file with `json` alone, and what memory it needs.

`python tests/bench/validate.py [ROWS]`; the two are timed in turn, so that both see the same load of the machine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from urbanvlm.dataset.audit import audit_file

ROUNDS = 5
ROWS_PER_IMAGE = 20
OBJECTS = ("bench", "bicycle", "bus", "car", "person", "stop sign", "traffic light", "tree", "truck")
RESIDENT = """
import resource, sys
from pathlib import Path
from urbanvlm.dataset.audit import audit_file
print(audit_file(Path(sys.argv[1])).rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_rows(path: Path, count: int, rationales: bool = False) -> None:
    """Rows like the study's: yes or no, counts, shares and labels about some objects, twenty to an image."""
    chance = Random(0)
    kinds: tuple[tuple[str, Callable[[], str], str], ...] = (
        ("presence.binary", lambda: chance.choice(("Yes", "No")), "Is there a {} in the picture?"),
        ("negation.absence", lambda: chance.choice(("Yes", "No")), "Is the view free of any {}?"),
        ("count", lambda: str(chance.randrange(12)), "How many of these do you see: {}?"),
        ("viewfactor.scalar", lambda: f"{chance.random():.2f}", "Which share of the view behind the {} is sky?"),
        ("depth.range.label", lambda: chance.choice(("low", "moderate", "high")), "How deep is the scene with the {}?"),
        ("depth.average_per_object", lambda: f"{chance.uniform(2, 60):.2f}", "How far away, in metres, is the {}?"),
    )
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            image = number // ROWS_PER_IMAGE
            subtype, answer, question = chance.choice(kinds)
            thing, given = chance.choice(OBJECTS), answer()
            row = {
                "image_id": f"image_{1_000_000 + image // 4}_heading{90 * (image % 4)}.jpg",
                "question": f"{question.format(thing)} (view {number % ROWS_PER_IMAGE})",
                "answer": given,
                "qtype": "perceptual",
                "subtype": subtype,
                "object": thing,
            }
            if rationales:
                row["cot_answer"] = f"The street lies open in front. There is a {thing} to look at. Answer: {given}"
            out.write(json.dumps(row) + "\n")


def parse_alone(path: Path) -> None:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            json.loads(line)


def seconds(work: Callable[[Path], object], path: Path) -> float:
    """Of the processor: other work on the machine does not count."""
    start = time.process_time()
    work(path)
    return time.process_time() - start


def measure(path: Path) -> tuple[float, float, float]:
    """(seconds of json alone, seconds of the audit, the median of their ratios)."""
    pairs = [(seconds(parse_alone, path), seconds(audit_file, path)) for _ in range(ROUNDS)]
    ratio = statistics.median(audit / alone for alone, audit in pairs)
    return statistics.median(alone for alone, _ in pairs), statistics.median(audit for _, audit in pairs), ratio


def resident_mib(path: Path) -> float:
    """Most memory of a process that does nothing else."""
    command = [sys.executable, "-c", RESIDENT, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print("| rows | json alone, s | audit, s | ratio | resident, MiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        for rationales in (False, True):
            write_rows(path, count, rationales)
            alone, audit, ratio = measure(path)
            words = f"{count:,}{' with rationales' if rationales else ''}"
            print(f"| {words} | {alone:.1f} | {audit:.1f} | {ratio:.2f} | {resident_mib(path):.0f} |", flush=True)


if __name__ == "__main__":
    main()
