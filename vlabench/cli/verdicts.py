"""What compare and power print."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from vlabench.cli.output import print_json
from vlabench.cli.tables import console, one_line, print_rows
from vlabench.metrics import Comparison, Estimate, Evidence, group_letters
from vlabench.metrics.comparison import Effect, Pairs
from vlabench.metrics.power import Question, Way, detectable, needs
from vlabench.metrics.wording import p_text, rate_text, sentence
from vlabench.record import Run
from vlabench.table import FEW_TASKS, Results

_MOST = 5
"""Tasks that are named where there are too many to list."""


def run_names(paths: Sequence[Path], runs: Sequence[Run | Results]) -> list[str]:
    """Name runs for people: by policy, by file too where two have one, then by place."""
    names = [run.header.policy_id for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({path.stem})" for name, path in zip(names, paths, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} #{place}" for place, name in enumerate(names, start=1)]
    return names


def print_comparisons(
    found: Sequence[Comparison], *, as_json: bool, all_tasks: bool = False
) -> None:
    """Print the verdict, then the numbers behind it; tasks where they are few, or asked for."""
    letters = group_letters(found)
    if as_json:
        rows = [{"sentence": sentence(c), **asdict(c)} for c in found]
        print_json({"comparisons": rows, "letters": letters})
        return
    if len(found) == 1:
        _print_one(found[0], all_tasks=all_tasks)
        return
    _print_many(found, letters)


def print_power(
    question: Question, episodes: int | None, *, looked: Sequence[Way] = (), as_json: bool
) -> None:
    """Print how many episodes each way of comparing needs, and what a number of them shows."""
    found = needs(question)
    shown = None if episodes is None else _detectable(question, episodes)
    if as_json:
        rows = [asdict(need) for need in found]
        content = {**asdict(question), "needs": rows, "detectable": shown}
        designs = {"designs": [asdict(way) for way in looked]} if looked else {}
        print_json(content | designs)
        return
    out = console()
    a, b, chance = question.rate, question.rate + question.effect, question.power
    out.print(
        f"{found[0].episodes} episodes of each run, the same ones, tell {b:.1%} from {a:.1%} with "
        f"{chance:.0%} power at 95 % confidence ({found[0].design}); {found[-1].episodes} without "
        "pairs",
        soft_wrap=True,
    )
    print_rows([
        {
            "design": need.design,
            "discordance": "-" if need.discordance is None else f"{need.discordance:.1%}",
            "episodes of each run": need.episodes,
        }
        for need in found
    ])  # fmt: skip
    if shown is not None:
        gains = ", ".join(
            f"{'none' if gain is None else f'{100 * gain:.1f} points'} {how}"
            for how, gain in shown.items()
        )
        out.print(f"{episodes} episodes of each run show a gain over {a:.1%} of: {gains}")
    if looked:
        _print_ways(looked, question)
    out.print(
        "`vlabench compare` prints the discordance of two runs: episodes where one succeeds alone"
    )


def _print_ways(looked: Sequence[Way], question: Question) -> None:
    """Tabulate what looking before the end gains and costs."""
    out = console()
    out.print(
        f"at most {looked[0].most} pairs, {question.effect:+.1%} from {question.rate:.1%}, "
        "when `vlabench run --until-decided` may stop before:",
        soft_wrap=True,
    )
    print_rows([
        {
            "looks": way.design,
            "power": f"{way.power:.1%}",
            "pairs, if so": f"{way.pairs:.0f}",
            "pairs, if no difference": f"{way.pairs_without:.0f}",
            "most": way.most,
            "wrong, if no difference": f"{way.wrong:.1%}",
        }
        for way in looked
    ])  # fmt: skip
    out.print(
        "exact for independent pairs of one task; looks: --looks K, --spending, or neither; pairs "
        "are means",
        soft_wrap=True,
    )


def _detectable(question: Question, n: int) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for how, paired in (("paired", True), ("unpaired", False)):
        try:
            found[how] = detectable(
                n,
                question.rate,
                discordance=question.discordance,
                paired=paired,
                power=question.power,
            )
        except ValueError:  # no gain is large enough
            found[how] = None
    return found


def _print_one(c: Comparison, *, all_tasks: bool) -> None:
    out = console()
    out.print(one_line(sentence(c)), soft_wrap=True)
    lines = [f"note: {note}" for note in c.notes]
    if c.evidence is not None:
        shown = all_tasks or len(c.evidence.tasks) <= FEW_TASKS
        out.print(_effects(c.evidence, tasks=c.evidence.tasks if shown else ()))
        if not shown:
            out.print(_worst(c.evidence.tasks), soft_wrap=True, markup=False)
        lines = _explanations(c, c.evidence) + lines
    for line in lines:
        out.print(one_line(line), soft_wrap=True)


def _worst(tasks: Sequence[Effect]) -> str:
    """Say how many tasks differ, where they are too many to list."""
    apart = [task for task in tasks if task.p_adjusted < 0.05]
    named = ", ".join(task.name for task in apart[:_MOST])
    more = f" and {len(apart) - _MOST} more" if len(apart) > _MOST else ""
    told = f"{named}{more} differ" if apart else "none alone differs"
    return f"{len(tasks)} tasks, of which after Holm {told}; --tasks lists them"


def _effects(e: Evidence, *, tasks: Sequence[Effect]) -> Table:
    """Tabulate groups of tasks, tasks, then the suite under its questions."""
    names = ("A alone", "B alone") if e.pairs else ()
    table = Table(
        "task", "n", "A", "B", *names, "B - A, points", "95 % interval", "p", "p, Holm",
        box=None, pad_edge=False,
    )  # fmt: skip
    for effects in (e.groups, tasks):
        for each in effects:
            table.add_row(
                one_line(each.name), str(each.difference.n),
                rate_text(each.rate_a), rate_text(each.rate_b),
                *_alone(each.pairs), *_cells(each.difference),
                p_text(each.p_value), p_text(each.p_adjusted),
            )  # fmt: skip
        table.add_section()
    rates = (rate_text(e.rate_a), rate_text(e.rate_b), *_alone(e.pairs))
    for name, difference in (
        ("trainings like these" if e.checkpoints else "these tasks", e.difference),
        ("these checkpoints", e.checkpoints),
        ("new tasks like these", e.new_tasks),
    ):
        if difference:
            p_value = p_text(e.p_value) if difference is e.difference else ""
            cells = _cells(difference)
            # Of what the rates are about, the row of these checkpoints says; others have none.
            about = rates if difference is (e.checkpoints or e.difference) else [""] * len(rates)
            table.add_row(f"all, {name}", str(difference.n), *about, *cells, p_value, "")
    return table


def _explanations(c: Comparison, e: Evidence) -> list[str]:
    return [
        f"A = {c.a}: {_rate(e.rate_a)}",
        f"B = {c.b}: {_rate(e.rate_b)}",
        f"{c.verdict}: " + "; ".join(c.reasons),
        f"decided by: {e.difference.method}, {e.difference.question}; {e.test}; margin "
        f"{100 * c.margin:g} points",
    ]


def _print_many(found: Sequence[Comparison], letters: dict[str, str]) -> None:
    out = console()
    known = [(c, c.evidence) for c in found if c.evidence]
    rates = {c.a: e.rate_a for c, e in known} | {c.b: e.rate_b for c, e in known}
    if letters:
        best, *rest = letters
        alike = [name for name in rest if set(letters[name]) & set(letters[best])]
        with_it = (
            f"not told apart from {', '.join(alike)}" if alike else "told apart from all others"
        )
        out.print(f"best: {best}, {_rate(rates[best])}; {with_it}", soft_wrap=True, markup=False)
        print_rows([
            {"run": name, "letters": letters[name], "success": _rate(rates[name])}
            for name in letters
        ])  # fmt: skip
        out.print("runs that share a letter were not told apart: neither is BETTER, p after Holm")
    for c in found:
        out.print(one_line(sentence(c)), soft_wrap=True)
    for note in dict.fromkeys(note for c in found for note in c.notes):
        out.print(one_line(f"note: {note}"), soft_wrap=True)


def _rate(rate: Estimate) -> str:
    return f"{rate_text(rate)} of n = {rate.n}"


def _cells(difference: Estimate) -> tuple[str, str]:
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:+.1f}", f"{low:+.1f} to {high:+.1f}"


def _alone(pairs: Pairs | None) -> tuple[str, ...]:
    return (str(pairs.only_a), str(pairs.only_b)) if pairs else ()
