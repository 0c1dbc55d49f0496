# Every command of the project; each is one line of scripts/. `make` alone lists them.
# PYTHON names the interpreter the virtual environment is made with (3.11 or newer).
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV_PYTHON := .venv/bin/python
FUZZ_SECONDS ?= 60
TORCH ?= 1
FAULT_RUNS ?= 25
SOAK_MINUTES ?= 10
SECONDS ?= 600
BENCH_MIB ?= 256
LARGE_MIB ?= 1024
LARGE := test_hash and random or bf16 and (test_publish or test_reconstruct)
PYTHON_T ?= python3.14t

.DEFAULT_GOAL := help
.PHONY: help demo test quick nightly faults soak soak-gateway bench bench-gateway build fmt lint fuzz sanitize freethreaded coverage deny wheel clean python

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '' >/dev/null 2>&1; then \
	  echo "No usable Python 3.11 or newer found ($(if $(PYTHON),PYTHON=$(PYTHON) does not run,looked for python3 and python3.11 to python3.14))." >&2; \
	  echo "Install one (for example 'apt install python3.11 python3.11-venv') or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; fi

build: python ## make .venv with the package in it (only what has changed)
	@$(PYTHON) scripts/bootstrap.py

demo: build ## the main job with the real clients: upload, download, compare, measure
	@$(VENV_PYTHON) scripts/demo.py

test: build ## all tests and checks, with coverage (TORCH=0 leaves out the torch download)
	@TORCH=$(TORCH) $(VENV_PYTHON) scripts/check.py

quick: build ## the tests that take seconds
	@$(VENV_PYTHON) -m pytest -q -m "not peers and not heavy and not nightly"

nightly: build ## the long loops: ten times the kills, fuzzing of every target
	@TORCH=$(TORCH) $(VENV_PYTHON) scripts/check.py --nightly
	@$(VENV_PYTHON) scripts/fuzz.py --seconds $(FUZZ_SECONDS)

faults: build ## every fault between the mirror and its upstream, each FAULT_RUNS times at random places
	@TORCH=0 $(VENV_PYTHON) scripts/peers.py
	@XETWAY_FAULT_RUNS=$(FAULT_RUNS) $(VENV_PYTHON) -m pytest -q tests/peers/test_mirror_faults.py tests/peers/test_mirror_disasters.py

soak: build ## SOAK_MINUTES of mixed load and faults on a mirror: no leak, nothing stuck, no wrong byte
	@$(VENV_PYTHON) scripts/soak.py --minutes $(SOAK_MINUTES)

soak-gateway: build ## SECONDS of mixed load on the gateway and its upstreams' faults: no leak, no wrong byte or number
	@$(VENV_PYTHON) scripts/soak_gateway.py --seconds $(SECONDS)

bench: build ## everything against its peers: benches/results/, docs/benchmarks.md; each bench runs alone too
	@$(VENV_PYTHON) -m pytest benches/bench_codec.py --size-mib $(BENCH_MIB)
	@$(VENV_PYTHON) -m pytest benches/bench_codec.py --size-mib $(LARGE_MIB) --name large -k "$(LARGE)"
	@$(VENV_PYTHON) benches/bench_kernels.py
	@$(MAKE) --no-print-directory bench-gateway
	@$(VENV_PYTHON) benches/bench_download.py
	@$(VENV_PYTHON) benches/bench_mirror.py

bench-gateway: build ## the gateway beside vllm-router, sglang-router, LiteLLM and nginx (Linux)
	@$(VENV_PYTHON) benches/bench_gateway.py
	@$(VENV_PYTHON) benches/goals.py
	@$(VENV_PYTHON) benches/plots.py

fmt: build ## format all sources
	@cargo fmt --all
	@$(VENV_PYTHON) -m ruff format .
	@$(VENV_PYTHON) -m ruff check --fix --quiet . || true

lint: build ## formatting, clippy, ruff, mypy, stubtest
	@$(VENV_PYTHON) scripts/check.py --lint

fuzz: build ## fuzz each target for FUZZ_SECONDS (needs a nightly toolchain and cargo-fuzz)
	@$(VENV_PYTHON) scripts/fuzz.py --seconds $(FUZZ_SECONDS)

sanitize: build ## Rust tests under Miri and the address and thread sanitizers (needs a nightly toolchain)
	@$(VENV_PYTHON) scripts/sanitize.py

freethreaded: build ## the tests on a Python without interpreter lock (PYTHON_T names it)
	@$(VENV_PYTHON) scripts/freethreaded.py --python $(PYTHON_T)

coverage: build ## Rust coverage alone (needs llvm-profdata and llvm-cov)
	@$(VENV_PYTHON) scripts/rust_coverage.py

deny: ## licenses, sources, advisories of the Rust dependencies (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny --locked check bans licenses sources
	cargo deny --locked check advisories

wheel: build ## a wheel and an sdist in dist/
	@$(VENV_PYTHON) -m maturin build --release --locked --out dist
	@$(VENV_PYTHON) -m maturin sdist --out dist

clean: ## remove everything that was built
	rm -rf .venv .venvs target rust/fuzz/target dist coverage .coverage* .mypy_cache .ruff_cache .pytest_cache .benchmarks .hypothesis
	find python tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
	find python/xetway -name '_native*.so' -delete
