# make demo   sets everything up, builds a real model, serves it, asks it, load-tests it
# make test   sets everything up and runs the tests (no GPU, no Docker)
# make test-clients  both languages' client libraries against one server, healthy and faulty; LANGUAGES=python without Node.js
# make conformance  every family and task through the server, against transformers: docs/conformance.md
# make zoo    real weights from packages: the task's metric, of PyTorch and served
# make precision  real models in every precision: metric, cosine, size, speed, layers kept: docs/precision.md
# make growth  how cost grows with length, batch, concurrency, models and bytes: docs/growth.md
# make bench-clients  the client libraries: throughput beside tritonclient, memory, broken connections: docs/clients.md
# make bench-gpu  engines and PyTorch on this machine's GPU: docs/benchmarks-gpu.md; nothing where there is none
# make bench  the peers, each in an environment of its own, the limit and our server, by turns: docs/benchmarks.md
# make check  linters, types, import rules, documentation
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-clients typescript check conformance zoo precision test-docker format bench growth bench-gpu bench-clients schema clean

demo: $(READY)
	PATH="$(abspath $(BIN)):$$PATH" scripts/demo

test: $(READY) typescript
	$(BIN)/pytest -m "not docker and not gpu and not zoo"

# Which clients: sync and async (python), typescript.
LANGUAGES ?= python typescript
NODE := $(shell command -v node >/dev/null && command -v npm >/dev/null && echo yes)

test-clients: $(READY)
ifneq ($(filter typescript,$(LANGUAGES)),)
ifndef NODE
	@echo "The TypeScript client needs Node.js 20 or later and npm; make test-clients LANGUAGES=python leaves it out" >&2; exit 1
endif
	$(MAKE) typescript
	$(BIN)/python clients/typescript/scripts/with_server.py
endif
	$(BIN)/python clients/conformance/run.py $(addprefix --language ,$(LANGUAGES))

# Where there is no Node.js, or npm reaches no registry, the tests that need this say so.
typescript:
ifdef NODE
	cd clients/typescript && { npm ci --silent || { echo "npm ci failed: the TypeScript client isn't tested" >&2; exit 0; }; npm run --silent build && npm test --silent; }
endif

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/stubs $(BIN)/mypy
	PYTHONPATH=pipeline:clients/python/src $(BIN)/lint-imports
	$(BIN)/python scripts/check_docs.py
	$(BIN)/python scripts/write_figures.py --check

conformance: $(READY)
	$(BIN)/python tests/conformance/run.py

zoo: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/zoo.txt
	$(BIN)/python recipes/zoo/train.py sentiment intent pairs qa
	$(BIN)/pytest -m zoo tests/integration/test_zoo.py
	$(BIN)/python recipes/zoo/measure.py --repository build/zoo_repository --report docs/zoo.md

precision: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/zoo.txt
	$(BIN)/python recipes/zoo/train.py sentiment pairs qa
	$(BIN)/python recipes/zoo/precision.py --report docs/precision.md

test-docker: $(READY)
	TRITONPACK_REQUIRE_DOCKER=1 $(BIN)/pytest -m docker tests/docker

bench: $(READY)
	$(BIN)/python benchmarks/build.py --rounds 2 --write docs
	$(BIN)/python benchmarks/performance.py --rounds 3 --write docs
	$(BIN)/python benchmarks/serving.py --minutes 22 --write docs
	$(BIN)/python scripts/write_figures.py

growth: $(READY)
	$(BIN)/tritonpack build recipes/minilm.yaml --repository build/growth_repository
	$(BIN)/python benchmarks/growth.py --repository build/growth_repository

bench-gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py

bench-clients: $(READY)
	$(BIN)/python benchmarks/clients.py --write docs

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(READY)
	$(BIN)/python scripts/write_schema.py

clean:
	rm -rf $(VENV) build reports

# Torch first and alone: on a machine whose pip finds a CPU build of it, nothing later replaces it.
$(READY): pyproject.toml clients/python/pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "tritonpack needs Python 3.11 or later"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e 'clients/python[telemetry]' -e '.[build,evaluation,openvino,rtx,loadtest,tune,dev]'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/data.txt -r requirements/stubs.txt
	$(BIN)/python scripts/repair_tensorrt_stubs.py $(VENV)/stubs
	touch $@
