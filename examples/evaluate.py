"""Evaluate a policy in a few lines: the plan, the runner, the file, the number.

python examples/evaluate.py [RESULTS_FILE]
"""

import sys
from pathlib import Path

from vlabench import ProcessRunner, prepare, read_run, success_rate


def main(path: Path) -> None:
    evaluation = prepare("point-reach", "random", request={"episodes": 10, "seed": 0})
    for _, record in evaluation.run(ProcessRunner(2), path):
        if record is not None:
            print(record.episode.key, record.outcome, record.steps)
    rate = success_rate(read_run(path).episodes)
    print(f"{rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}], n={rate.n}: {rate.question}")


if __name__ == "__main__":  # worker processes import this file
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "point-reach.jsonl"))
