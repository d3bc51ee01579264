"""Text logs of OpenVLA's `run_libero_eval.py`, of OpenVLA-OFT's, of openpi's, and of their like.

Sources: openvla/openvla and moojink/openvla-oft, experiments/robot/libero/run_libero_eval.py;
Physical-Intelligence/openpi, examples/libero/main.py. The log file holds the bare messages;
consoles put a time or a level before them. Episode k of a task starts from the k-th initial state
that LIBERO ships, unless the log says that other states were loaded, shifted or skipped; fixtures
are sampled anew all the same (openvla#342), so that pairs have less in common than ours. An
exception ends an episode, which is then logged as a failure: here it is an error. An episode that
the log breaks off in has not ended. Tasks with one sentence are told apart by their number, or by
their episodes' numbers, which begin again.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vlabench.ingest.found import Attempt, Found, index
from vlabench.ingest.lines import messages

_BEFORE = r"(?:^|[\s\]:|>])"
_SUITE = re.compile(_BEFORE + r"(?:Task suite: |suite=)([^\s,]+)")
"""Scripts made from OpenVLA's write more behind it, some after a comma."""
_INLINE = re.compile(
    _BEFORE + r"Task(?:[_ ]?id)?[ =:#]*(?P<task>[\w.-]+)[,:;|]?\s+(?:Episode|Trial|Rollout)[ =#]*"
    r"(?P<episode>\d+)(?:\s*/\s*\d+)?(?:\s*[,:;|-]+\s*|\s+(?=\w+\s*[:=]))"
    r"(?:(?:Result|Outcome|Success)\s*[:=]\s*)?"
    r"(?P<success>success|succeeded|true|fail(?:ure|ed)?|false)\b",
    re.IGNORECASE,
)
"""A line an episode: `Task_id 0: Episode 1: Success`."""
_TASK = re.compile(_BEFORE + r"Task(?:[_ ]?(?:id)?[ #]*(\d+)(?:\s*/\s*\d+)?)?: (.+)")
_START = re.compile(
    _BEFORE + r"Starting (?:task[ =#]*(\d+),? )?episode[ =#]*(\d+)(?:\s*/\s*\d+)?(?: ?\.{3}|\s*$)"
)
_BROKEN = re.compile(_BEFORE + r"(?:Caught exception|Episode error): (.*)")
_SUCCESS = re.compile(_BEFORE + r"Success: (True|False)\s*$")
_COUNT = re.compile(_BEFORE + r"# episodes completed(?: on this rank)? so far: (\d+)")
_PLACES = r"(?:index|indices|indexes|idxs?|ids?|numbers?)"
_STATES = rf"(?i:\binit(?:ial)?[ _-]?(?:states?(?:[ _-]?{_PLACES})?|{_PLACES}))"
_LISTED = re.compile(_STATES + r"\s*[:=]?\s*\[\s*(\d+(?:\s*,\s*\d+)*)\s*,?\s*\]")
"""The states of a task's episodes, in their order."""
_NUMBERED = re.compile(_STATES + r"\s*[:=#]?\s*(\d+)\b(?!\s*(?:initial|states|%|/))")
"""The state of the episode that is running."""
_OTHER_STATES = re.compile(
    r"Using initial states from |Skipping task "
    r"|(?i:(?:init|episode|trial|state)\w*[ _-](?:\w+[ _-])?(?:offset|shift|start|begin)\w*"
    r"|(?:start|begin|first|offset)\w*[ _-](?:at |from )?(?:init|episode|trial|state|rollout)\w*"
    r"(?:[ _-](?:state|idx|index|id))*)\s*[:=]?\s*[1-9]"
    r"|(?i:random\w*[ -](?:sampled )?init)"
)
_WIDE = re.compile(r"\s{2,}|[\u2588-\u258f]")
"""What stands behind a message on consoles."""


def fits(text: str) -> bool:
    """Whether a line names the suite or says that an episode ended."""
    marks = (_SUITE, _SUCCESS, _INLINE)
    return any(mark.search(line) for _, line in messages(text) for mark in marks)


@dataclass(slots=True)
class _Reader:
    """Where the log has got to."""

    task: str | None = None
    number: str = ""
    index: int | None = None
    error: str | None = None
    states: tuple[int, ...] = ()
    state: int | None = None
    known: bool = True
    attempts: list[Attempt] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _ended: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def start(self, number: int, task: str | None, line: int) -> None:
        """Begin an episode; a task's second episode of one number is another task's first."""
        if task is not None and (self.task is None or task != self.number):
            self.task = self.number = task  # its sentence was not said
        self.index = index(number - 1, f"the episode that line {line} starts")
        self.error = self.state = None
        if task is None and self.task is not None and not self.number.isdecimal():
            count = self._seen[self.task] or 1
            if self.index in self._ended.get((self.task, _ordinal(count)), ()):
                count += 1
            self._seen[self.task], self.number = count, _ordinal(count)

    def end(self, *, success: bool, line: int) -> None:
        """End the episode that is running."""
        if self.task is None or self.index is None:
            raise ValueError(
                f"line {line}: an episode ends that did not start, expected 'Task: ...' and "
                "'Starting episode ...' before it; say how the log is written with --pattern"
            )
        self._ended.setdefault((self.task, self.number), set()).add(self.index)
        self.attempts.append(
            Attempt(
                task=self.task,
                number="" if self.number == self.task else self.number.strip("#"),
                index=self._place(self.index),
                success=success if self.error is None else None,
                error=self.error,
            )
        )
        self.index = self.error = self.state = None

    def _place(self, number: int) -> int:
        if self.state is not None:
            return self.state
        if not self.states:
            return number
        self.known &= number < len(self.states)
        return self.states[number] if number < len(self.states) else number


def _ordinal(count: int) -> str:
    return f"#{count}" if count > 1 else ""


def read(text: str) -> Found:
    """Read a log.

    Raises:
        ValueError: If its lines contradict each other: then some are missing.
    """
    reader, inline, suites = _Reader(), list[Attempt](), dict[str, None]()
    for number, line in messages(text):
        if found := _SUITE.search(line):
            suites[found[1]] = None
        if found := _INLINE.search(line):
            inline.append(
                Attempt(
                    task=found["task"],
                    index=index(int(found["episode"]), f"the episode of line {number}"),
                    success=found["success"].lower() in _WON,
                )
            )
        elif found := _START.search(line):
            reader.start(int(found[2]), found[1], number)
        elif found := _TASK.search(line):
            _begin_task(reader, found[1], _WIDE.split(found[2])[0].strip())
        elif found := _BROKEN.search(line):
            reader.error = found[1] or "an exception without a text"
        elif found := _SUCCESS.search(line):
            reader.end(success=found[1] == "True", line=number)
        elif found := _COUNT.search(line):
            _check_count(int(found[1]), len(reader.attempts) + len(inline), number)
        else:
            _see_states(reader, line)
    if len(suites) > 1:
        raise ValueError(f"the log is of several suites, {', '.join(sorted(suites))}; split it")
    return Found(
        format="openvla",
        attempts=(*reader.attempts, *_from_zero(inline)),
        states_known=reader.known,
        missing="" if reader.known else "the log says that they are not LIBERO's own, in order",
        suite=next(iter(suites), None),
    )


def _check_count(said: int, found: int, line: int) -> None:
    if said != found:
        raise ValueError(
            f"line {line} counts {said} episodes, the log has {found}; expected a whole log of one "
            "run"
        )


def _from_zero(attempts: Sequence[Attempt]) -> Iterator[Attempt]:
    """Yield episodes numbered from 0, whether the log counts from there or from 1."""
    first = min((attempt.index for attempt in attempts), default=0)
    for attempt in attempts:
        yield replace(attempt, index=attempt.index - (first > 0))


_WON = ("success", "succeeded", "true")


def _begin_task(reader: _Reader, number: str | None, sentence: str) -> None:
    if number is not None:
        reader.number = number
    elif reader.task != sentence or reader.number.isdecimal():
        reader.number = ""
    reader.task = sentence


def _see_states(reader: _Reader, line: str) -> None:
    """Take in what a line says about initial states."""
    if found := _LISTED.search(line):
        reader.states = tuple(index(int(part), line[:80]) for part in found[1].split(","))
    elif _OTHER_STATES.search(line):
        reader.known = False
    elif found := _NUMBERED.search(line):
        if reader.index is None:
            reader.known = False
        else:
            reader.state = index(int(found[1]), line[:80])
