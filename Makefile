# make run: everything from nothing to a running app. make test: everything checked. make help: the rest.

PYTHON ?= python3.11
PORT ?= 8501
ADDRESS ?= 127.0.0.1
PHI3_HOME ?= .phi3
TORCH ?= auto
export PHI3_HOME

VENV := .venv
CLIENTS := .clients
RIVALS := .rivals
PY := $(VENV)/bin/python
# Nothing phones home.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# Where this is set, each of the thousands of processes would compile the same files.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run dev test test-clients test-lm-eval test-all test-units test-journeys test-fast test-changed test-races coverage lint format types hooks setup setup-dev bench bench-real-size bench-registry bench-review bench-evaluation bench-ranking lock \
	clean help
.DEFAULT_GOAL := help

run: $(VENV)/.installed-$(TORCH) ## Install, prepare the embedded model, serve on http://localhost:$(PORT)
	@exec $(PY) -m phi3core app --port $(PORT) --address $(ADDRESS)

dev: $(VENV)/.installed-$(TORCH) ## The same, watching the files: what was saved shows when the page is loaded again
	@export STREAMLIT_SERVER_FILE_WATCHER_TYPE=auto STREAMLIT_SERVER_RUN_ON_SAVE=true; \
	exec $(PY) -m phi3core app --port $(PORT) --address $(ADDRESS)

test: setup-dev ## Everything: lint, types, unit and page tests, Chromium journeys
	@$(MAKE) --no-print-directory --jobs 3 lint types test-all

test-all: setup-dev ## Unit and page tests, and the journeys in Chromium beside them
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; \
	env -u PHI3_HOME $(PY) -m pytest -n 5

test-units: setup-dev ## Unit and page tests
	@env -u PHI3_HOME $(PY) -m pytest -n 4 -m "not browser"

test-journeys: setup-dev ## The journeys in Chromium
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; \
	env -u PHI3_HOME $(PY) -m pytest -m browser

test-fast: setup-dev ## Tests that need neither the model nor a browser
	@env -u PHI3_HOME $(PY) -m pytest -n 4 -m "not model and not browser"

test-changed: setup-dev ## Tests that reach a file which differs from BASE (a commit; without one, from the last commit)
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; \
	found=$$($(PY) scripts/changed_tests.py $(BASE)) || exit 1; \
	test -z "$$found" || env -u PHI3_HOME $(PY) -m pytest -n 4 $$found

coverage: setup-dev ## The same tests without the journeys, and which branches they take (half as long again)
	@env -u PHI3_HOME $(PY) -m pytest -n 5 -m "not browser" --cov

test-races: setup-dev ## All promotions at once and all kills, on every store, and answers in every company (the tests above run a sample; takes long)
	@env -u PHI3_HOME PHI3_RACES=100 PHI3_SCHEDULES=1000 PHI3_HANGUPS=4000 $(PY) -m pytest tests/races \
		tests/engine/test_schedules.py tests/serving/child/test_hanging_up.py

test-clients: setup $(CLIENTS)/.installed ## Real clients (LangChain, the AI SDK, …) against an app of its own; writes docs/clients.md
	@$(PY) clients/run.py

test-lm-eval: setup-dev ## EleutherAI's harness itself against model servers of the embedded model (670 MB, minutes)
	@env -u PHI3_HOME PHI3_LM_EVAL=1 $(PY) -m pytest -m harness

lint: setup-dev ## Style, formatting, import direction, no circle, no file over 300 lines
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports
	@$(PY) scripts/check_structure.py

format: setup-dev ## Rewrite the code in the project's style
	@$(VENV)/bin/ruff check --fix-only .
	@$(VENV)/bin/ruff format .

types: setup-dev ## mypy, strict, on phi3core, the pages and the server
	@$(VENV)/bin/mypy

hooks: setup-dev ## Have Git run lint and types before each commit
	@$(VENV)/bin/pre-commit install

setup: $(VENV)/.installed-$(TORCH) ## The virtual environment with the command phi3, without running anything

setup-dev: $(VENV)/.installed-dev ## The same with what tests and checks need

bench: $(VENV)/.installed-$(TORCH) $(RIVALS)/.built ## Speed against its limits, llama.cpp's server and OpenVINO (compiles the one, once; wants an idle machine)
	@$(PY) -m phi3core demo
	@$(PY) -m benchmarks.chat

bench-real-size: $(VENV)/.installed-$(TORCH) ## Decoding at Phi-3-mini's size, random weights (20 GB of memory, 10 GB of disk)
	@$(PY) -m benchmarks.phi3_mini

bench-registry: setup-dev ## The registry at 10,000 versions against its limits, MLflow's own pages beside it (wants an idle machine)
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; \
	env -u PHI3_HOME PHI3_CACHE="$${PHI3_CACHE:-$(PHI3_HOME)/cache}" $(PY) -m benchmarks.registry

bench-review: setup-dev ## From a vote to the next item, in a review of 5,000 items and a store of 100,000 traces
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; \
	env -u PHI3_HOME PHI3_CACHE="$${PHI3_CACHE:-$(PHI3_HOME)/cache}" $(PY) -m benchmarks.review

bench-evaluation: $(VENV)/.installed-$(TORCH) ## Evaluations: versions at once, the shipped set, what the store costs, a large result's page (wants an idle machine)
	@$(PY) -m phi3core demo
	@PHI3_CHROMIUM="$$(sh scripts/find-chromium.sh)" || exit 1; export PHI3_CHROMIUM; $(PY) -m benchmarks.evaluation

bench-ranking: setup-dev ## The figures of a review of 2,000 votes, and the page that shows them meanwhile
	@$(PY) -m benchmarks.ranking

lock: setup-dev ## Write constraints.txt from what is installed now
	@$(PY) -m pip freeze --exclude-editable | sed 's/+cpu$$//; s/ @ .*//' | grep -E '^[A-Za-z0-9_.-]+==' > constraints.txt

clean: ## Remove the virtual environment (not .phi3, which holds your registry)
	rm -rf $(VENV)

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 17

# 3.11 is what the locked versions are tested on; another one is told so in one line. The stamps are touched last,
# so that an interrupted step is done again.
$(VENV)/.created:
	@sh scripts/make-venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.installed-$(TORCH): $(VENV)/.created requirements.txt constraints.txt
	@sh scripts/install.sh "$(PY)" "$(TORCH)" requirements.txt
	@touch $@

$(CLIENTS)/.installed: $(wildcard clients/requirements-*.txt clients/package*.json)
	@sh scripts/install-clients.sh "$(PY)"
	@touch $@

$(RIVALS)/.built: $(VENV)/.created requirements-bench.txt scripts/build-rivals.sh
	@sh scripts/build-rivals.sh "$(PY)" "$(RIVALS)"
	@touch $@

# Both at once: pip takes half a minute to look through everything, and requirements-dev.txt includes the other.
$(VENV)/.installed-dev: $(VENV)/.created requirements.txt requirements-dev.txt constraints.txt
	@sh scripts/install.sh "$(PY)" "$(TORCH)" requirements-dev.txt
	@touch $(VENV)/.installed-$(TORCH) $@
