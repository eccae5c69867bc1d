# Everything happens in .venv; what is in it says the lock file that `choose_lock.py` names.
# The Python that .venv has; for a new one the first of these.
PYTHON ?= $(or $(patsubst .venv/.installed-by-%,%,$(firstword $(wildcard .venv/.installed-by-*))), \
	$(shell command -v python3.11 || command -v python3.13 || command -v python3.12 || echo python3.11))
BIN := .venv/bin
INSTALLED := .venv/.installed-by-$(notdir $(PYTHON))
RUN_DIR ?= runs/shortvideo
IMPRESSIONS ?= 200000
USERS ?= 5000
# Without `scale` (two hours, 30 GB) and `interests` (eighteen trainings on nine logs), which are run by themselves.
BENCHMARKS := ingest training serving evaluation routing_speed sequence_speed seesaw logs census tabular ablation freshness
RESOLVE = $(BIN)/uv pip compile --quiet setup.py --extra kubeflow --extra redis --extra dev --no-header --upgrade

.DEFAULT_GOAL := help
.PHONY: help setup browser redis fuser prism run test lint bench lock trixie clean

help:  ## What there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(INSTALLED)  ## The environment, from the lock file

# Bytecode, since where PYTHONDONTWRITEBYTECODE is set each process would compile TensorFlow and TFX anew, for ten seconds.
$(INSTALLED): $(wildcard requirements.*lock) choose_lock.py setup.py legacy_keras.pth $(wildcard third_party/*/*.toml)
	@$(PYTHON) choose_lock.py >/dev/null
	@test -e $(BIN)/$(notdir $(PYTHON)) || rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --compile-bytecode $$($(BIN)/python choose_lock.py)
	$(BIN)/uv pip install --quiet uv
	test $$($(BIN)/python choose_lock.py) != requirements.lock || \
		$(BIN)/uv pip install --quiet ./third_party/tfx_bsl_sql_util
	$(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

run: setup  ## The main job: simulate short-video logs, run the whole pipeline, print the summary
	$(BIN)/fulcrum simulate --out $(RUN_DIR)/logs --users $(USERS) --impressions $(IMPRESSIONS) --seed 1
	$(BIN)/fulcrum run schema/specs/shortvideo.yaml --logs $(RUN_DIR)/logs --output $(RUN_DIR)

test: setup  ## The whole test suite, in two processes; says at its end what was skipped
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(PYTEST_OPTIONS)

browser:  ## Chromium, in which the tests open the report; without it they are skipped
	@command -v chromium >/dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends chromium) >/dev/null || echo "Chromium can't be installed here"

fuser:  ## Java's graph fuser, by which Flink and Spark plan Beam jobs (JDK 11 and Maven); without it its tests are skipped
	@mvn --quiet --batch-mode --file tests/java_fuser compile dependency:build-classpath \
		-Dmdep.outputFile=target/classpath >/dev/null || echo "Java's fuser can't be built here"

prism:  ## Beam's portable runner and its start of a worker (Go 1.26, two minutes); without them their tests are skipped
	@mkdir -p build; version=v$$(sed -n 's/^apache-beam==//p' requirements.lock); \
	for attempt in 1 2 3; do \
		test -e build/bin/prism-$$version && exit; \
		GOFLAGS= GOBIN=$(CURDIR)/build/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@$$version \
			github.com/apache/beam/sdks/v2/python/container@$$version 2>build/prism.log && touch build/bin/prism-$$version; \
	done; \
	test -e build/bin/prism-$$version || { tail -n 3 build/prism.log; echo "Prism can't be built here"; }

redis:  ## redis-server, on which the tests run the online store too; without it they are skipped
	@command -v redis-server >/dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends redis-server) >/dev/null || echo "Redis can't be installed here"

lint: setup  ## Style, types, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## Every benchmark but scale and interests, against what is expected of it; takes hours
	@failed=0; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || failed=1; done; \
		exit $$failed

lock: setup  ## Resolve the requirements anew, for both lock files
	$(RESOLVE) --override requirements.overrides.txt --python-version 3.11 --output-file requirements.lock
	$(RESOLVE) --universal --python-version 3.11 --output-file requirements.glibc-2.39.lock

trixie:  ## Debian 13 and its Python 3.13 in build/trixie (as root, with debootstrap): the main job and the tests there
	.ci/trixie

clean:  ## Remove what running made
	rm -rf runs .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
