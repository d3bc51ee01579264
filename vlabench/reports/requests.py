"""What a report is to be of: named on the command line, or in a file that can be kept.

    title = "Results"

    [[methods]]
    name = "SFT"
    runs = ["../results/libero/sft/*.jsonl"]

    [[papers]]
    published = "vla-rl-table-1"
    suite = "libero"
    methods = ["SFT"]
    columns = { "Spatial" = "libero-spatial/*", "Avg" = "*" }
    same = { "SFT" = "OpenVLA" }

Paths are relative to the file; a file's name may be a glob.
"""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from vlabench.errors import RecordError, SettingError, UnknownNameError
from vlabench.metrics.comparison import Rules
from vlabench.metrics.counts import OnError
from vlabench.metrics.curves import Curve
from vlabench.recipe import fill
from vlabench.record import UNKNOWN
from vlabench.reports.boards import Board, make_boards
from vlabench.reports.building import Request, build_report
from vlabench.reports.logs import read_curve
from vlabench.reports.model import Report, Section
from vlabench.reports.papers import Paper, paper_section, published_section
from vlabench.reports.published import PublishedTable, find_published, repeated
from vlabench.store import read_all
from vlabench.table import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFiles:
    """A row of tables.

    Attributes:
        name: For people.
        runs: Results files; one for each training of the method.
        aside: Whether it is no contender; see `boards.Method`.
        papers_only: Whether it is in papers' tables alone.
    """

    name: str
    runs: tuple[str, ...] = ()
    aside: bool = False
    papers_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFiles:
    """A paper's table, with rows of ours where it names a suite.

    Attributes:
        published: Name of a file in `results/published`, without its ending.
        suite: Where ours were measured; empty for the published rows alone.
        methods: Names of ours, in order; all that ran there where none is named.
        columns: The published table's column to our tasks: globs over task ids, by commas.
        steps: Ours are of one training: what stands in the first column to the method's name.
        same: Name of a method of ours to that of the published row that it is; rows of its own
            name need no such line.
        note: What has to be said about ours.
    """

    published: str
    suite: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    steps: dict[str, str] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        ours = [name for name in ("columns", "methods", "steps", "same") if getattr(self, name)]
        if ours and not self.suite:
            raise ValueError(
                f"{self.published!r} has {', '.join(ours)} and no suite; expected the suite that "
                "ours were measured on, or none of these for published rows alone"
            )
        if self.suite and not self.columns:
            raise ValueError(
                f"{self.published!r} has suite {self.suite!r} and no columns; expected which tasks "
                "of it belong to each published column"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFiles:
    """A sweep: runs of one policy on one plan, with other settings.

    Attributes:
        name: For people.
        runs: Results files.
    """

    name: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFiles:
    """Trainings that learn one thing.

    Attributes:
        name: Of what they learn, for people.
        curves: A method to the logs of its trainings, the reference first.
    """

    name: str
    curves: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError(f"{self.name!r} names no method; expected at least one and its logs")
        if not all(self.curves.values()):
            raise ValueError(f"{self.name!r} has a method without a log; expected one or more each")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report's file.

    Attributes:
        title: Of the report.
        methods: Rows of its tables, the reference first.
        sweeps: What success does along a setting.
        trainings: What success does along trainings.
        papers: Tables of papers.
        published: Folder of the published numbers.
        groups: Of tasks; see `boards.make_boards`. Empty for those before the slash of their ids.
        margin: A difference that is none, in points.
        on_error: What episodes that broke count as.
    """

    title: str
    methods: tuple[MethodFiles, ...]
    sweeps: tuple[SweepFiles, ...] = ()
    trainings: tuple[TrainingFiles, ...] = ()
    papers: tuple[PaperFiles, ...] = ()
    published: str = "results/published"
    groups: dict[str, str] = field(default_factory=dict)
    margin: float = 3.0
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 100:  # nan, which TOML has, is between no two numbers
            raise ValueError(
                f"margin is {self.margin:g}, expected more than 0 and less than 100 points"
            )
        parts = {
            "methods": [each.name for each in self.methods],
            "sweeps": [each.name for each in self.sweeps],
            "trainings": [each.name for each in self.trainings],
            "papers": [each.published for each in self.papers],
        }
        for part, names in parts.items():
            if twice := repeated(names):
                raise ValueError(
                    f"[[{part}]] has {twice!r} twice; expected each name once, with all that "
                    "belongs to it"
                )


def read_report_file(path: Path) -> ReportFile:
    """Read a report's file.

    Raises:
        SettingError: If it is missing, is not TOML, or says something else than it should.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    return fill(ReportFile, values, str(path))


def request_of_file(found: ReportFile, folder: Path, rules: Rules | None = None) -> Request:
    """Read what a report's file names.

    Args:
        found: The file's content.
        folder: What its paths are relative to.
        rules: How runs are compared; the file's own where None.

    Raises:
        RecordError: If a run or a log is missing or cannot be read.
    """
    if rules is None:
        rules = Rules(margin=found.margin / 100, on_error=found.on_error)
    runs = {m.name: read_all(_paths(folder, m.runs)) for m in found.methods}
    trainings = {
        t.name: {m: [read_curve(p) for p in _paths(folder, logs)] for m, logs in t.curves.items()}
        for t in found.trainings
    }
    return Request(
        title=found.title,
        runs={name: each for name, each in runs.items() if each},
        groups=found.groups or None,
        trainings=trainings,
        sweeps={s.name: read_all(_paths(folder, s.runs)) for s in found.sweeps},
        rules=rules,
        aside=tuple(method.name for method in found.methods if method.aside),
        papers_only=tuple(method.name for method in found.methods if method.papers_only),
    )


def request_of_arguments(
    arguments: Sequence[str],
    curves: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    *,
    title: str,
    rules: Rules,
) -> Request:
    """Read what a command line names; for its runs see `runs_of_arguments`.

    Raises:
        RecordError: If a file is missing or cannot be read, or a folder holds no results.
    """
    runs = runs_of_arguments(arguments)
    found: dict[str, list[Curve]] = {}
    for argument in curves:
        name, path = split_name(argument)
        found.setdefault(name or path.parent.name or str(path), []).append(read_curve(path))
    swept: dict[str, list[Results]] = {}
    for argument in sweeps:
        name, path = split_name(argument)
        files = read_all(results_files(path))
        swept.setdefault(name or path.stem, []).extend(files)
    trainings = {"success": found} if found else {}
    return Request(title=title, runs=runs, trainings=trainings, sweeps=swept, rules=rules)


def runs_of_arguments(
    arguments: Sequence[str], *, alike: Collection[str] = ()
) -> dict[str, list[Results]]:
    """Read the runs that a command line names: `FILE`, `FOLDER`, `NAME=FILE` or `NAME=FOLDER`.

    A run without a name gets its policy's, and its settings where runs of one policy differ in
    them; its file's, where an ingested run does not name its policy. Several runs with one name are
    trainings of one method.

    Args:
        arguments: Of the command line.
        alike: Settings that no such name says, since trainings of one method differ in them.

    Raises:
        RecordError: If a file is missing or cannot be read, or a folder holds no results.
    """
    given = [
        (name, file) for name, path in map(split_name, arguments) for file in results_files(path)
    ]
    read = read_all([file for _, file in given])
    named = [(name, run) for (name, _), run in zip(given, read, strict=True)]
    names = _default_names([run for name, run in named if not name], alike)
    runs: dict[str, list[Results]] = {}
    for name, run in named:
        runs.setdefault(name or next(names), []).append(run)
    return runs


def results_files(path: Path) -> list[Path]:
    """Return a results file, or all in a folder, those of videos and actions left out.

    Raises:
        RecordError: If there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*.jsonl")) if path.is_dir() else []
    if not found:
        what = "holds no results file (*.jsonl)" if path.is_dir() else "is no file and no folder"
        raise RecordError(f"{path} {what}")
    return found


def split_name(argument: str) -> tuple[str, Path]:
    """Take a name off a path; a path that is there is one, whatever is in it."""
    name, equals, rest = argument.partition("=")
    if not equals or Path(argument).exists():
        return "", Path(argument)
    return name.strip(), Path(rest)


def _default_names(runs: Sequence[Results], alike: Collection[str]) -> Iterator[str]:
    """Name runs for people: by policy, and by the settings in which runs of it differ."""
    policies: dict[str, list[Mapping[str, str]]] = {}
    for run in runs:
        policies.setdefault(run.header.policy_id, []).append(run.header.settings)
    for run in runs:
        settings = policies[run.header.policy_id]
        keys = sorted({key for each in settings for key in each} - set(alike))
        differing = [k for k in keys if len({each.get(k) for each in settings}) > 1]
        shown = [f"{k}={run.header.settings[k]}" for k in differing if k in run.header.settings]
        yield " ".join([run.header.policy_id, *shown, *_file(run, runs)])


def _file(run: Results, runs: Sequence[Results]) -> list[str]:
    """Tell runs of unknown policies, which may be any two, apart by as much of their paths."""
    strangers = [r for r in runs if r.header.ingested and r.header.policy_id == UNKNOWN]
    if run not in strangers or run.path is None:
        return []
    alike = [r for r in strangers if r.path and r.path.stem == run.path.stem]
    number = f" #{alike.index(run) + 1}" if len(alike) > 1 else ""
    return [f"({run.path.stem}{number})"]


def _paths(folder: Path, patterns: Sequence[str]) -> list[Path]:
    found = list[Path]()
    for pattern in patterns:
        path = Path(normpath(folder / pattern))
        globbed = any(sign in path.name for sign in "*?[")
        files = sorted(path.parent.glob(path.name)) if globbed else [path]
        if not files:
            raise RecordError(f"no file matches {path}")
        found += files
    return found


def report_of_file(path: Path) -> Report:
    """Build the report that a file asks for; raises what `parts_of_file` does."""
    return build_report(*parts_of_file(path))


def parts_of_file(path: Path) -> tuple[Request, list[Section]]:
    """Read the report that a file asks for: what it is of, and the sections of its papers.

    Raises:
        SettingError: If the file says something else than it should.
        RecordError: If a run, a log or a published table is missing or cannot be read.
    """
    found = read_report_file(path)
    request = request_of_file(found, path.parent)
    boards = make_boards(request.runs, request.groups, request.aside)
    tables = find_published(Path(normpath(path.parent / found.published))) if found.papers else {}
    for paper in found.papers:
        if paper.published not in tables:
            raise UnknownNameError("published table", paper.published, tables)
    sections = [
        paper_section(_paper(paper, tables, boards, str(path)), request.rules.on_error)
        if paper.suite
        else published_section(tables[paper.published], paper.note)
        for paper in found.papers
    ]
    return request, sections


def _paper(
    wanted: PaperFiles, tables: Mapping[str, PublishedTable], boards: Sequence[Board], where: str
) -> Paper:
    here = [b for b in boards if b.where.startswith(f"{wanted.suite} v")]
    if not here:
        raise SettingError(f"{where}: no method has a run on suite {wanted.suite!r}")
    names = wanted.methods or tuple(wanted.steps.values()) or [m.name for m in here[0].methods]
    methods = []
    for name in names:
        places = [(board, m) for board in here for m in board.methods if m.name == name]
        if not places:
            known = ", ".join(m.name for board in here for m in board.methods)
            raise SettingError(
                f"{where}: {wanted.published} names method {name!r}, which has no run on "
                f"{wanted.suite!r}; known: {known}"
            )
        methods.append(places[0])
    if len({board.id for board, _ in methods}) > 1:
        raise SettingError(f"{where}: {wanted.published} mixes protocols of {wanted.suite!r}")
    return Paper(
        published=tables[wanted.published],
        board=methods[0][0],
        columns=wanted.columns,
        methods=[method for _, method in methods],
        steps=wanted.steps,
        same=wanted.same,
        note=wanted.note,
    )
