# Omma from a clone: `make run` serves, `make test` proves, `make help` lists the rest.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The first interpreter for which every locked wheel exists.
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c '$(SUITABLE)' 2> /dev/null && echo $$name && break; done)
LOCK   = cpu
HOST   =
PORT   =
CONFIG = $(if $(filter gpu,$(LOCK)),config/gpu.yaml)
ARGS   =

VENV  := .venv$(if $(filter gpu,$(LOCK)),-gpu)
SERVE  = $(if $(CONFIG),--config $(CONFIG)) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

# A stamp's name carries the hash of what it stands for: after a change it is a file that is missing.
stamp    = $(1)/.omma-$(2)-$(firstword $(shell sha256sum < $(3)))
LOCKED  := $(call stamp,$(VENV),$(LOCK),requirements/$(LOCK).txt)
TOOLS   := $(call stamp,.venv,dev,requirements/dev.txt)
PROJECT := $(call stamp,$(VENV),project,pyproject.toml)
BROKER  := $(call stamp,.venv-broker,broker,requirements/broker.txt)

.PHONY: help run dev test check bench docs lock clean models

help: ## say what each target does
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 13
	@echo
	@echo 'make run HOST=127.0.0.1 PORT=9000, or make run ARGS="--port 9000"'
	@echo 'make run LOCK=gpu serves on NVIDIA GPUs, with packages of its own in .venv-gpu'
	@echo 'make run PYTHON=/path/to/python3.12 names the interpreter'

run: models ## serve on 127.0.0.1:8000; Ctrl-C stops everything
	@exec $(VENV)/bin/omma up $(SERVE)

dev: $(TOOLS) models ## the same, deployed again whenever code or configuration changes
	@exec $(VENV)/bin/omma up --reload $(SERVE)

test: $(TOOLS) $(BROKER) models ## the whole suite: first what needs no cluster, then cluster and drill
	@failed=0; \
	.venv/bin/python -m pytest -m "not cluster and not drill" -n auto --maxprocesses 8 || failed=1; \
	.venv/bin/python -m pytest -m "cluster or drill" || failed=1; \
	exit $$failed

check: $(TOOLS) ## style, types, imports, spelling, dependencies
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/basedpyright
	.venv/bin/lint-imports
	.venv/bin/typos
	.venv/bin/deptry .

bench: $(TOOLS) models ## measure this machine: a table, and a JSON file
	@.venv/bin/python -m benchmarks $(ARGS)

docs: $(TOOLS) $(PROJECT) ## write the generated pages of docs/reference anew
	@.venv/bin/python -m docs.generate

COMPILE := .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --excludes requirements/excludes.txt --group build
lock: $(TOOLS) ## compile requirements/*.txt from pyproject.toml; ARGS=--upgrade takes newer versions
	$(COMPILE) $(ARGS) --extra cpu --output-file requirements/cpu.txt
	$(COMPILE) $(ARGS) --extra cpu --group dev --constraints requirements/cpu.txt \
	  --output-file requirements/dev.txt
	$(COMPILE) $(ARGS) --extra gpu --excludes requirements/excludes-gpu.txt \
	  --constraints requirements/cpu.txt --output-file requirements/gpu.txt
	.venv/bin/uv pip compile requirements/broker.in --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --only-binary :all: $(ARGS) \
	  --output-file requirements/broker.txt

clean: ## remove what can be made again; var/, with all data and models, stays
	rm -rf .venv .venv-gpu .venv-broker .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist
	find benchmarks config deployments docs examples omma tests -name __pycache__ -prune -exec rm -rf {} +

models: $(LOCKED) $(PROJECT) ## fetch and check the default models
	@$(VENV)/bin/omma models pull

SIZE_cpu := about 0.9 GB to download, 3.2 GB of disk
SIZE_gpu := about 4.1 GB to download, 9 GB of disk
SIZE_dev := about 1.1 GB to download, 3.6 GB of disk

$(LOCKED): $(VENV)/bin/python
	@echo "omma: installing the packages of requirements/$(LOCK).txt into $(VENV): $(SIZE_$(LOCK))"
	@requirements/install $(VENV)/bin/python requirements/$(LOCK).txt
	@rm -f $(VENV)/.omma-$(LOCK)-* && touch $@

$(TOOLS): .venv/bin/python
	@echo "omma: installing the packages of requirements/dev.txt into .venv: $(SIZE_dev)"
	@requirements/install .venv/bin/python requirements/dev.txt
	@rm -f .venv/.omma-dev-* && touch $@
	@touch $(call stamp,.venv,cpu,requirements/cpu.txt)  # dev holds every pin of cpu

# A broker for the tests, in an environment that nothing of ours is imported in.
$(BROKER): .venv-broker/bin/python
	@requirements/install .venv-broker/bin/python requirements/broker.txt
	@rm -f .venv-broker/.omma-broker-* && touch $@

$(PROJECT): $(LOCKED)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.omma-project-* && touch $@

BUILT := omma's locked packages are built for Linux on x86-64 with Python 3.11, 3.12 or 3.13
$(sort $(VENV)/bin/python .venv/bin/python .venv-broker/bin/python):
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "$(BUILT); this is $$(uname -sm)"; exit 1; } >&2
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(SUITABLE)' || { echo "$(BUILT): install one of them," \
	  "for example with 'apt install python3 python3-venv', or name it: make PYTHON=..."; exit 1; } >&2
	@command -v npm > /dev/null || { echo "npm was not found, and some models are npm packages:" \
	  "install it, for example with 'apt install npm'"; exit 1; } >&2
	@$(PYTHON) -m venv --clear $(@D)/.. || { rm -rf $(@D)/..; echo "$(PYTHON) makes no virtual" \
	  "environments: add its venv module, for example with 'apt install python3-venv'"; exit 1; } >&2
