# Two commands are all a newcomer needs: `make demo` and `make test`. Both work in a fresh clone with any of
# the Pythons below.

SUPPORTED := 3.13 3.12 3.11
PYTHON ?= $(shell .ci/find-python $(SUPPORTED))
VENV := .venv
DOCS := .venv-docs
MUTATION := .venv-mutants
FUZZER := .venv-fuzz
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv pip
UNIT := --part=unit --numprocesses=4 --dist=loadscope

.DEFAULT_GOAL := help
.PHONY: help demo test unit coverage coverage-floor test-versions test-newest wheel-check lint mutants mutants-sample format docs reference bench peers chaos soak fuzz audit memory kafka flink image requirements clean

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## installs, and scores handwritten digits with everything embedded
	$(BIN)/python -m pipeline --runner=DirectRunner

test: $(VENV)/.installed-dev  ## the whole suite; wants Java 17 and Maven (PYTEST_ARGS="-k name" for a part)
	$(BIN)/python -m tests.suite $(SUITE_ARGS) $(PYTEST_ARGS)

unit: $(VENV)/.installed-dev  ## what needs neither Java nor minutes
	$(BIN)/python -m pytest $(UNIT) $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev  ## of the unit tests; fails below the floor in pyproject.toml
	$(BIN)/python -m pytest $(UNIT) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

coverage-floor: $(VENV)/.installed-dev  ## what the last measured run covered, by file; fails below the floor in pyproject.toml
	@test -f .coverage || \
	  { echo "nothing has been measured yet: make test SUITE_ARGS=--coverage" >&2; exit 2; }
	$(BIN)/python -m coverage report --skip-covered

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
	  -e '.[cli,embedded,schemaregistry,vertex,sagemaker,gcp,otel,prompt,json-schema]'
	.venv-newest/bin/python -m uv pip list --quiet | grep -iE '^(apache-beam|confluent-kafka|tensorflow) '
	.venv-newest/bin/python -m pytest $(UNIT) $(PYTEST_ARGS)

.PHONY: .portable
.portable: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(UNIT) $(PYTEST_ARGS)

wheel-check:  ## build the release, check it, and run the demo from the wheel in a clean environment
	.ci/wheel-check

lint: $(VENV)/.installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(VENV)/.installed-dev  ## known mutations of the code, which the tests must notice
	$(BIN)/python -m tests.mutants $(MUTANTS)

N ?= 20

mutants-sample: $(VENV)/.installed-dev $(MUTATION)/.installed  ## a random sample of generated mutations (N=20 SEED=1)
	$(BIN)/python -m tests.mutants.sample --number=$(N) $(if $(SEED),--seed=$(SEED)) $(MUTANTS_ARGS)

format: $(VENV)/.installed-dev  ## lets ruff correct what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)/.installed  ## builds the documentation into build/site, and checks its links
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	$(DOCS)/bin/python docs/tools/self_contained.py build/site
	@echo "built: $(CURDIR)/build/site/index.html"

reference: $(VENV)/.installed-dev  ## writes what is made from the code: parts of docs/, deploy/dataflow/metadata.json
	$(BIN)/python -m docs.tools.reference

bench: $(VENV)/.installed-dev  ## this machine's figures (BENCH_ARGS=--quick for a short run)
	$(BIN)/python -m bench $(BENCH_ARGS)

peers: $(VENV)/.installed-dev  ## other ways to score a topic, in turn with this one; writes docs/benchmarks.md (an hour; PEERS_ARGS="--runs=1")
	$(BIN)/python -m bench.peers --write=docs/benchmarks.md $(PEERS_ARGS)

chaos: $(VENV)/.installed-dev  ## faults on purpose, and what became of every record (CHAOS_ARGS=--quick for a short run)
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

soak: MINUTES ?= 60
soak: $(VENV)/.installed-dev  ## a long run under random faults, which must not grow or slow down (MINUTES=60)
	$(BIN)/python -m tests.chaos.soak --minutes=$(MINUTES)

fuzz: MINUTES ?= 5
fuzz: $(FUZZER)/.installed  ## every decoder and parser of answers under atheris (MINUTES=5; FUZZ_ARGS="npy protobuf", --keep, --runs=3000)
	$(FUZZER)/bin/python -m tests.fuzz --minutes=$(MINUTES) $(FUZZ_ARGS)

audit: $(VENV)/.installed-dev  ## the lock files: whole, hashed, and no version with a known vulnerability or a copyleft licence
	$(BIN)/python .ci/audit.py

memory: $(VENV)/.installed-dev  ## whether memory stays flat over 20,000 bundles, and within --memory_mb for any size of record
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench.record_sizes

kafka: $(VENV)/.installed-dev  ## a real Apache Kafka to play with (KAFKA_ARGS="--port=9092")
	$(BIN)/python -m tests.kafka_broker $(KAFKA_ARGS)

flink: $(VENV)/.installed-dev  ## a real Flink cluster to play with
	$(BIN)/python -m tests.flink_cluster

image: $(VENV)/.installed-dev  ## the container images, built, weighed and the service run (root, buildah, debootstrap)
	$(BIN)/python -m tests.deploy.image

UPGRADE ?= --upgrade

requirements: $(VENV)/.uv  ## the lock files anew, for all supported Pythons (UPGRADE= keeps what is pinned)
	for name in requirements requirements-dev requirements-service requirements-aws requirements-gcp requirements-docs requirements-mutants requirements-fuzz; do \
	  $(UV) compile --quiet $(UPGRADE) --universal --python-version $(lastword $(SUPPORTED)) --generate-hashes --no-strip-extras \
	    --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt || exit 1; \
	done
	$(BIN)/python .ci/pin_extras.py $(patsubst %.in,%.txt,$(wildcard requirements*.in))

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

$(DOCS)/.installed $(MUTATION)/.installed $(FUZZER)/.installed: .venv-%/.installed: requirements-%.txt $(VENV)/.uv
	@echo "making .venv-$* …"
	$(PYTHON) -m venv --without-pip .venv-$*
	$(UV) install --quiet --python .venv-$*/bin/python --require-hashes -r $<
	@touch $@

clean:  ## removes what was installed, built or cached
	rm -rf $(VENV) .venv-* .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
