# Two commands always work on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-extras types-extras test-page test-versions test-cluster fuzz chaos lint types dist pictures bench \
	bench-leaks bench-peers bench-cluster clean

.DEFAULT_GOAL := help
include tests/chart/tools.mk images/image.mk

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -e '.[embedded,metrics,kubernetes]' --group test
	@touch $@

# an environment that has all of the first one, and more: a minute less than installing it twice
define BESIDE
$(PYTHON) -m venv $(1)
$(BIN)/python -c "import pathlib, site; \
	of = next(pathlib.Path('$(1)').glob('lib/python*/site-packages')); \
	(of / 'beside.pth').write_text(f'import site; site.addsitedir({site.getsitepackages()[0]!r})\n')"
endef

CHECKS := $(VENV)-checks/bin
$(VENV)-checks/.checks: pyproject.toml
	$(PYTHON) -m venv $(VENV)-checks
	$(CHECKS)/python -m pip install --quiet 'pip>=25.1'
	$(CHECKS)/python -m pip install --quiet --group checks
	@touch $@

PAGE := $(VENV)-page/bin
$(VENV)-page/.page: pyproject.toml $(VENV)/.test
	$(call BESIDE,$(VENV)-page)
	$(PAGE)/python -m pip install --quiet 'pip>=25.1'
	$(PAGE)/python -m pip install --quiet --group page
	@touch $@

demo: $(VENV)/.demo  ## identify 2,000 files with a model that is loaded once per replica
	$(BIN)/python -m actorq.demo

# beside the one above: textual installs `rich`, and redis-py imports the whole of OpenTelemetry's SDK where it finds it,
# so each process of a test would take 0.05 to 0.1 s longer to start
EXTRAS_BIN := $(VENV)-extras/bin
$(VENV)-extras/.extras: pyproject.toml $(VENV)/.test
	$(call BESIDE,$(VENV)-extras)
	$(EXTRAS_BIN)/python -m pip install --quiet 'pip>=25.1'
	$(EXTRAS_BIN)/python -m pip install --quiet --group extras
	@touch $@

test: $(VENV)/.test tools lint types dist test-extras  ## lint, types, and the whole test suite against a real server
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

types-extras: $(VENV)-extras/.extras  ## mypy over the live view and traces, with the types of textual and OpenTelemetry
	$(EXTRAS_BIN)/python -m mypy -p actorq.terminal -m actorq.base.tracing -p tests.watch -p tests.pictures -p tests.tracing

test-extras: $(VENV)-extras/.extras  ## the live view, every key of it on real work, and traces
	PYTHONDONTWRITEBYTECODE= $(EXTRAS_BIN)/python -m pytest tests/watch tests/tracing

VERSIONS ?= 3.12 3.13 3.14
TESTS    ?= tests
# of an interpreter: on PATH, or among those that pyenv keeps; a shim of pyenv's may be there without what it stands for
FIND      = for found in python$(1) $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1).*/bin/python; do \
	"$$found" -c "" 2>/dev/null && echo "$$found" && break; done

test-versions: $(VERSIONS:%=test-%)  ## the test suite on each further Python that is found; TESTS= for a part of it
test-3.%: tools
	@python=$$($(call FIND,3.$*)); test -n "$$python" || { echo "SKIPPED: no Python 3.$* here" >&2; exit 0; }; \
	$(MAKE) --no-print-directory PYTHON="$$python" VENV=.venv-3.$* .venv-3.$*/.test && \
	.venv-3.$*/bin/python -m pytest $(TESTS)

test-cluster: $(VENV)/.test cluster-tools  ## chart, pools and regular tasks on the cluster of the current KUBECONFIG
	@kubectl version >/dev/null 2>&1 || .tools/bin/kubectl version >/dev/null 2>&1 || \
		{ echo "SKIPPED: no cluster answers; set KUBECONFIG to one whose user may create and delete namespaces, and" \
		"all in them. tests/cluster/conftest.py says what else counts." >&2; exit 0; }; \
	ACTORQ_TEST_CLUSTER=1 $(BIN)/python -m pytest tests/cluster -p no:randomly -n 0

test-page: $(VENV)-page/.page  ## the page of `actorq monitor` in a real browser, which needs chromium and chromium-driver
	$(PAGE)/python tests/page/tools.py
	$(PAGE)/python -m pytest tests/page -p no:randomly -n 0

fuzz: $(VENV)/.test  ## bytes of anybody's for everything that reads from Redis, a minute; SECONDS=600 for longer
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

chaos: $(VENV)/.test  ## kills, cuts, freezes and losses while maps run, ten minutes; SECONDS=60 for less
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),600)
	$(BIN)/python -m tests.chaos.outliving --inputs $(or $(INPUTS),20000)

LONGEST = 460
lint: $(VENV)/.test $(VENV)-checks/.checks  ## ruff: rules and formatting; which module may import which; no file of more than 460 lines
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(CHECKS)/lint-imports --no-logo --no-cache
	@find actorq benchmarks tests -name '*.py' -exec wc -l {} + | \
		awk '$$2 != "total" && $$1 > $(LONGEST) {print $$2 ": " $$1 " lines, more than $(LONGEST)"; long = 1} END {exit long}'

types: $(VENV)/.test  ## mypy, strict, over package, tests and benchmarks
	$(BIN)/mypy

dist: $(VENV)/.test $(VENV)-checks/.checks  ## the source distribution and the wheel, in dist/, as a package index would take them
	@mkdir -p dist && rm -f dist/actorq-*.tar.gz dist/actorq-*.whl
	$(BIN)/python -P -m build --no-isolation --outdir dist >dist/build.log 2>&1 || { cat dist/build.log; exit 1; }
	$(CHECKS)/python -P -m twine check --strict dist/actorq-*.tar.gz dist/actorq-*.whl

pictures: $(VENV)-extras/.extras $(VENV)-page/.page  ## the pictures of the documentation; some need chromium
	$(EXTRAS_BIN)/python -m tests.pictures.watch docs/images/watch.svg --keys down,down,down
	$(PAGE)/python -m tests.page.pictures

bench: $(VENV)/.test  ## the benchmark table, with the floors of this machine
	$(BIN)/python -m benchmarks.run

bench-leaks: $(VENV)/.test  ## what an input sees of the one before it, here and on the peers (installs them in .peers)
	$(BIN)/python -m benchmarks.leaks

bench-peers: $(VENV)/.test  ## actorq beside others that run functions on workers (installs them in .peers); writes docs/peers.md; ALL=1 for more
	$(BIN)/python -m benchmarks.peers $(if $(ALL),--all)

bench-cluster: $(VENV)/.test cluster-tools  ## actors beside regular tasks on the cluster of the current KUBECONFIG
	$(BIN)/python -m benchmarks.cluster

clean:           ## removes the environment and all caches
	rm -rf $(VENV) .venv-* .tools .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
