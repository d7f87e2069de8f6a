# Two commands are all a newcomer needs: `make demo` and `make test`. Both work in a fresh clone with Python 3.11.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv pip

.PHONY: demo test unit lint format bench memory kafka flink requirements clean

demo: $(VENV)/.installed
	$(BIN)/python -m pipeline --runner=DirectRunner

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

unit: $(VENV)/.installed-dev  ## what needs neither Java nor minutes
	$(BIN)/python -m pytest --ignore=tests/integration --ignore=tests/test_kafka_broker.py $(PYTEST_ARGS)

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

requirements: $(VENV)/.uv
	$(UV) compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
	  --no-emit-find-links requirements.in -o requirements.txt
	$(UV) compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
	  --no-emit-find-links requirements-dev.in -o requirements-dev.txt
	$(UV) compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
	  --no-emit-find-links requirements-service.in -o requirements-service.txt

$(VENV)/.uv:
	@echo "making $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=/path/to/python3.11")'
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
	rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
