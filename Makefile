.PHONY: setup demo test check gate reports format bench fuzz mutants wheel-test clean

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

fuzz: setup  ## before a release: every property test on 30 times as many examples, and others; about 5 minutes
	.venv/bin/pytest -q -n 2 --dist worksteal -p no:benchmark --ignore=tests/benchmarks -m hypothesis --hypothesis-profile=fuzz

MUTANTS = 100
SEED = 0
mutants: setup  ## changes that no test notices; WHERE= says in which files and folders
	.venv/bin/python scripts/mutants --number $(MUTANTS) --seed $(SEED) $(WHERE)

wheel-test: setup  ## the wheel, installed elsewhere and run away from here
	@scripts/wheel-test

clean:  ## all that is made here, but for .venv and results
	rm -rf build dist demo .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
