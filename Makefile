# Sets up, trains, tests: `make help` lists what there is.
#
# Nothing but Python 3.11 or later is needed, with its venv module: OpenCV comes
# headless and ale-py brings the emulator and the ROMs, so no system package.

# The first of these that runs and is recent enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# What to train. BINDINGS: gin bindings with semicolons between them, e.g.
#   make train BINDINGS="Runner.num_iterations=2; create_agent.agent_name='dqn'"
# (a string that holds a semicolon itself: call dopamine.discrete_domains.train)
GIN ?= dopamine/agents/dqn/configs/dqn.gin
BASE_DIR ?= runs/$(if $(findstring /jax/,$(GIN)),jax_)$(basename $(notdir $(lastword $(GIN))))
BINDINGS ?=
SEED ?=
export GIN BASE_DIR BINDINGS SEED  # by the environment: quotes come through

PYTEST_ARGS ?=

.PHONY: help setup train test test-slow lint format bench clean

help:
	@echo 'make setup      make $(VENV) and install everything into it'
	@echo 'make train      train DQN on Pong; the same command again resumes'
	@echo '                GIN=$(GIN)'
	@echo '                BASE_DIR=$(BASE_DIR)'
	@echo "                BINDINGS=\"create_atari_environment.game_name='Seaquest';"
	@echo '                          Runner.num_iterations=2"   SEED=1'
	@echo 'make test       run the tests under TensorFlow, then under JAX'
	@echo 'make test-slow  the tests that train for minutes to hours'
	@echo 'make lint       check format, style and types'
	@echo 'make format     put the format right'
	@echo 'make bench      measure agent steps per second'
	@echo 'make clean      remove what builds and tests leave behind'
	@echo 'PYTHON=... chooses the interpreter, PYTEST_ARGS=... goes to pytest.'

setup: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
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
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

train: setup
	@say() { \
	  echo "Logs, checkpoints and TensorBoard files: $$BASE_DIR"; \
	  echo "To look at them: $(BIN)/tensorboard --logdir '$$BASE_DIR'"; \
	  echo 'To go on from the last finished iteration: the same command again'; \
	}; \
	say; trap say EXIT; trap 'exit 130' INT; \
	set -f; set -- --base_dir="$$BASE_DIR"; \
	for file in $$GIN; do set -- "$$@" --gin_files="$$file"; done; \
	IFS=';'; \
	for binding in $$BINDINGS; do \
	  binding="$${binding#"$${binding%%[![:space:]]*}"}"; \
	  [ -z "$$binding" ] || set -- "$$@" --gin_bindings="$$binding"; \
	done; \
	[ -z "$$SEED" ] || set -- "$$@" --seed="$$SEED"; \
	$(BIN)/python -um dopamine.discrete_domains.train "$$@"

# A process has one backend, so the tests run once under each: both at a time, as
# most of a test computes on one core. What JAX compiles is kept in .jax_cache.
# What needs no backend runs once, so the JAX half may find nothing to run: 5.
test: setup
	@log=$$(mktemp); status=0; \
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.jax_cache" \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1 \
	  $(BIN)/python -m pytest -m 'not slow and not no_backend' $(PYTEST_ARGS) \
	  > "$$log" 2>&1 & jax=$$!; \
	trap 'kill $$jax 2>/dev/null; rm -f "$$log"' EXIT; trap 'exit 130' INT TERM; \
	echo 'Tests under tensorflow, and meanwhile under jax'; \
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PYTEST_ARGS) || status=1; \
	echo 'Tests under jax'; \
	wait $$jax || [ $$? = 5 ] || status=1; \
	cat "$$log"; \
	exit $$status

test-slow: setup
	@status=0; \
	for backend in tensorflow jax; do \
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

clean:
	rm -rf build dist *.egg-info .*_cache .hypothesis
	find dopamine tests benchmarks docs examples -name __pycache__ -prune -exec rm -rf {} +
