# The targets a newcomer needs: reproduce and test.  All make .venv first if it is not there.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help reproduce test test-all lint site report gpu benchmark benchmark-training clean
help:  ## what can be made here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 22

.venv/installed: pyproject.toml
	@echo "installing into .venv (torch is large: a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

reproduce: .venv/installed  ## run all notebooks on a small data set (about a minute)
	@$(RUN) -m replication reproduce --profile smoke

test: .venv/installed  ## the test suite, notebooks included, without the tests that take minutes
	@$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow" $(PYTEST)

test-all: .venv/installed  ## the same, with the tests that take minutes; installs Ray for its own
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@$(RUN) -m pytest

lint: .venv/installed  ## format, lint, types and spelling, as in CI
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(RUN) -m codespell_lib

site: .venv/installed  ## build the documentation with executed notebooks, in site/
	@rm -rf site
	@$(RUN) docs/build.py

report: .venv/installed  ## rebuild tables, figures and pages from the records
	@$(RUN) -m replication report

DATA ?= data
OUT ?= out
LIMIT ?= 480
UPTO ?= I
OPTIONS := import json, sys; options = json.load(open(sys.argv[1]))["sweep_options"]
OPTIONS += ; sys.exit("train nothing here: see the checks that failed") if options is None else print(*options)

gpu: $(OUT)/check.json  ## check a GPU once, run the plan on it for LIMIT seconds with images in DATA; what to keep is in OUT
	@options=$$($(RUN) -c '$(OPTIONS)' $(OUT)/check.json) && \
		$(RUN) -m replication sweep plan --upto $(UPTO) --data-root $(DATA) --time-limit $(LIMIT) --evaluate-every 10 \
		--journal $(OUT)/records.jsonl $$options || [ $$? -eq 3 ]
	@echo "bring home the files in $(OUT), then: python -m replication adopt $(OUT)/records.jsonl"

$(OUT)/check.json: | $(filter .venv/installed,$(RUN:/bin/python=/installed))
	@mkdir -p $(OUT)
	@$(RUN) -m replication check-gpu --out $@ || [ $$? -eq 1 ]

benchmark: .venv/installed  ## time the losses and the covering on this machine, write results/benchmarks.md
	@mkdir -p .benchmarks
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --target .benchmarks/site balanced-loss
	@GLIBC_TUNABLES=$$($(RUN) -c "from replication.__main__ import KEEP_MEMORY as k; print(k)") \
		PYTHONPATH=.benchmarks/site $(RUN) -m pytest tests/benchmarks -k "not training" --benchmark-enable \
		--benchmark-json=.benchmarks/losses.json
	@$(RUN) tests/benchmarks/write_benchmarks.py .benchmarks/losses.json results/benchmarks.md

benchmark-training: .venv/installed  ## time training on this machine, write results/benchmarks_training.md
	@mkdir -p .benchmarks
	@$(RUN) -m pytest tests/benchmarks/test_training_benchmark.py --benchmark-enable \
		--benchmark-json=.benchmarks/training.json
	@$(RUN) tests/benchmarks/write_training_benchmarks.py .benchmarks/training.json results/benchmarks_training.md

clean:  ## remove the virtual environment and the smoke profile's output
	rm -rf .venv results/smoke site
