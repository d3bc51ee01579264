.PHONY: setup demo test check gate reports format bench wheel-test clean

setup:  ## fill .venv and install what drawing needs; does nothing where nothing is missing
	@scripts/setup

demo: setup  ## real LIBERO and Meta-World, under 3 minutes; everything goes to demo/
	@scripts/demo

test: setup  ## everything but the benchmarks
	@scripts/setup tests
	.venv/bin/pytest -q -n 2 --dist loadscope --no-loadscope-reorder -p no:benchmark --ignore=tests/benchmarks

check: setup  ## never modifies
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

gate: setup  ## this code against results/gate; 1 regression, 2 underpowered, 3 not comparable
	@scripts/gate

reports: setup  ## reports/ anew from results/; `git diff --exit-code reports/` says whether it was up to date
	rm -rf reports/figures reports/tables
	.venv/bin/vlabench report reports/report.toml --out reports --formats md,html,tex,csv,png

format: setup
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

bench: setup  ## how fast: the simulators alone, and with the harness; about 5 minutes
	.venv/bin/pytest -q tests/benchmarks

wheel-test: setup  ## the wheel, installed elsewhere and run away from here
	@scripts/wheel-test

clean:  ## all that is made here, but for .venv and results
	rm -rf build dist demo .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
