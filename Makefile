# Sets up, trains, tests: `make help` lists what there is.
#
# Nothing but Python 3.11 or later is needed, with its venv module: OpenCV comes
# headless and ale-py brings the emulator and the ROMs, so no system package.

# The first of these that runs and is recent enough; 3.14 has no TensorFlow.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python \
	python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin

# What nothing here reads is a mistake.
UNKNOWN := $(filter-out GIN BASE_DIR BINDINGS SEED BACKEND GPU PYTHON VENV \
  PYTEST_ARGS KERAS_BACKEND, $(foreach name,$(.VARIABLES),\
  $(if $(filter command,$(origin $(name))),$(name))))
ifneq ($(strip $(UNKNOWN)),)
  $(error $(UNKNOWN) is not known: make help says what is. A setting is given as \
  BINDINGS="create_atari_environment.game_name='Seaquest'")
endif

# What is in $(VENV) has stamps: -tensorflow (which has JAX too) or -jax, and
# -cuda on top of either. It stays what it was made, and with GPU=0 once said,
# until BACKEND or GPU says otherwise.
STAMP := $(VENV)/.installed
NO_GPU := $(VENV)/.no_gpu

# tensorflow; or jax, which is without TensorFlow.
ifndef BACKEND
  ifneq ($(wildcard $(STAMP)-tensorflow),)
    BACKEND := tensorflow
  else ifneq ($(wildcard $(STAMP)-jax),)
    BACKEND := jax
  else
    BACKEND := $(or $(shell $(PYTHON) -c 'import sys; \
      sys.version_info < (3, 14) or print("jax")' 2>/dev/null),tensorflow)
  endif
endif
ifeq ($(filter tensorflow jax,$(BACKEND)),)
  $(error BACKEND=$(BACKEND): give tensorflow, or jax to do without TensorFlow)
endif
ifeq ($(BACKEND)$(KERAS_BACKEND),jax)
  export KERAS_BACKEND := jax
endif

# 1 installs CUDA, 0 does not; nothing: 1 if a driver answers.
GPU ?=
ifneq ($(filter-out 0 1,$(GPU)),)
  $(error GPU=$(GPU): give 1 to install CUDA, or 0 to do without)
endif
CUDA = $(if $(GPU),$(filter 1,$(GPU)),$(if $(wildcard $(NO_GPU)),,$(if \
  $(wildcard $(STAMP)-cuda),1,$(shell nvidia-smi -L >/dev/null 2>&1 \
  && echo 1))))

# What to train. BINDINGS: gin bindings with semicolons between them, e.g.
#   make train BINDINGS="Runner.num_iterations=2; create_agent.agent_name='dqn'"
# (a string that holds a semicolon itself: call dopamine.discrete_domains.train)
# Without BASE_DIR, a folder below runs/ is named by what is run.
GIN ?= dopamine/agents/dqn/configs/dqn.gin
BASE_DIR ?=
BINDINGS ?=
SEED ?=
export GIN BASE_DIR BINDINGS SEED  # by the environment: quotes come through

PYTEST_ARGS ?=

.PHONY: help setup train test test-slow lint format bench docs clean

help:
	@echo 'make setup      make $(VENV) and install everything into it'
	@echo '                BACKEND=jax leaves TensorFlow out; GPU=1 and GPU=0: with'
	@echo '                CUDA or without, which else depends on nvidia-smi'
	@echo '                PYTHON=... chooses the interpreter'
	@echo 'make train      train DQN on Pong; the same command again resumes'
	@echo '                GIN=$(GIN)'
	@echo '                BASE_DIR=...   a folder below runs/ if not given'
	@echo "                BINDINGS=\"create_atari_environment.game_name='Seaquest';"
	@echo '                          Runner.num_iterations=2"   SEED=1'
	@echo 'make test       run the tests under TensorFlow and under JAX'
	@echo '                PYTEST_ARGS=... goes to pytest'
	@echo 'make test-slow  the tests that train for minutes to hours'
	@echo 'make lint       check format, style and types'
	@echo 'make format     put the format right'
	@echo 'make bench      measure agent steps per second'
	@echo 'make docs       build the site: build/site/index.html'
	@echo 'make clean      remove what builds and tests leave behind'

.SECONDEXPANSION:

setup: $(STAMP)-$(BACKEND) $$(and $$(CUDA),$(STAMP)-cuda)
	$(if $(filter 0,$(GPU)),@touch $(NO_GPU))
	$(if $(filter 1,$(GPU)),@rm -f $(NO_GPU))

$(STAMP)-tensorflow: requirements.txt requirements-jax.txt pyproject.toml
$(STAMP)-jax: requirements-jax.txt pyproject.toml
$(STAMP)-tensorflow $(STAMP)-jax:
	@if [ ! -x $(BIN)/python ]; then \
	  if [ -z "$(PYTHON)" ]; then \
	    echo 'No Python 3.11 or later found: install one, or say where it is:'; \
	    echo '  make setup PYTHON=/path/to/python3.11'; \
	    exit 1; \
	  fi; \
	  echo 'Making $(VENV) with $(PYTHON)'; \
	  if ! "$(PYTHON)" -m venv $(VENV); then \
	    rm -rf $(VENV); \
	    echo '$(PYTHON) cannot make a virtual environment: install its venv'; \
	    echo 'module (on Debian and Ubuntu: apt install python3.11-venv).'; \
	    exit 1; \
	  fi; \
	fi
	@echo 'Installing $<: $(if $(filter %-jax,$@),0.4,1.0) GB to download at most'
	$(BIN)/python -m pip install -r $<
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $(STAMP)-jax $@

$(STAMP)-cuda: requirements-cuda.txt | $(STAMP)-$(BACKEND)
	@echo 'Installing CUDA for the NVIDIA GPU: 3.3 GB to download at most.'
	@echo 'To do without, and train on the CPU: Ctrl-C, then add GPU=0.'
	$(BIN)/python -m pip install -r $<
	@touch $@

train: setup
	@set -f; set -- --runs_dir=runs; \
	[ -z "$$BASE_DIR" ] || set -- --base_dir="$$BASE_DIR"; \
	for file in $$GIN; do set -- "$$@" --gin_files="$$file"; done; \
	IFS=';'; \
	for binding in $$BINDINGS; do \
	  binding="$${binding#"$${binding%%[![:space:]]*}"}"; \
	  [ -z "$$binding" ] || set -- "$$@" --gin_bindings="$$binding"; \
	done; \
	[ -z "$$SEED" ] || set -- "$$@" --seed="$$SEED"; \
	exec $(BIN)/python -um dopamine.discrete_domains.train "$$@"

# A process has one backend, so the tests run once under each: both at a time, as
# most of a test computes on one core. What JAX compiles is kept in .jax_cache.
# What needs no backend runs once, beside both, and in front: what runs behind does
# not hear of Ctrl-C. A part in which nothing is to run ends with 5, which is fine
# unless all do.
UNDER_JAX := KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.jax_cache" \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
ifeq ($(BACKEND),jax)
test: setup
	@say() { echo 'Tests under jax only: BACKEND=jax leaves TensorFlow out'; }; \
	say; trap say EXIT; $(UNDER_JAX) $(BIN)/python -m pytest $(PYTEST_ARGS)
else
test: setup
	@tf_log=$$(mktemp); jax_log=$$(mktemp); status=5; marks='not slow and not no_backend'; \
	count() { case $$1 in 5) ;; 0) [ $$status = 1 ] || status=0;; *) status=1;; esac; }; \
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m "$$marks" $(PYTEST_ARGS) \
	  > "$$tf_log" 2>&1 & tf=$$!; \
	$(UNDER_JAX) $(BIN)/python -m pytest -m "$$marks" $(PYTEST_ARGS) \
	  > "$$jax_log" 2>&1 & jax=$$!; \
	trap 'kill $$tf $$jax 2>/dev/null; rm -f "$$tf_log" "$$jax_log"' EXIT; \
	trap 'exit 130' INT TERM; \
	echo 'Tests without a backend; meanwhile under tensorflow and under jax'; \
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m 'no_backend and not slow' \
	  $(PYTEST_ARGS); count $$?; \
	wait $$tf; count $$?; echo 'Tests under tensorflow'; cat "$$tf_log"; \
	wait $$jax; count $$?; echo 'Tests under jax'; cat "$$jax_log"; \
	exit $$status
endif

test-slow: setup
	@status=0; \
	for backend in $(if $(filter tensorflow,$(BACKEND)),tensorflow) jax; do \
	  echo "Slow tests under $$backend"; \
	  KERAS_BACKEND=$$backend $(BIN)/python -m pytest -m slow $(PYTEST_ARGS) \
	    || status=1; \
	done; \
	exit $$status

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/throughput.py

# The site is built of text and source alone, so it has a folder of its own and
# leaves what the tests run with as it is.
$(VENV)/docs/.installed: requirements-docs.txt
	"$(PYTHON)" -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip install -r $<
	@touch $@

docs: $(VENV)/docs/.installed
	$(VENV)/docs/bin/python docs/pages.py build/pages
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/python -m mkdocs build --strict
	@echo 'The site: build/site/index.html'

clean:
	rm -rf build dist *.egg-info .*_cache .hypothesis
	find dopamine tests benchmarks docs examples -name __pycache__ -prune -exec rm -rf {} +
