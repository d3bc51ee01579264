"""Films of a report's episodes that nobody filmed while they ran: they are run again."""

from collections.abc import Generator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from vlabench.demos.collect import prepare_recorded
from vlabench.errors import RecordError, VlabenchError
from vlabench.record import Run
from vlabench.reports.episodes import film_path, spread
from vlabench.reports.model import Discordant, Report
from vlabench.store import read_run
from vlabench.verify import film_episode


def repeatable_episodes(report: Report) -> list[Discordant]:
    """Return the episodes of a report of which at least one side can be run again."""
    return [each for each in report.discordant if any(side.run for side in each.sides)]


def missing_films(report: Report, count: int) -> dict[Path, list[str]]:
    """Choose episodes to look at, and say which films of them are missing.

    The same report gives the same episodes, whether they have films or not.

    Args:
        report: Whose episodes, in which one of two runs succeeded alone.
        count: Of how many of them films are wanted; they are spread over all.

    Returns:
        Results files to the keys of episodes.
    """
    episodes = repeatable_episodes(report)
    missing: dict[Path, dict[str, None]] = {}
    for place in spread(len(episodes), count):
        for side in episodes[place].sides:
            if side.run and not side.video:
                missing.setdefault(Path(side.run), {})[episodes[place].key] = None
    return {path: list(keys) for path, keys in missing.items()}


def film_run(path: Path, keys: Sequence[str]) -> Generator[tuple[str, str]]:
    """Run episodes of a run again and keep films of them, where `vlabench run --video` does.

    A film is kept when it shows the recorded trajectory, to the last bit.

    Args:
        path: The results file.
        keys: Of the episodes.

    Yields:
        Each key, and in one line why there is no film; empty where there is one.

    Raises:
        RecordError: If the file or its folder cannot be read or written.
        VlabenchError: If the run cannot be prepared again here, or nothing can draw.
    """
    run = read_run(path)
    prepare_recorded(run.header).keeping(path, video="all")  # what fails here fails for every key
    try:
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            for key in keys:
                yield key, _film(run, key, path, Path(folder))
    except OSError as error:
        raise RecordError(f"cannot write beside {path}: {error.strerror}") from error


def _film(run: Run, key: str, path: Path, folder: Path) -> str:
    """Film one episode; return why there is no film of it."""
    target = film_path(path, next(r.episode for r in run.episodes if r.episode.key == key))
    film = folder / target.name
    try:
        difference = film_episode(run, key, film)
    except VlabenchError as error:
        return str(error).strip().splitlines()[-1]
    if difference.where:
        return f"not the recorded trajectory: {difference.where}"
    target.parent.mkdir(exist_ok=True)
    film.replace(target)
    return ""
