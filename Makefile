# `make` alone lists what there is. Needs make and Python 3.11 or newer; everything else goes into .venv.
# What is under Containers needs Docker too, and no .venv.
.DEFAULT_GOAL := help
.PHONY: help run demo verify verify-native up down logs ps doctor certs key key-native test test-faults test-stack chaos fuzz workers telemetry bench bench-peers lint format lock clean

PYTHON ?= python3
BIN := .venv/bin

##@ Use
run: .venv/run.stamp ## Start engine, gateway and nginx without Docker; Ctrl-C stops them (OLLAMA_URL= uses that Ollama)
	@$(NATIVE) run

demo: .venv/run.stamp ## Start the stack, ask one question, show the tokens as they arrive, verify, stop
	@$(NATIVE) demo

# Ctrl-C in Python's own first moments would end in a traceback: deploy.native unblocks it once it handles it.
NATIVE = $(shell env --block-signal=INT,TERM,HUP true 2>/dev/null && echo env --block-signal=INT,TERM,HUP) \
	$(BIN)/python -m deploy.native

verify: ## Check a running stack and print the verification record (URL= MODEL= OUT=record.json)
	@if [ -n "$$($(ALL_PROFILES) ps --quiet gateway 2>/dev/null)" ]; then $(PYTHON) -m deploy.compose.verify $(RECORD); \
	else $(MAKE) --no-print-directory verify-native; fi

# For the containers if there are any, else for the native run.
key: ## Make a key for NAME= (ROLE=user, admin or metrics; ALLOW='llama3*,…' EXPIRES=90d) and print it
	@if [ -n "$$($(ALL_PROFILES) ps --all --quiet 2>/dev/null)" ]; then \
		docker compose run --rm --quiet-pull keys $(KEY); \
	else $(MAKE) --no-print-directory key-native; fi

key-native: .venv/run.stamp
	@$(BIN)/python -m deploy.native keys $(KEY)

KEY = create $(or $(NAME),$(error whose key is it? make key NAME=…)) $(if $(ROLE),--role $(ROLE)) \
	$(if $(ALLOW),--models '$(ALLOW)',$(if $(filter-out undefined,$(origin ALLOW)),\
	$(error ALLOW is empty; leave it out for a key to every model))) $(if $(EXPIRES),--expires $(EXPIRES))

verify-native: .venv/run.stamp
	@$(BIN)/python -m deploy.native verify $(RECORD)

RECORD = $(if $(URL),--url $(URL)) $(if $(OUT),--out $(OUT))

# Compose takes its profile from COMPOSE_PROFILES, in the environment or in .env; PROFILE= is short for it.
PROFILED := $(if $(PROFILE),COMPOSE_PROFILES=$(PROFILE))
ALL_PROFILES := docker compose --profile '*'

##@ Containers
up: ## Start the stack in containers and wait until it answers (PROFILE=cpu, gpu, amd, embedded; cpu,monitoring)
	@$(PROFILED) $(PYTHON) -m deploy.compose.up

down: ## Stop the stack and remove its containers, whatever the profile; models are kept
	@$(ALL_PROFILES) down --remove-orphans
	@echo "Models and metrics are kept in their volumes. To delete them too: $(ALL_PROFILES) down --volumes"

logs: ## Follow the containers' logs (SERVICE=gateway for one of them); Ctrl-C stops
	@$(ALL_PROFILES) logs --follow --tail 100 $(SERVICE)

ps: ## List the containers
	@$(ALL_PROFILES) ps --all

doctor: ## Report what will go wrong and how to fix it; once it runs, whether the model is on the GPU (PROFILE=)
	@$(PROFILED) $(PYTHON) -m deploy.compose.doctor

certs: ## Make a self-signed certificate for trying TLS=on (FORCE=1 replaces one)
	@FORCE=$(FORCE) $(PYTHON) -m deploy.compose.certs

##@ Develop
test: lint ## Lint, types, unit and integration tests with the real engine, gateway and nginx (T= picks tests)
	$(BIN)/pytest $(if $(T),$(T),--numprocesses 2 --dist loadfile)

test-faults: .venv/test.stamp ## What full disks, unread terminals, spent descriptors, signals and broken upstreams do (T=)
	$(BIN)/pytest $(or $(T),tests/faults --numprocesses 2)

test-stack: .venv/test.stamp ## Tests of the containers, on a real Docker Engine (T= picks tests)
	$(BIN)/pytest $(or $(T),tests/stack)

chaos: .venv/test.stamp ## 20,000 streams through an upstream that goes wrong in every way, and more (STREAMS= MODE=)
	$(BIN)/python -m tests.load.chaos \
		$(if $(STREAMS),--streams $(STREAMS)) $(if $(MODE),--mode '$(MODE)')

fuzz: .venv/test.stamp ## 10,000 requests with something wrong in their bytes, with keys on (MUTATIONS= SEED=)
	$(BIN)/python -m tests.load.fuzz \
		$(if $(MUTATIONS),--mutations $(MUTATIONS)) $(if $(SEED),--seed $(SEED))

workers: .venv/test.stamp ## 10,000 requests over 4 workers, 2 of them killed on the way: the counters must agree
	$(BIN)/python -m tests.load.workers

telemetry: .venv/test.stamp ## What metrics and logs cost a token (ROUNDS=)
	$(BIN)/python -m tests.load.telemetry $(if $(ROUNDS),--rounds $(ROUNDS))

bench: .venv/test.stamp ## What a token costs: nginx, the gateway, both in a row, LiteLLM if installed (QUICK=1 BARS=1 OUT=)
	@$(BIN)/python -m tests.load.bench \
		$(if $(QUICK),--quick) $(if $(BARS),--bars) $(if $(OUT),--out $(OUT))

bench-peers: .venv-peers/bench.stamp ## Install LiteLLM, in an environment of its own, for `make bench` to compare with

lint: .venv/test.stamp ## Format check, linter and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/test.stamp ## Rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Refresh the locked requirements of every service
	$(PYTHON) -m deploy.packages.lock

clean: ## Remove everything that these commands created, except keys, certificates and containers
	rm -rf .venv .venv-peers .run .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis

LOCKS := deploy/native/requirements.txt services/gateway/requirements.txt services/engine/requirements.txt
PROJECTS := services/gateway/pyproject.toml services/engine/pyproject.toml

.venv/run.stamp: $(LOCKS) $(PROJECTS) deploy/packages/install.py
	@$(PYTHON) -m deploy.packages.install run
	@touch $@

.venv/test.stamp: .venv/run.stamp tests/requirements.txt
	@$(PYTHON) -m deploy.packages.install test
	@touch $@

.venv-peers/bench.stamp: tests/load/peers/requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check --no-input --require-hashes --no-deps -r $<
	@touch $@

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
