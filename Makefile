# What people type here. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check bench seeds publish format lock venv dev apt-run apt-test apt-bench coverage clean

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
, := ,
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, ensurepip; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Debian packages by what needs them.
APT_RUN := libportaudio2 fonts-unifont fonts-noto-core espeak-ng mosquitto
APT_TEST := $(APT_RUN) openssl strace pulseaudio pulseaudio-utils libasound2-plugins systemd ffmpeg icecast2 gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
APT_BENCH := $(APT_TEST) gstreamer1.0-pulseaudio gstreamer1.0-libav mpv gcc python3-dev

# Installs what is missing of $(1): as root, with sudo, or names it and stops.
define apt_install
missing=""; for p in $(1); do \
	dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
	if ! command -v apt-get >/dev/null; then \
		echo "Thiếu gói / missing Debian packages:$$missing — this system has no apt-get: install their equivalents." >&2; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then as=""; \
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as="sudo"; \
	else echo "Thiếu gói / missing Debian packages, and no right to install them. Run:  sudo apt-get install$$missing" >&2; exit 1; fi; \
	echo "Cài gói / installing Debian packages:$$missing"; \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get update -qq; \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

# uv where it is there (locked versions), else venv and pip (the bounds of pyproject.toml).
define python_install
if [ -z "$(PYTHON)" ]; then \
	echo "Cần Python 3.11 trở lên (kèm python3-venv) / Python 3.11 or newer with python3-venv is needed:  sudo apt-get install python3-venv" >&2; exit 1; fi; \
if command -v uv >/dev/null; then \
	UV_PROJECT_ENVIRONMENT="$(abspath $(VENV))" uv sync --quiet --frozen --python "$(PYTHON)" $(2); \
else \
	[ -x "$(BIN)/python" ] || $(PYTHON) -m venv "$(VENV)"; \
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.$(1)'; \
fi
endef

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: apt-run venv ## a bulletin, an emergency and a notice on virtual hardware, in under 90 s (ARGS=--json, ARGS="--programme FILE")
	@$(BIN)/edge-agent demo $(ARGS)

# The tests start hundreds of processes; where bytecode may not be written each of them would compile the agent anew.
test: apt-test dev ## every test, on three processes, because many wait (ARGS="tests/playout -x" for some)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: dev ## style, types, import contracts, lock file
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@if command -v uv >/dev/null; then uv lock --check --quiet; fi

bench: apt-bench $(VENV)/.bench ## the figures of tests/bench, one JSON line each (ARGS=idle for one family)
	@$(BIN)/python tests/bench/run.py $(ARGS)

N ?= 200
SEED ?= 0
DAYS ?= 7
seeds: apt-run dev ## N random weeks of a node from seeds, every checker on (N=200, SEED=17 to begin with, DAYS=7)
	@$(BIN)/python -m tests.seeds $(N) --from $(SEED) --days $(DAYS)

publish: dev ## write docs/schemas, docs/asyncapi.yaml and docs/test-vectors anew from the models
	@$(BIN)/python -m tests.publish

coverage: apt-test dev ## tests with branch coverage
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage report

format: dev ## let ruff lay out the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## renew uv.lock within the bounds of pyproject.toml
	@uv lock --upgrade

venv: $(VENV)/.run ## the virtual environment with what the agent needs
dev: $(VENV)/.dev ## the same, with the developers' tools

$(VENV)/.run: pyproject.toml uv.lock
	@$(call python_install,,)
	@touch $@

$(VENV)/.dev: pyproject.toml uv.lock
	@$(call python_install,[dev],--extra dev)
	@touch $@ $(VENV)/.run

$(VENV)/.bench: pyproject.toml uv.lock
	@$(call python_install,[dev$(,)bench],--extra dev --extra bench)
	@touch $@ $(VENV)/.dev $(VENV)/.run

apt-run:
	@$(call apt_install,$(APT_RUN))
apt-test:
	@$(call apt_install,$(APT_TEST))
apt-bench:
	@$(call apt_install,$(APT_BENCH))

clean: ## remove what was made here
	@rm -rf $(VENV) sim-out .mypy_cache .ruff_cache .hypothesis .coverage
