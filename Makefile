# Everything a user types. `make help` lists it.

# Values go to Python through the environment, with $(value …), so that neither make nor a shell reads the quotes and
# dollars in them; a recipe names them "$$…".
unexport EXP SET RUN JOB CLUSTER NODES NAME PARTITION ACCOUNT FORCE ALLOW MODEL REVISION
export URBANVLM_EXP := $(value EXP)
export URBANVLM_SET := $(value SET)
export URBANVLM_RUN := $(value RUN)
export URBANVLM_ALLOW := $(value ALLOW)
export URBANVLM_JOB_NAME := $(value JOB)
export URBANVLM_CLUSTER := $(or $(value CLUSTER),local)
export URBANVLM_NODES := $(or $(value NODES),2)
export URBANVLM_NAME := $(value NAME)
export URBANVLM_PARTITION := $(value PARTITION)
export URBANVLM_ACCOUNT := $(value ACCOUNT)
export URBANVLM_MODEL := $(value MODEL)
export URBANVLM_REVISION := $(value REVISION)
export TORCH PYTHON RUNTIME BASE_IMAGE BUILD_BASE_IMAGE

# An environment module's Python is another than .venv's, and without compiled modules every start takes three times as long.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE CDPATH

# As in an activated environment: DeepSpeed looks for ninja on PATH.
python := PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python
need = $(if $(value $(1)),,$(error make $@ needs $(1)=…, for example: make $@ $(1)=$(2)))

.PHONY: help submit plan status logs cancel requeue cluster-new preflight doctor fetch slurm-dev slurm-dev-stop report tensorboard test bench check venv image image-sif lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

submit: ## EXP=file.yaml [SET="key=value …"] [CLUSTER=local] [ALLOW="code …"]: run what is not finished of an experiment
	$(call need,EXP,experiments/demo.yaml)
	@containers/venv.sh
	@$(python) -m slurm submit "$$URBANVLM_EXP" --cluster "$$URBANVLM_CLUSTER" --set "$$URBANVLM_SET" \
		$(if $(value ALLOW),--allow="$$URBANVLM_ALLOW")

plan: ## EXP=file.yaml [SET=…] [CLUSTER=local] [ALLOW=…]: show what submit would do, touch nothing
	$(call need,EXP,experiments/demo.yaml)
	@containers/venv.sh
	@$(python) -m slurm plan "$$URBANVLM_EXP" --cluster "$$URBANVLM_CLUSTER" --set "$$URBANVLM_SET" \
		$(if $(value ALLOW),--allow="$$URBANVLM_ALLOW")

status: ## [RUN=id]: every run in one table, or every job of one run
	@containers/venv.sh
	@$(python) -m slurm status $(if $(value RUN),"$$URBANVLM_RUN")

logs: ## RUN=id [JOB=train-llava]: the newest log lines of every job of a run, or of one
	$(call need,RUN,demo)
	@containers/venv.sh
	@$(python) -m slurm logs "$$URBANVLM_RUN" $(if $(value JOB),--job="$$URBANVLM_JOB_NAME")

cancel: ## RUN=id: end what is at work or waits of a run; it can go on later
	$(call need,RUN,demo)
	@containers/venv.sh
	@$(python) -m slurm cancel "$$URBANVLM_RUN"

requeue: ## RUN=id [CLUSTER=…]: have Slurm start the jobs of a run again, failed and cancelled ones too
	$(call need,RUN,demo)
	@containers/venv.sh
	@$(python) -m slurm requeue "$$URBANVLM_RUN" $(if $(value CLUSTER),--cluster="$$URBANVLM_CLUSTER")

cluster-new: ## NAME=x [PARTITION=p] [ACCOUNT=a] [FORCE=1]: write a profile of this cluster by asking Slurm
	$(call need,NAME,mysite)
	@containers/venv.sh
	@$(python) -m slurm cluster-new "$$URBANVLM_NAME" --partition="$$URBANVLM_PARTITION" \
		--account="$$URBANVLM_ACCOUNT" $(if $(value FORCE),--force)

preflight: ## CLUSTER=name [NODES=2]: a job that only looks at nodes: shared folder, clocks, versions, GPUs, network
	$(call need,CLUSTER,slurm-dev)
	@containers/venv.sh
	@$(python) -m slurm preflight --cluster "$$URBANVLM_CLUSTER" --nodes "$$URBANVLM_NODES"

doctor: ## [CLUSTER=name]: packages, GPUs, disks: what is wrong here, or in that profile's container on this machine
	@containers/venv.sh
	@$(python) -m $(if $(value CLUSTER),slurm doctor --cluster "$$URBANVLM_CLUSTER",urbanvlm doctor)

fetch: ## MODEL=org/name [REVISION=…] or EXP=file.yaml: download checkpoints of the hub, because jobs don't
	$(if $(value EXP),,$(call need,MODEL,llava-hf/llava-1.5-7b-hf))
	@containers/venv.sh
	@$(python) -m urbanvlm fetch $(if $(value EXP),--experiment="$$URBANVLM_EXP") \
		$(if $(value REVISION),--revision="$$URBANVLM_REVISION") $(if $(value MODEL),-- "$$URBANVLM_MODEL")

slurm-dev: ## start a real Slurm of four nodes on this machine (as root; installs it from the distribution if it has to)
	@containers/venv.sh
	@$(python) -m slurm.dev install
	@$(python) -m slurm.dev start

slurm-dev-stop: ## end its jobs and its daemons; `make slurm-dev` starts it again
	@containers/venv.sh
	@$(python) -m slurm.dev stop

report: ## RUN="a [b c]": a run's report anew from its predictions, or several runs side by side
	$(call need,RUN,demo)
	@containers/venv.sh
	@$(python) -m urbanvlm report -- "$$URBANVLM_RUN"

tensorboard: ## [RUN=id]: TensorBoard over one run, or over all
	@containers/venv.sh
	@folder=$$URBANVLM_RUN; [ -d "$$folder" ] || folder=runs/$$URBANVLM_RUN; \
	[ -d "$$folder" ] || { echo "$$folder: no such folder; make status lists the runs" >&2; exit 2; }; \
	$(python) -m tensorboard.main --logdir "$$folder"

test: ## the test suite
	@containers/venv.sh dev
	@$(python) -m pytest

bench: ## small runs of the benchmarks: speed and memory of scoring and validating, coverage of the intervals
	@containers/venv.sh
	@$(python) tests/bench/score.py 100000
	@$(python) tests/bench/validate.py 100000
	@$(python) tests/bench/coverage.py --runs 100 --every 7

check: ## format, lint, types, shell scripts, the Dockerfile, links of the documents
	@containers/venv.sh dev
	@$(python) -m ruff format --check --quiet .
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy
	@.venv/bin/hadolint containers/Dockerfile
	@.venv/bin/shellcheck --external-sources --source-path=SCRIPTDIR .ci/* containers/*.sh slurm/*.sh slurm/dev/*.sh
	@$(python) -m pytest -q tests/test_links.py

venv: ## [TORCH=cpu|cuda] [PYTHON=python3]: make .venv from the locks (every target does it when it has to)
	@containers/venv.sh

image: ## [TORCH=cuda] [RUNTIME=apptainer|podman|docker] [BASE_IMAGE=…] [BUILD_BASE_IMAGE=…]: build the container image of the locks
	@containers/image.sh build

image-sif: ## [TORCH=cuda] [RUNTIME=podman|docker]: a file for apptainer from what podman or docker has built
	@containers/image.sh convert

lock: ## make the locks from containers/*.in again
	@containers/lock.sh

clean: ## remove the virtual environment and caches; runs/ stays
	rm -rf .venv .venv.old .venv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find slurm urbanvlm tests -name __pycache__ -prune -exec rm -rf {} +
