# `make` alone lists the commands. They need make and Python 3.11 or newer; everything else is installed into .venv.
# The commands under Containers also need Docker, and no .venv.
.DEFAULT_GOAL := help
.PHONY: help run demo verify verify-native up down logs ps doctor certs key key-native test test-model test-faults test-stack test-k8s test-browser event-source chaos fuzz workers fairness servers scale telemetry resume bench bench-peers lint format lock clean

PYTHON ?= python3
BIN := .venv/bin

##@ Use
run: .venv/run.stamp ## Start engine, gateway and nginx without Docker; Ctrl-C stops them (SERVERS=3 OLLAMA_URL=)
	@$(NATIVE) run

demo: .venv/run.stamp ## Start the stack, ask one question, show the tokens as they arrive, verify the stack, stop it
	@$(NATIVE) demo

# Ctrl-C while Python starts would end in a traceback: the signals are blocked until deploy.native handles them.
NATIVE = $(shell env --block-signal=INT,TERM,HUP true 2>/dev/null && echo env --block-signal=INT,TERM,HUP) \
	$(BIN)/python -m deploy.native

verify: ## Check a running stack and print the verification record (URL= MODEL= OUT=record.json)
	@if [ -n "$$($(ALL_PROFILES) ps --quiet gateway 2>/dev/null)" ]; then $(PYTHON) -m deploy.compose.verify $(RECORD); \
	else $(MAKE) --no-print-directory verify-native; fi

# For the containers if there are any, otherwise for the run without Docker.
key: ## Make a key for NAME= (ROLE=user, admin or metrics; ALLOW='llama3*,…' EXPIRES=90d) and print it
	@if [ -n "$$($(ALL_PROFILES) ps --all --quiet 2>/dev/null)" ]; then \
		docker compose run --rm --quiet-pull keys $(KEY); \
	else $(MAKE) --no-print-directory key-native; fi

key-native: .venv/run.stamp
	@$(BIN)/python -m deploy.native keys $(KEY)

KEY = create '$(or $(NAME),$(error NAME is missing: make key NAME=alice))' $(if $(ROLE),--role '$(ROLE)') \
	$(if $(ALLOW),--models '$(ALLOW)',$(if $(filter-out undefined,$(origin ALLOW)),\
	$(error ALLOW is empty; leave it out to allow every model))) $(if $(EXPIRES),--expires '$(EXPIRES)')

verify-native: .venv/run.stamp
	@$(BIN)/python -m deploy.native verify $(RECORD)

RECORD = $(if $(URL),--url $(URL)) $(if $(OUT),--out $(OUT))

# Compose reads its profiles from COMPOSE_PROFILES, in the environment or in .env; PROFILE= is a shorthand for it.
PROFILED := $(if $(PROFILE),COMPOSE_PROFILES=$(PROFILE))
ALL_PROFILES := docker compose --profile '*'

##@ Containers
up: ## Start the stack in containers and wait until it is ready (PROFILE=cpu, gpu, amd, embedded, external; cpu,monitoring,shared)
	@$(PROFILED) $(PYTHON) -m deploy.compose.up

# Compose removes only networks that a service is in, and the gateway is in one of them only if OLLAMA_URLS is set.
down: ## Stop the stack and remove its containers, whatever the profile; models, keys and metrics are kept
	@OLLAMA_URLS=any $(ALL_PROFILES) down --remove-orphans
	@echo "Models, keys and metrics are kept in their volumes. To delete them too: $(ALL_PROFILES) down --volumes"

logs: ## Follow the containers' logs (SERVICE=gateway for one of them) until Ctrl-C
	@$(ALL_PROFILES) logs --follow --tail 100 $(SERVICE)

ps: ## List the containers
	@$(ALL_PROFILES) ps --all

doctor: ## Find problems and say how to fix them; on a running stack, also check the GPU (PROFILE=)
	@$(PROFILED) $(PYTHON) -m deploy.compose.doctor

certs: ## Make a self-signed certificate to try TLS=on (FORCE=1 replaces an existing one)
	@FORCE=$(FORCE) $(PYTHON) -m deploy.compose.certs

##@ Develop
test: lint ## Run lint, then static, unit and integration tests with the real gateway and nginx (T= selects tests)
	$(BIN)/pytest $(if $(T),$(T),--numprocesses 4 --dist loadfile --no-loadscope-reorder)

test-model: .venv/test.stamp ## Test the engine and the whole stack with a real model, and client libraries with it (T=)
	$(BIN)/pytest $(or $(T),tests/model --numprocesses 2 --dist loadfile)

test-faults: .venv/test.stamp ## Test full disks, blocked output, exhausted descriptors, signals and broken upstreams (T=)
	$(BIN)/pytest $(or $(T),tests/faults --numprocesses 3 --dist loadfile)

test-stack: .venv/test.stamp ## Test the containers on a real Docker Engine (T=)
	$(BIN)/pytest $(or $(T),tests/stack)

test-k8s: .venv/test.stamp ## Test deploy/kubernetes in the cluster that KUBECONFIG names (T=)
	$(BIN)/pytest $(or $(T),tests/k8s)

test-browser: .venv/browser.stamp ## Test the page in Chromium, from Debian's package `chromium` (T= CHROMIUM=)
	$(BIN)/pytest $(or $(T),tests/browser --numprocesses 2 --dist loadfile)

event-source: .venv/browser.stamp ## Read 500 answers with Chromium's EventSource, cutting each connection three times (ANSWERS=)
	ANSWERS=$(or $(ANSWERS),500) $(BIN)/pytest --capture no --timeout 1800 tests/browser/test_event_source.py

chaos: .venv/test.stamp ## Send 20,000 streams through an upstream with random faults, and more (STREAMS= SEED= MODE=)
	$(BIN)/python -m tests.load.chaos \
		$(if $(STREAMS),--streams $(STREAMS)) $(if $(SEED),--seed $(SEED)) $(if $(MODE),--mode '$(MODE)')

fuzz: .venv/test.stamp ## Send 10,000 malformed requests to a stack with keys (MUTATIONS= SEED=)
	$(BIN)/python -m tests.load.fuzz \
		$(if $(MUTATIONS),--mutations $(MUTATIONS)) $(if $(SEED),--seed $(SEED))

workers: .venv/test.stamp ## Check that counters stay correct: 10,000 requests over 4 workers, 2 of which are killed
	$(BIN)/python -m tests.load.workers

fairness: .venv/test.stamp ## Measure how long a caller waits next to one that sends 50 requests at once (3 minutes)
	@$(BIN)/python -m tests.load.fairness

servers: .venv/test.stamp ## Kill, stop and break one of three model servers under load, and measure conversations (12 minutes)
	@$(BIN)/python -m tests.load.servers

scale: .venv/test.stamp ## Measure how the cost grows with streams and gateways, and what Valkey costs (10 minutes)
	@$(BIN)/python -m tests.load.scale

telemetry: .venv/test.stamp ## Measure what metrics and logs cost per token (ROUNDS=)
	$(BIN)/python -m tests.load.telemetry $(if $(ROUNDS),--rounds $(ROUNDS))

resume: .venv/test.stamp ## Measure what it costs per token that an answer outlives its connection (ROUNDS=)
	$(BIN)/python -m tests.load.resume $(if $(ROUNDS),--rounds $(ROUNDS))

bench: .venv/test.stamp ## Measure the cost per token of nginx, the gateway, both, and LiteLLM if installed (QUICK=1 BARS=1 OUT=)
	@$(BIN)/python -m tests.load.bench \
		$(if $(QUICK),--quick) $(if $(BARS),--bars) $(if $(OUT),--out $(OUT))

bench-peers: .venv-peers/bench.stamp ## Install LiteLLM into a separate environment, for `make bench` to compare with

lint: .venv/test.stamp ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/test.stamp ## Format the sources and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Update the locked requirements of every service
	$(PYTHON) -m deploy.packages.lock

clean: ## Remove everything that these commands have created, except keys, certificates and containers
	rm -rf .venv .venv-peers .run .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis

LOCKS := deploy/native/requirements.txt services/gateway/requirements.txt services/engine/requirements.txt
PROJECTS := services/gateway/pyproject.toml services/engine/pyproject.toml

.venv/run.stamp: $(LOCKS) $(PROJECTS) deploy/packages/install.py
	@$(PYTHON) -m deploy.packages.install run
	@touch $@

.venv/test.stamp: .venv/run.stamp tests/requirements.txt
	@$(PYTHON) -m deploy.packages.install test
	@touch $@

.venv/browser.stamp: .venv/test.stamp tests/browser/requirements.txt
	@$(PYTHON) -m deploy.packages.install browser
	@touch $@

.venv-peers/bench.stamp: tests/load/peers/requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check --no-input --require-hashes --no-deps -r $<
	@touch $@

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
