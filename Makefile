# Every target sets up .venv first, if need be; nothing has to be activated.
PY := .venv/bin/python
CONFIG ?= slice
TB ?=
WAVES ?=
ARGS ?=
PARALLEL ?= -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all sim formal softfloat spike-lockstep coverage soak check verilog bench generate clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv, where it is missing or out of date (PYTHON=python3.12 chooses)
	@tools/setup.sh

demo: setup ## Classify handwritten digits on the simulated RTL
	@mkdir -p build
	$(PY) -m xpu demo --output build/xpu-demo.png $(ARGS)

test: setup ## Run the tests that CI runs (ARGS="tests/dma -x"; PARALLEL= for one process)
	$(PY) -m pytest -m "not slow" $(PARALLEL) $(ARGS)

test-all: setup ## Run the slow tests as well
	$(PY) -m pytest $(PARALLEL) $(ARGS)

sim: setup ## RTL regression under Verilator: all of tb/, or TB=dma; WAVES=1 writes an FST
	$(PY) tb/run.py $(TB) $(if $(WAVES),--waves) $(ARGS)

spike-lockstep: setup ## A core in lock step with Spike: N=100 random programs
	PYTHONPATH=tests $(PY) tools/spike_lockstep.py --count $(or $(N),100) $(ARGS)

coverage: setup ## Line and toggle coverage of a bench: TB=tensor (or dma, scratchpad, command, cluster)
	$(PY) tb/coverage.py $(or $(TB),tensor) $(ARGS)

formal: setup ## Prove properties of the blocks (ARGS="port_mux --slow" chooses)
	$(PY) tb/formal/run.py $(ARGS)

softfloat: setup ## Floating-point unit against Berkeley SoftFloat at volume (ARGS="--count N --seed S")
	PYTHONPATH=tests $(PY) tools/softfloat.py $(ARGS)

soak: setup ## 100,000 random DMA transfers on the RTL against the model (ARGS="--count N --seed S")
	PYTHONPATH=tests $(PY) tools/soak.py $(ARGS)

check: setup ## Lint, stale generated files, emit and lint every configuration
	$(PY) tools/check.py

verilog: setup ## Write SystemVerilog and JSON of CONFIG=slice (or tiny, ecp5, all) into build/
	$(PY) -m xpu_rtl.build --config $(CONFIG) --out build

bench: setup ## Write docs/results.md from docs/results/*.json
	$(PY) -m xpu bench table $(ARGS)

generate: setup ## Write the generated headers and reference pages again
	$(PY) tools/generate.py

clean: ## Remove what was built, the cached models included
	if [ -x $(PY) ]; then $(PY) -m xpu cache clear; fi
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## The same, and .venv
	rm -rf .venv .venv.new
