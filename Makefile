# Two commands for a newcomer: make demo, make test. Everything happens in .venv.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-all sweeps check format docs clean

demo: .venv/.installed  ## the main job on a rendered shop, without GPU or network: about ten minutes on two slow cores
	rm -rf demo
	$(BIN)/unidiff sample-catalog demo/shop
	$(BIN)/unidiff -C demo/project prepare demo/shop --recipe fashion
	$(BIN)/unidiff -C demo/project train --recipe fashion --base nano
	$(BIN)/unidiff -C demo/project generate "red dress" --seed 0
	$(BIN)/unidiff -C demo/project retrieve "$$(ls demo/shop/images/*.jpg | head -1)" -k 5 --sheet demo/like-this.png
	$(BIN)/unidiff -C demo/project retrieve "red dress" -k 5 --sheet demo/red-dress.png
	$(BIN)/unidiff -C demo/project evaluate
	@echo
	@echo "Look at:"
	@ls demo/project/report/report.html demo/project/outputs/*/sheet.png demo/*.png demo/project/runs/*/previews/*.png demo/project/shards/report.html
	@echo
	@echo "Search the shop in a browser, at http://127.0.0.1:8000:"
	@echo "$(BIN)/pip install -e '.[serve]' && $(BIN)/unidiff -C demo/project serve"

test: .venv/.test  ## the tests, under twenty minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/.test  ## the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=3600

sweeps: .venv/.test  ## a hundred signals at random moments of each stage: three hours; nothing may run beside it
	UNIDIFF_SWEEP=100 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -k many_signals tests/faults/test_signals.py

check: .venv/.dev  ## lint, format, types, contracts of imports, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.dev  ## write the pages that the code determines
	$(BIN)/python docs/generate.py

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/.installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.test: .venv/.installed
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

.venv/.dev: .venv/.test
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv demo build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
