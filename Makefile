# What developers run. `make` alone lists it. Needs make, sh and Python 3.10 or newer;
# everything else is installed into .venv (or .venv-bench) when a target needs it.

PYTHON ?= python3
EXAMPLE ?= chat
TESTS ?=
LEARN ?=
FUZZ_SECONDS ?= 60
MINUTES ?= 3
BENCH ?= --write docs/benchmarks
SIMULATION ?= --seed 0 --count 2000

# This checkout comes before any installed copy.
HERE = PYTHONPATH="$$(pwd)"
# Finalizers that find an open socket speak up, and tests/runner.py counts that as a failure.
STRICT = -X dev -W error::ResourceWarning

# The steps of `make check`, in this order; .ci/run asks for them one by one.
CHECKS = check-tests check-pythons check-selectors check-simulation check-browser check-lint \
	check-format check-types check-docs

.PHONY: help python learn test run-example check list-checks $(CHECKS) docs fuzz soak bench clean

help:
	@echo "make run-example EXAMPLE=chat   run an example ('make run-example EXAMPLE=list': which there are)"
	@echo "make learn                      write a server yourself, stage by stage (docs/ladder/README.md)"
	@echo "make test                       the test suite, standard library only (TESTS=tests.test_layers: a part)"
	@echo "make check                      everything: every Python found, coverage, properties, lint, types, docs"
	@echo "make docs                       write the quotes and generated parts of docs/ and the READMEs"
	@echo "make fuzz FUZZ_SECONDS=60       fuzz each parser for so many seconds"
	@echo "make soak MINUTES=3             mixed load on a server; what is left of it afterwards"
	@echo "make bench                      measure ourselves and others (BENCH='--scenarios hello': a part)"
	@echo "make clean                      remove what the targets above made"

# Before anything that an older one could not even read.
python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 10) or sys.exit("PyLiteFlux needs Python 3.10 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v)'

test: python
	@echo "test: the suite on $(PYTHON), standard library only"
	@$(HERE) $(PYTHON) $(STRICT) -m tests.runner --jobs 2 $(TESTS)

# LEARN="check --all": another command of docs/ladder/learn.py.
learn: python
	@$(PYTHON) docs/ladder/learn.py $(LEARN)

# EXAMPLE=chat is examples/chat/main.py or examples/chat.py; EXAMPLE=seed/hello, examples/seed/hello.py.
run-example: python
	@for file in "examples/$(EXAMPLE)/main.py" "examples/$(EXAMPLE).py"; do \
	    if [ -f "$$file" ]; then \
	        echo "run-example: $$file (Ctrl-C stops it)"; \
	        $(HERE) exec $(PYTHON) "$$file"; \
	    fi; \
	done; \
	[ "$(EXAMPLE)" = list ] || echo "run-example: there is no example '$(EXAMPLE)'" >&2; \
	echo "make run-example EXAMPLE=NAME, where NAME is one of:"; \
	for file in examples/*.py examples/*/*.py; do \
	    name=$${file#examples/}; \
	    case "$$file" in \
	        *'*'* | */_*) continue;; \
	        */main.py) name=$${name%/main.py};; \
	        *) [ -f "$${file%/*}/main.py" ] && continue; name=$${name%.py};; \
	    esac; \
	    echo "    $$name"; \
	done; \
	[ "$(EXAMPLE)" = list ]

check: $(CHECKS)
	@echo "check: all steps passed"

list-checks:
	@echo $(CHECKS)

# With coverage, the property tests, and an installation into an empty environment.
check-tests: .venv/ready
	@echo "check-tests: the suite with coverage, properties and an installation"
	@rm -f .coverage .coverage.*
	@$(HERE) PYLITEFLUX_CHECK=1 PYLITEFLUX_COVERAGE=1 .venv/bin/python $(STRICT) -m tests.runner \
	    --jobs 2 $(TESTS); \
	status=$$?; .venv/bin/python -m coverage combine --quiet; .venv/bin/python -m coverage report; \
	exit $$status

check-pythons: .venv/ready
	@echo "check-pythons: the suite on every other supported Python of this machine"
	@$(HERE) .venv/bin/python -m tests.runner --other-pythons

check-selectors: .venv/ready
	@for selector in SelectSelector PollSelector; do \
	    echo "check-selectors: the end-to-end tests on $$selector"; \
	    $(HERE) PYLITEFLUX_SELECTOR=$$selector .venv/bin/python $(STRICT) -m tests.runner \
	        --jobs 2 $$(ls tests/end_to_end/test_*.py | tr / . | sed 's/\.py$$//') || exit 1; \
	done

# Needs Chromium and its driver (Debian: chromium and chromium-driver); .ci/run installs them.
check-browser: .venv/ready
	@echo "check-browser: the pages of the examples in headless Chromium"
	@$(HERE) PYLITEFLUX_BROWSER=1 .venv/bin/python -m tests.runner \
	    $$(ls tests/browser/test_*.py | tr / . | sed 's/\.py$$//')

# Worlds by their seed (docs/simulation.md). Another range: SIMULATION='--seed 5000 --count 500'.
check-simulation: python
	@echo "check-simulation: the server in simulated worlds, $(SIMULATION)"
	@$(HERE) $(PYTHON) -m tests.simulation $(SIMULATION) --jobs 2

check-lint: .venv/ready
	@echo "check-lint: ruff check"
	@.venv/bin/ruff check .

check-format: .venv/ready
	@echo "check-format: ruff format --check"
	@.venv/bin/ruff format --check .

check-types: .venv/ready
	@echo "check-types: mypy --strict"
	@.venv/bin/mypy

check-docs: .venv/ready
	@echo "check-docs: docs and code in step"
	@$(HERE) .venv/bin/python -m tests.docs_tools --check

docs: python
	@echo "docs: writing quotes and generated parts"
	@$(HERE) $(PYTHON) -m tests.docs_tools

fuzz: .venv/ready
	@found=no; \
	for file in tests/fuzz/[!_]*.py; do \
	    [ -f "$$file" ] || continue; \
	    found=yes; name=$$(basename "$$file" .py); mkdir -p ".fuzz/$$name"; \
	    seeds="tests/fuzz/corpus/$$name"; [ -d "$$seeds" ] || seeds=; \
	    echo "fuzz: $$file for $(FUZZ_SECONDS) s"; \
	    $(HERE) .venv/bin/python "$$file" -max_total_time=$(FUZZ_SECONDS) \
	        -artifact_prefix=".fuzz/$$name-" ".fuzz/$$name" $$seeds || exit 1; \
	done; \
	[ $$found = yes ] || { echo "fuzz: there is nothing in tests/fuzz" >&2; exit 1; }

# Faults one by one, and how long another client waits: python -m tests.soak faults
soak: python
	@echo "soak: mixed load for $(MINUTES) minutes, standard library only"
	@$(HERE) $(PYTHON) -m tests.soak --minutes $(MINUTES)

bench: .venv-bench/ready
	@echo "bench: ourselves and others, one after the other"
	@$(HERE) .venv-bench/bin/python -m tests.benchmarks.run $(BENCH)

# The environments: an extra of setup.cfg without the package itself, which comes from PYTHONPATH.
READ_EXTRA = import configparser as c, sys; p = c.ConfigParser(); p.read("setup.cfg"); \
	print(p["options.extras_require"][sys.argv[1]].strip())

.venv/ready: setup.cfg | python
	@echo "installing the tools of the dev extra into .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -c '$(READ_EXTRA)' dev > .venv/extra.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r .venv/extra.txt
	@touch .venv/ready

.venv-bench/ready: setup.cfg | python
	@echo "installing the peers of the bench extra into .venv-bench"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -c '$(READ_EXTRA)' bench > .venv-bench/extra.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-bench/extra.txt
	@.venv-bench/bin/python -c '$(READ_EXTRA)' bench-bjoern > .venv-bench/extra.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-bench/extra.txt \
	    >/dev/null 2>&1 || echo "bench: bjoern cannot be built here (it needs cc and libev), so it is left out"
	@touch .venv-bench/ready

clean:
	@echo "clean: removing environments, caches and builds"
	@rm -rf .venv .venv-bench .fuzz .hypothesis .mypy_cache .ruff_cache .coverage .coverage.* build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
