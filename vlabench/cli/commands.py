"""All commands, in one `typer` application."""

import typer

from vlabench.cli import (
    benching,
    comparing,
    demos,
    gate,
    info,
    ingest,
    inspection,
    profile,
    report,
    running,
    stability,
    sweep,
    training,
)

app = typer.Typer(
    name="vlabench",
    help="Run robot-policy benchmarks so that every episode can be run again.",
    epilog="Exit status: 0 done, 1 ran but some episodes are errors, 2 asked for something "
    "impossible (nothing was started), 3 broke off because nothing more could be written, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
running.register(app)
inspection.register(app)
comparing.register(app)
stability.register(app)
profile.register(app)
sweep.register(app)
gate.register(app)
report.register(app)
ingest.register(app)
info.register(app)
benching.register(app)
demos.register(app)
training.register(app)
