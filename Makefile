# Everything a user types. `make help` lists it.

# Values go to Python through the environment, with $(value …), so that neither make nor a shell reads the quotes and
# dollars in them; a recipe names them "$$…".
unexport EXP SET RUN CLUSTER
export URBANVLM_EXP := $(value EXP)
export URBANVLM_SET := $(value SET)
export URBANVLM_RUN := $(value RUN)
export URBANVLM_CLUSTER := $(or $(value CLUSTER),local)
export TORCH PYTHON

# As in an activated environment: DeepSpeed looks for ninja on PATH.
python := PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python
need = $(if $(value $(1)),,$(error make $@ needs $(1)=…, for example: make $@ $(1)=$(2)))

.PHONY: help submit plan status logs tensorboard test check venv lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

submit: ## EXP=file.yaml [SET="key=value …"] [CLUSTER=local]: run what is not finished of an experiment
	$(call need,EXP,experiments/demo.yaml)
	@containers/venv.sh
	@$(python) -m slurm submit "$$URBANVLM_EXP" --cluster "$$URBANVLM_CLUSTER" --set "$$URBANVLM_SET"

plan: ## EXP=file.yaml [SET=…] [CLUSTER=local]: show what submit would do, touch nothing
	$(call need,EXP,experiments/demo.yaml)
	@containers/venv.sh
	@$(python) -m slurm plan "$$URBANVLM_EXP" --cluster "$$URBANVLM_CLUSTER" --set "$$URBANVLM_SET"

status: ## every run in one table
	@containers/venv.sh
	@$(python) -m slurm status

logs: ## RUN=id: the newest log lines of every job of a run
	$(call need,RUN,demo)
	@containers/venv.sh
	@$(python) -m slurm logs "$$URBANVLM_RUN"

tensorboard: ## [RUN=id]: TensorBoard over one run, or over all
	@containers/venv.sh
	@folder=$$URBANVLM_RUN; [ -d "$$folder" ] || folder=runs/$$URBANVLM_RUN; \
	[ -d "$$folder" ] || { echo "$$folder: no such folder; make status lists the runs" >&2; exit 2; }; \
	$(python) -m tensorboard.main --logdir "$$folder"

test: ## the test suite
	@containers/venv.sh dev
	@$(python) -m pytest

check: ## format, lint, types, links of the documents
	@containers/venv.sh dev
	@$(python) -m ruff format --check --quiet .
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy
	@$(python) -m pytest -q tests/test_links.py

venv: ## [TORCH=cpu|cuda] [PYTHON=python3]: make .venv from the locks (every target does it when it has to)
	@containers/venv.sh

lock: ## make the locks from containers/*.in again
	@containers/lock.sh

clean: ## remove the virtual environment and caches; runs/ stays
	rm -rf .venv .venv.old .venv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find slurm urbanvlm tests -name __pycache__ -prune -exec rm -rf {} +
