# Each target first makes .venv and installs what is missing (tools/make_venv.py); once it is there, that
# costs a moment. PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the program that is run.

VENV_PYTHON := .venv/bin/python
ARGS ?=
TESTS ?= tests
PYTEST_ARGS ?=
JOBS ?= 2
export PYTHON

TABLE ?= coco
SHOTS ?= 30

.DEFAULT_GOAL := help
.PHONY: help demo app test lint format train-tiny reproduce gif clean venv-run venv-tests

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv-run ## the whole way on generated scenes: references, memory bank, segmentation, COCO score
	$(VENV_PYTHON) -m ntt_plugin.demo $(ARGS)

app: venv-run ## the demo dataset in the FiftyOne App
	$(VENV_PYTHON) -m ntt_plugin.demo.app $(ARGS)

test: venv-tests ## all tests, two at a time (JOBS=4); PYTEST_ARGS="--golden=FOLDER" adds the comparison with golden data
	HF_HUB_OFFLINE=1 $(VENV_PYTHON) -m pytest -n $(JOBS) --dist loadfile $(TESTS) $(PYTEST_ARGS)

lint: venv-tests ## ruff and mypy, changing nothing
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

format: venv-tests ## let ruff put the code in order
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

train-tiny: venv-run ## train the bundled networks anew (two hours on two CPU cores; goes on where it stopped)
	$(VENV_PYTHON) -m ntt_plugin.demo.train $(ARGS)

gif: venv-tests ## the moving picture of the README, from the real App (needs a Chromium)
	rm -rf .cache/gif
	HF_HUB_OFFLINE=1 $(VENV_PYTHON) -m pytest tests/e2e/test_review_loop.py --screenshots=.cache/gif
	$(VENV_PYTHON) docs/make_gif.py .cache/gif $(ARGS)

# With --dry-run make prints what it would do; the line with a plus is run all the same, and says it better.
reproduce: venv-run ## a published table on your machine: TABLE=coco, voc, cdfsod or lvis, SHOTS=30; --dry-run says what it takes
	+@$(VENV_PYTHON) -m benchmarks.published.reproduce --table $(TABLE) --shots $(SHOTS) $(if $(findstring n,$(firstword -$(MAKEFLAGS))),--dry-run) $(ARGS)

clean: ## remove what the targets made, but not .venv
	rm -rf build dist *.egg-info demo .cache .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

venv-run:
	@$(if $(PYTHON),$(PYTHON),python3) tools/make_venv.py run

venv-tests:
	@$(if $(PYTHON),$(PYTHON),python3) tools/make_venv.py tests
