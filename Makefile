# Two commands are all a newcomer needs: `make demo` and `make test`. Both work in a fresh clone with any of
# the Pythons below.

SUPPORTED := 3.13 3.12 3.11
PYTHON ?= $(shell .ci/find-python $(SUPPORTED))
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv pip

.PHONY: demo test unit test-versions test-newest lint format bench memory kafka flink requirements clean

demo: $(VENV)/.installed
	$(BIN)/python -m pipeline --runner=DirectRunner

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

unit: $(VENV)/.installed-dev  ## what needs neither Java nor minutes
	$(BIN)/python -m pytest --ignore=tests/integration --ignore=tests/test_kafka_broker.py $(PYTEST_ARGS)

# What depends on Python or Beam: all but the real servers (in environments of their own), the images and the real broker.
PORTABLE := --ignore=tests/integration --ignore=tests/servers --ignore=tests/deploy --ignore=tests/test_kafka_broker.py
PYTHONS ?= $(SUPPORTED)

test-versions:  ## the unit tests on each Python that is here, in environments of their own (PYTHONS="3.13 3.11")
	@found=; for version in $(PYTHONS); do \
	  python=$$(.ci/find-python $$version 2>/dev/null) || { echo "Python $$version is not here: skipped"; continue; }; \
	  echo "Python $$version ($$python)"; found=yes; \
	  $(MAKE) --no-print-directory .portable PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done; test -n "$$found" || .ci/find-python $(PYTHONS)

# What setup.py allows, not what is locked. Beam's Java transforms stay at the locked version: their tests are not among these.
test-newest:  ## the unit tests with the newest Beam, confluent-kafka and TensorFlow of the registry
	$(MAKE) --no-print-directory .venv-newest/.uv VENV=.venv-newest
	grep -v '^-c' requirements-dev.in | .venv-newest/bin/python -m uv pip install --quiet --upgrade -r - \
	  -e '.[cli,embedded,schemaregistry,vertex,gcp]'
	.venv-newest/bin/python -m uv pip list --quiet | grep -iE '^(apache-beam|confluent-kafka|tensorflow) '
	.venv-newest/bin/python -m pytest $(PORTABLE) $(PYTEST_ARGS)

.PHONY: .portable
.portable: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PORTABLE) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench $(BENCH_ARGS)

memory: $(VENV)/.installed-dev
	$(BIN)/python -m bench.memory

kafka: $(VENV)/.installed-dev  ## a real Apache Kafka to play with
	$(BIN)/python -m tests.kafka_broker

flink: $(VENV)/.installed-dev  ## a real Flink cluster to play with
	$(BIN)/python -m tests.flink_cluster

UPGRADE ?= --upgrade

requirements: $(VENV)/.uv  ## the lock files anew, for all supported Pythons (UPGRADE= keeps what is pinned)
	for name in requirements requirements-dev requirements-service; do \
	  $(UV) compile --quiet $(UPGRADE) --universal --python-version $(lastword $(SUPPORTED)) --generate-hashes --no-strip-extras \
	    --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt || exit 1; \
	done
	$(BIN)/python .ci/pin_extras.py requirements.txt requirements-dev.txt requirements-service.txt

$(VENV)/.uv:
	@echo "making $(VENV) …"
	@test -n "$(PYTHON)"
	@$(PYTHON) -c 'import sys; found = "%d.%d" % sys.version_info[:2]; sys.exit(found not in "$(SUPPORTED)".split() and \
	  f"Python {found} is not supported, only: $(SUPPORTED); make PYTHON=/path/to/one of them")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --quiet --disable-pip-version-check install uv
	@touch $@

$(VENV)/.installed: requirements.txt setup.py $(VENV)/.uv
	@echo "installing requirements.txt (TensorFlow among them) …"
	$(UV) install --quiet --compile-bytecode --require-hashes -r requirements.txt
	$(UV) install --quiet --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(UV) install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-* .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
