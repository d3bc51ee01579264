"""`vlabench run --until-decided`: run against a finished run, and stop when it is decided."""

import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vlabench.cli.options import rules_of
from vlabench.cli.output import print_json
from vlabench.errors import RecordError

if TYPE_CHECKING:
    from vlabench.episode import EpisodeSpec
    from vlabench.evaluation import Evaluation
    from vlabench.metrics import Estimate, OnError, Rules
    from vlabench.metrics.designs import Looks
    from vlabench.metrics.sequential import Decision, Seen
    from vlabench.metrics.spending import Spending
    from vlabench.record import EpisodeRecord, Run
    from vlabench.runners.blocks import BlockRunner

UntilDecided = Annotated[
    bool,
    typer.Option(
        "--until-decided",
        help="Stop when it is decided, episode by episode, whether the policy is BETTER, WORSE or "
        "EQUIVALENT. May be looked at, and stopped, at any time.",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        "--against",
        help="What to decide against: the results file of a whole run of the same plan.",
        metavar="RUN",
        show_default=False,
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        help="With --until-decided: a difference that is none, in points. [default: 3]",
        metavar="POINTS",
        show_default=False,
    ),
]
MaxEpisodes = Annotated[
    int | None,
    typer.Option(
        "--max-episodes",
        min=1,
        help="With --until-decided: run at most so many. [default: the plan]",
        metavar="N",
        show_default=False,
    ),
]
LooksOption = Annotated[
    int | None,
    typer.Option(
        "--looks",
        min=2,
        help="With --until-decided: look so many times, after equal parts of the plan; sharper "
        "where the answer comes late. [default: after every block]",
        metavar="K",
        show_default=False,
    ),
]
SpendingOption = Annotated[
    Literal["obrien-fleming", "pocock"] | None,
    typer.Option(
        "--spending",
        help="With --looks: how much of the 5 % error each look may spend; pocock spends more of "
        "it early. [default: obrien-fleming]",
        show_default=False,
    ),
]
OnErrorOption = Annotated[
    Literal["raise", "exclude", "as-failure"] | None,
    typer.Option(
        "--on-error",
        help="With --until-decided: what episodes that broke count as. [default: raise]",
        show_default=False,
    ),
]

_MARGIN = 3.0
_POWER = 0.8
_SAY_SECONDS = 5.0
"""Between two lines about the running interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `--until-decided` asks.

    Attributes:
        path: Of the reference.
        reference: The run on it.
        rules: Margin, and what errors count as.
        most: Episodes that may be run; the plan when None.
        looks: When is looked; after every block when None.
    """

    path: Path
    reference: "Run"
    rules: "Rules"
    most: int | None
    looks: "Looks | None"


def question_of(
    *,
    until_decided: bool,
    against: Path | None,
    margin: float | None,
    most: int | None,
    on_error: "OnError | None",
    looks: int | None,
    spending: "Spending | None",
) -> Question | None:
    """Return what is asked, None without `--until-decided`; refuse options that do not go together.

    Raises:
        RecordError: If the reference cannot be read.
    """
    from vlabench.metrics.designs import Looks
    from vlabench.store import read_run

    options = {
        "--against": against,
        "--margin": margin,
        "--max-episodes": most,
        "--on-error": on_error,
        "--looks": looks,
        "--spending": spending,
    }
    given = [name for name, value in options.items() if value is not None]
    if not until_decided:
        if given:
            raise typer.BadParameter(f"{', '.join(given)} without --until-decided says nothing")
        return None
    if against is None:
        raise typer.BadParameter("--until-decided needs a run to decide against: --against RUN")
    if spending and not looks:
        raise typer.BadParameter(
            "--spending without --looks says nothing; without --looks any look is valid"
        )
    rules = rules_of(_MARGIN if margin is None else margin, False, on_error or "raise")
    planned = Looks(count=looks, spending=spending or "obrien-fleming") if looks else None
    return Question(
        path=against, reference=read_run(against), rules=rules, most=most, looks=planned
    )


def run_until_decided(
    evaluation: "Evaluation",
    question: Question,
    path: Path,
    *,
    watchdog: float,
    retry_errors: bool,
    max_errors: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run until the question is decided; print the verdict first. Exit statuses are `compare`'s."""
    from vlabench.cli.running import follow_to_end
    from vlabench.metrics import Verdict
    from vlabench.metrics.sequential import decide, obstacles, refuse
    from vlabench.plan import interleave
    from vlabench.runners.blocks import BlockRunner
    from vlabench.store import read_run

    plan, workers = evaluation.plan, evaluation.header.provenance.workers
    names = _names(evaluation, question, path)
    refused = obstacles(
        question.reference, evaluation.header, plan.episodes, names=names, rules=question.rules
    )
    if refused.verdict is Verdict.NOT_COMPARABLE:
        _print(refuse(refused), path, len(plan.episodes), as_json=as_json)
        sys.exit(2)
    blocks = _first_blocks(interleave(plan), question)
    # The header stays that of the whole plan, which another command may finish.
    bounded = replace(plan, episodes=tuple(episode for block in blocks for episode in block))
    evaluation = replace(evaluation, plan=bounded)
    runner = BlockRunner(blocks, workers, watchdog_seconds=watchdog)
    ask = partial(
        decide, question.reference,
        blocks=blocks, names=names, rules=question.rules, looks=question.looks,
    )  # fmt: skip
    watch = _Watch(
        ask=ask,
        blocks=blocks,
        retry_errors=retry_errors,
        quiet=quiet or as_json,
    )
    records = evaluation.run(runner, path, retry_errors=retry_errors, max_errors=max_errors)
    hang = follow_to_end(evaluation, watch.over(records, runner), path, quiet=quiet or as_json)
    decision = ask(read_run(path).episodes, correct=True)
    decision = replace(decision, notes=refused.notes, subject=refused.subject)
    _print(decision, path, len(plan.episodes), as_json=as_json)
    _leave(decision, hang=hang)


@dataclass(slots=True, kw_only=True)
class _Watch:
    """Takes in records as they come, and asks again whenever another block has ended."""

    ask: "Callable[[tuple[EpisodeRecord, ...]], Decision]"
    blocks: "tuple[tuple[EpisodeSpec, ...], ...]"
    retry_errors: bool
    quiet: bool
    known: "dict[str, EpisodeRecord]" = field(default_factory=dict)
    ended: int = 0
    said: float = 0.0

    def over(
        self, records: "Generator[tuple[Run, EpisodeRecord | None]]", runner: "BlockRunner"
    ) -> "Generator[tuple[Run, EpisodeRecord | None]]":
        """Pass records on, and stop the runner when they decide."""
        try:
            for found, record in records:
                if self._take(found, record):
                    decision = self.ask(tuple(self.known.values()))
                    self._say(decision)
                    if decision.settled:
                        runner.stop()
                yield found, record
        finally:
            records.close()  # ends the workers

    def _take(self, found: "Run", record: "EpisodeRecord | None") -> bool:
        """Take in a record, or what was recorded before; return whether a block has ended."""
        from vlabench.record import Outcome

        new = found.episodes if record is None else (record,)
        for one in new:
            if record is None and self.retry_errors and one.outcome is Outcome.ERROR:
                continue
            self.known[one.episode.key] = one
        before = self.ended
        while self.ended < len(self.blocks) and self._has(self.blocks[self.ended]):
            self.ended += 1
        return self.ended > before

    def _has(self, block: "tuple[EpisodeSpec, ...]") -> bool:
        return all(episode.key in self.known for episode in block)

    def _say(self, decision: "Decision") -> None:
        from vlabench.metrics.wording import points_text

        now = time.monotonic()
        if self.quiet or not (decision.settled or now - self.said > _SAY_SECONDS):
            return
        self.said = now
        if decision.seen is not None:
            text = f"{decision.b} less {decision.a} is {points_text(decision.seen.difference)}"
            print(f"{_pairs(decision)}: {text}", file=sys.stderr, flush=True)


def sentence(d: "Decision") -> str:
    """Say in one line what was decided, with its numbers."""
    from vlabench.metrics import Verdict

    if d.verdict is Verdict.NOT_COMPARABLE or d.seen is None:
        between = f"{d.b} and {d.a} are " if d.verdict is Verdict.NOT_COMPARABLE else ""
        return f"{between}{d.verdict}: {'; '.join(d.reasons)}"
    sure, margin = f"{_pairs(d)}, about {d.subject}", f"{100 * d.margin:g} points"
    found = _shown(d.seen)
    if d.verdict is Verdict.BETTER:
        return f"{d.b} is BETTER than {d.a} by {found}, {sure}"
    if d.verdict is Verdict.WORSE:
        return f"{d.b} is WORSE than {d.a} by {_shown(d.seen, sign=-1)}, {sure}"
    if d.verdict is Verdict.EQUIVALENT:
        return f"{d.b} is EQUIVALENT to {d.a} within {margin}: {found}, {sure}"
    return (
        f"UNDERPOWERED: {d.b} less {d.a} is {found}, {sure}; neither a difference nor that it is "
        f"within {margin} is shown"
    )


def _names(evaluation: "Evaluation", question: Question, path: Path) -> tuple[str, str]:
    """Name the reference and the run to come; refuse to decide a run against itself."""
    from vlabench.cli.verdicts import run_names
    from vlabench.record import Run

    if path.resolve() == question.path.resolve():
        raise RecordError(
            f"{path} is the run to decide against and where the new run would be written; choose "
            "another --out"
        )
    to_come = Run(header=evaluation.header, episodes=())
    first, second = run_names([question.path, path], [question.reference, to_come])
    return first, second


def _first_blocks(
    blocks: "tuple[tuple[EpisodeSpec, ...], ...]", question: Question
) -> "tuple[tuple[EpisodeSpec, ...], ...]":
    """Return as many blocks as may be run; refuse more looks than those."""
    size, most = len(blocks[0]), question.most
    if most is not None and most < size:
        raise typer.BadParameter(
            f"--max-episodes {most} is too few for a single look, which takes one initial state of "
            f"every task: {size} episodes"
        )
    blocks = blocks[: None if most is None else most // size]
    if question.looks and question.looks.count > len(blocks):
        raise typer.BadParameter(
            f"--looks {question.looks.count} is more than there are blocks, one initial state of "
            f"every task each: {len(blocks)} here, expected "
            + (f"2 to {len(blocks)}" if len(blocks) > 1 else "more episodes, or no --looks")
        )
    return blocks


def _leave(decision: "Decision", *, hang: bool) -> None:
    """Exit with 2 if not comparable, with 1 if the run broke off, else return."""
    from vlabench.metrics import Verdict

    sys.stdout.flush()
    if hang:
        os._exit(1)  # a thread that hangs would keep the process
    if decision.verdict is Verdict.NOT_COMPARABLE:
        sys.exit(2)
    if not decision.settled:
        print(
            "vlabench: stopped undecided: nothing but errors came back. Run the same command again "
            "when the reason is gone; --retry-errors runs the errors again",
            file=sys.stderr,
        )
        sys.exit(1)


def _print(decision: "Decision", path: Path, planned: int, *, as_json: bool) -> None:
    """Print the verdict first, then the numbers behind it."""
    from vlabench.cli.tables import console

    said = sentence(decision)
    if as_json:
        content = {"sentence": said, **asdict(decision), "planned": planned, "path": str(path)}
        print_json(content)
        return
    lines = [said]
    if decision.seen is not None:
        lines += _explanations(decision, decision.seen, planned)
    lines += [f"note: {note}" for note in decision.notes]
    if decision.recorded:
        lines.append(str(path))
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True, markup=False)


def _explanations(d: "Decision", seen: "Seen", planned: int) -> list[str]:
    from vlabench.metrics.wording import points_text

    pairs, difference = seen.pairs, seen.difference
    lines = [
        f"A = {d.a}: {_rate(seen.rate_a)}",
        f"B = {d.b}: {_rate(seen.rate_b)}",
        f"pairs: {pairs.both} both, {pairs.only_a} A alone, {pairs.only_b} B alone, "
        f"{pairs.neither} neither",
        f"{d.verdict}: {'; '.join(d.reasons)}",
        f"decided by: {difference.method}, {points_text(difference)} as found, "
        f"{difference.question}; margin {100 * d.margin:g} points; {_looks(d)}",
        *_correction(seen),
        f"took {difference.n} of the plan's {planned} pairs; a comparison of fixed size takes all "
        f"{planned}",
    ]
    if d.surplus:
        lines.append(
            f"{d.surplus} more episodes had been begun: they are recorded and do not count"
        )
    if seen.bounds:
        low, high = (100 * value for value in seen.bounds)
        lines.append(
            f"errors are left out; counted against B the difference would be {low:+.1f} points, "
            f"counted for B {high:+.1f}"
        )
    return [*lines, *_advice(d, seen, planned)]


def _correction(seen: "Seen") -> list[str]:
    """Say what the corrected difference is corrected for, and what it is not."""
    if seen.corrected is None:
        return []
    return [
        f"corrected: {seen.corrected.method}; over all runs, however they end, as often too high "
        "as too low. Of those alone that end early, or say BETTER, the mean is still too far from 0"
    ]


def _looks(d: "Decision") -> str:
    if not d.planned_looks:
        return f"{d.looks} looks, one after every {d.size} pairs"
    after = ", ".join(map(str, d.planned_looks))
    return f"look {d.looks} of {len(d.planned_looks)}, which come after {after} pairs"


def _advice(d: "Decision", seen: "Seen", planned: int) -> list[str]:
    """Say what else can be done with the run."""
    from vlabench.metrics import Verdict
    from vlabench.metrics.power import pairs_needed

    lines = []
    if d.verdict is Verdict.UNDERPOWERED:
        apart = (seen.pairs.only_a + seen.pairs.only_b + 1) / (seen.pairs.n + 2)
        try:
            needed = pairs_needed(d.margin, max(apart, d.margin), power=_POWER)
        except ValueError:  # more than ten million
            needed = None
        if needed is not None:
            lines.append(
                f"a comparison of fixed size needs about {needed} pairs to tell "
                f"{100 * d.margin:g} points from 0 with {_POWER:.0%} power"
            )
    if d.recorded < planned:
        lines.append(
            "`vlabench compare` takes whole runs only: the same command without --until-decided "
            "and its options finishes this one. A second verdict is a second chance to err: keep "
            "to the first"
        )
    return lines


def _pairs(d: "Decision") -> str:
    n = d.seen.difference.n if d.seen else 0
    return f"n = {n} of at most {d.most} pairs"


def _rate(rate: "Estimate") -> str:
    return f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of n = {rate.n}"


def _shown(seen: "Seen", *, sign: int = 1) -> str:
    """Write the difference: corrected where it can be, with what was found beside it."""
    from vlabench.metrics.wording import points_text

    if seen.corrected is None:
        return points_text(seen.difference, sign=sign)
    text = points_text(seen.corrected, sign=sign)
    return f"{text}, corrected for stopping ({100 * sign * seen.difference.value:.1f} as found)"
