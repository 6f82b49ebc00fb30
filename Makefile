# SamCam: everything a developer calls. `make help` lists it; nothing here needs root.
PYTHON ?= python3
# An extra package index for torch; TORCH_INDEX=https://download.pytorch.org/whl/cpu gives Linux
# the small CPU build instead of the one with CUDA.
TORCH_INDEX ?=
# APT=no: `make test` never calls apt-get for Xvfb and xdotool.
APT ?=
DATA ?= ../shared/data
# `make gpu`: all or torch; where the report goes; more options of bench.gpu, as in
# GPU_ARGS="--minutes 20"; the extras that it installs. For a driver of CUDA 12:
# GPU_EXTRAS=export,tensorrt-cu12 TORCH_INDEX=https://download.pytorch.org/whl/cu126
PART ?= all
GPU_OUT ?= out/gpu
GPU_ARGS ?=
COMMA := ,
GPU_EXTRAS ?= export$(if $(filter torch,$(PART)),,$(COMMA)tensorrt)
# Test files run side by side; many of them wait for another process. WORKERS= for one at a time.
WORKERS ?= -n 2 --dist loadfile

BIN := .venv/bin
ROOMS := samcam live export engines guides memory kalman system
LIST_FILES = find $(ROOMS) -name '*.py' | LC_ALL=C sort
# The editable installation links each file of the rooms: the links alone are made again when one
# comes or goes, or when they are gone.
LINKS := build/__editable__.samcam-
LINKED := .venv/.linked
LINK = ls -d $(LINKS)* >/dev/null 2>&1 && $(LIST_FILES) | cmp -s - $(LINKED) \
  || { $(SETUP) links && $(LIST_FILES) > $(LINKED); }
SETUP_INPUTS := pyproject.toml constraints.txt tools/setup_env.py
# Without the links of an earlier version: `make check` follows all that are there.
SETUP = rm -rf $(LINKS)*; TORCH_INDEX='$(TORCH_INDEX)' APT='$(APT)' GPU_EXTRAS='$(GPU_EXTRAS)' \
  $(PYTHON) tools/setup_env.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check format bench accuracy gpu pictures effects-pictures setup constraints clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{ printf "  make %-18s%s\n", $$1, $$2 }'

demo: .venv/.base  ## Set up, track the demo scene, write out/demo.mp4 and out/demo.png
	@$(LINK)
	@$(BIN)/python -m bench.demo

test: .venv/.test  ## Set up with the test extra, run the whole suite
	@$(LINK)
	@$(BIN)/python -m pytest $(WORKERS) -m "not long"

test-fast: .venv/.test  ## The quick part of the suite
	@$(LINK)
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow and not long"

check: .venv/.test  ## ruff and mypy --strict, as CI runs them
	@$(LINK)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@MYPYPATH=$$(echo $(LINKS)*) $(BIN)/mypy

format: .venv/.test  ## Let ruff format and fix what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.base  ## Speed of the loop, the effects and nano; writes docs/performance.md's figures
	@$(BIN)/python -m bench.loop --markdown docs/performance.md
	@$(BIN)/python -m bench.constant --markdown docs/performance.md
	@$(BIN)/python -m bench.effects --markdown docs/performance.md
	@$(BIN)/python -m bench.hover --markdown docs/performance.md
	@$(BIN)/python -m bench.speed --markdown docs/performance.md

accuracy: .venv/.base  ## Accuracy of nano and of no network on DATA (../shared/data); writes the pages' figures
	@$(BIN)/python -m bench.accuracy $(DATA) --prompt box,click --crop on,off --out out/accuracy \
	  --json out/accuracy.json --markdown docs/accuracy.md --summary README.md
	@$(BIN)/python -m bench.baseline_classical $(DATA) --prompt box,click \
	  --beside out/accuracy.json --markdown docs/accuracy.md
	@$(BIN)/python -m bench.suggest $(DATA) --markdown docs/accuracy.md
	@$(BIN)/python -m bench.smooth $(DATA) --markdown docs/accuracy.md

# What PART=torch needs: where PYTHON has it, nothing is set up and nothing downloaded.
HAS_TORCH = $(PYTHON) -c "import cv2, numpy, safetensors, torch, transformers; \
  raise SystemExit(not torch.cuda.is_available())" 2>/dev/null
RUN_GPU = -m bench.gpu --part $(PART) --out "$(GPU_OUT)" $(GPU_ARGS)

gpu: need-python  ## On an NVIDIA GPU: set up, test, measure; report in out/gpu (PART=torch: offline)
	@if test '$(PART)' = torch && $(HAS_TORCH); then $(PYTHON) $(RUN_GPU); \
	else \
	  grep -qsxF '$(GPU_EXTRAS)' .venv/.gpu || rm -f .venv/.gpu; \
	  $(MAKE) --no-print-directory .venv/.gpu && $(BIN)/python $(RUN_GPU); \
	fi

pictures: demo  ## README's moving picture and its strip of effects
	@$(BIN)/python -m bench.readme_pictures

effects-pictures: .venv/.base  ## Pictures of docs/effects.md, borders' figures of docs/accuracy.md
	@$(BIN)/python -m bench.effects_pictures
	@$(BIN)/python -m bench.borders --markdown docs/accuracy.md

setup: need-python  ## Make or fix .venv, whatever its state
	@$(SETUP) $(if $(wildcard .venv/.test),test,base)
	@$(LIST_FILES) > $(LINKED)
	@touch .venv/.base $(if $(wildcard .venv/.test),.venv/.test)

constraints: .venv/.test  ## Write constraints.txt anew from .venv; the GPU's packages and evdev stay
	@{ sed -n '/^#/p' constraints.txt; \
	  { $(BIN)/python -m pip freeze --all --exclude-editable | sed 's/+cpu$$//' \
	  | grep -viE '^(pip=|opencv-python-headless|nvidia-|triton|cuda-|tensorrt|evdev)'; \
	  grep -E '^(cuda-|tensorrt|evdev)' constraints.txt; } | sort -f; \
	} > constraints.new && mv constraints.new constraints.txt

clean:  ## Remove .venv, caches, builds and out/
	rm -rf .venv out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.base: $(SETUP_INPUTS) | need-python
	@$(SETUP) base
	@$(LIST_FILES) > $(LINKED)
	@touch $@

.venv/.test: $(SETUP_INPUTS) | need-python
	@$(SETUP) test
	@$(LIST_FILES) > $(LINKED)
	@touch .venv/.base $@

# Has the extras that were installed: others are installed when they are asked for.
.venv/.gpu: $(SETUP_INPUTS) | need-python
	@$(PYTHON) tools/setup_env.py driver
	@$(SETUP) gpu
	@$(LIST_FILES) > $(LINKED)
	@touch .venv/.base
	@echo '$(GPU_EXTRAS)' > $@

.PHONY: need-python
need-python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "setup: no '$(PYTHON)' found: sudo apt-get install python3 python3-venv" >&2; exit 2; }
