"""Text logs of OpenVLA's `run_libero_eval.py`, of OpenVLA-OFT's, and of scripts made from them.

Sources: openvla/openvla and moojink/openvla-oft, experiments/robot/libero/run_libero_eval.py. The
log file holds the bare messages; consoles put a time or a level before them. Episode k of a task
starts from the k-th initial state that LIBERO ships, unless the log says that other states were
loaded or episodes skipped; fixtures are sampled anew all the same (openvla#342), so that pairs
have less in common than ours. An exception ends an episode, which is then logged as a failure: here
it is an error. An episode that the log breaks off in has not ended.
"""

import re
from dataclasses import dataclass

from vlabench.ingest.found import Attempt, Found, index

_BEFORE = r"(?:^|[\s\]:|])"
_SUITE = re.compile(_BEFORE + r"Task suite: ([^\s,]+)")
"""Scripts made from OpenVLA's write more behind it, some after a comma."""
_TASK = re.compile(_BEFORE + r"Task: (.+)")
_START = re.compile(_BEFORE + r"Starting episode (\d+)\.\.\.")
_BROKEN = re.compile(_BEFORE + r"(?:Caught exception|Episode error): (.*)")
_SUCCESS = re.compile(_BEFORE + r"Success: (True|False)\s*$")
_COUNT = re.compile(_BEFORE + r"# episodes completed so far: (\d+)")
_OTHER_STATES = re.compile(r"Using initial states from |Skipping task ")
_PROGRESS = re.compile(r"\s{2,}|[\u2588-\u258f]|\s*\d+%\|")
"""What a progress bar leaves behind a message on consoles."""


def fits(text: str) -> bool:
    """Whether a line names the suite or says that an episode ended."""
    return any(_SUITE.search(line) or _SUCCESS.search(line) for line in text.splitlines())


@dataclass(slots=True)
class _Reader:
    """Where the log has got to."""

    task: str | None = None
    index: int | None = None
    error: str | None = None

    def end(self, *, success: bool, line: int) -> Attempt:
        if self.task is None or self.index is None:
            raise ValueError(
                f"line {line}: an episode ends that did not start, expected 'Task: ...' and "
                "'Starting episode ...' before it; write logs without these as CSV"
            )
        ended = Attempt(
            task=self.task,
            index=self.index,
            success=success if self.error is None else None,
            error=self.error,
        )
        self.index = self.error = None
        return ended


def read(text: str) -> Found:
    """Read a log.

    Raises:
        ValueError: If its lines contradict each other: then some are missing.
    """
    reader, attempts, suites = _Reader(), [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _SUITE.search(line):
            suites.append(found[1])
        elif found := _TASK.search(line):
            reader.task = _PROGRESS.split(found[1])[0].strip()
        elif found := _START.search(line):
            reader.index = index(int(found[1]) - 1, f"the episode that line {number} starts")
            reader.error = None
        elif found := _BROKEN.search(line):
            reader.error = found[1] or "an exception without a text"
        elif found := _SUCCESS.search(line):
            attempts.append(reader.end(success=found[1] == "True", line=number))
        elif (found := _COUNT.search(line)) and int(found[1]) != len(attempts):
            raise ValueError(
                f"line {number} counts {found[1]} episodes, the log has {len(attempts)}; "
                "expected a whole log of one run"
            )
    if len(set(suites)) > 1:
        raise ValueError(
            f"the log is of several suites, {', '.join(sorted(set(suites)))}; split it"
        )
    return Found(
        format="openvla",
        attempts=tuple(attempts),
        states_known=_OTHER_STATES.search(text) is None,
        suite=suites[0] if suites else None,
    )
