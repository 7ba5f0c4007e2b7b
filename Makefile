# Everything one does with a checkout; `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
# Only the machine's own settings of Prefect and git could lead our programs elsewhere.
unexport PREFECT_API_URL PREFECT_PROFILE PREFECT_HOME PREFECT_API_AUTH_STRING PREFECT_API_KEY
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

.PHONY: help install .venv .venv-labelstudio .venv-docs demo encoder down test test-fast test-slow coverage check docs faults mutants e2e-camvid camvid-seeds gpu-bench fuzz lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1|/' | \
	  while IFS='|' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

# $(call environment,FOLDER,LOCK AND WHAT ELSE DECIDES,COMMAND AFTERWARDS): nothing to do while these
# files, Python and the place are those of the last install.
PIP = bin/python -m pip install --disable-pip-version-check
define environment
	@stamp=$$( (cat $(2); $(PYTHON) --version; pwd) | sha256sum | cut -c1-16); \
	if [ "$$(cat $(1)/.installed 2>/dev/null || true)" = "$$stamp" ]; then \
	  echo "$(1): up to date"; \
	else \
	  echo "$(1): installing $$(grep -c == $(firstword $(2))) packages ..."; \
	  rm -f $(1)/.installed; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'; \
	  $(PYTHON) -m venv $(1) || { echo "no venv: apt-get install python3-venv" >&2; exit 1; }; \
	  { $(1)/$(PIP) --requirement $(firstword $(2)); $(3) $(1)/bin/python -m pip check; } 2>&1 | \
	    sed -u 's/^/$(1): /'; \
	  echo "$$stamp" > $(1)/.installed; \
	  echo "$(1): installed in $$SECONDS s, $$(du -sh $(1) | cut -f1)"; \
	fi
endef

install: ## both environments: the project's and Label Studio's
	@$(MAKE) -j2 .venv .venv-labelstudio  # together: each pip uses one core

.venv:
	$(call environment,$@,requirements.lock pyproject.toml,$@/$(PIP) --no-deps --no-build-isolation --editable .;)

.venv-labelstudio:
	$(call environment,$@,requirements-labelstudio.lock,)

.venv-docs:
	$(call environment,$@,requirements-docs.lock,)

demo: ## the whole loop on this machine with a simulated annotator; leaves its pages up: SEED=0
	@export SSL_LOOP_DEMO_STARTED=$$(date +%s); $(MAKE) install; $(BIN)/ssl-loop quickstart workspaces/demo --seed $(or $(SEED),0)

encoder: .venv ## train the demo's encoder anew on synthetic day scenes: flows/demo/street_encoder.safetensors
	$(BIN)/python -m flows.demo.street_encoder

down: ## stop what `make demo` and `make e2e-camvid` started
	@for workspace in workspaces/*/.ssl-loop; do \
	  [ -d "$$workspace" ] || continue; \
	  $(BIN)/ssl-loop down --workspace "$${workspace%/.ssl-loop}"; \
	done

test: install ## the tests but the static and the slow ones, on all cores; names what it skips
	$(BIN)/python -m pytest -m "not slow" -rs --numprocesses auto --dist loadfile --no-loadscope-reorder --ignore tests/static

# Neither marked nor by a fixture said to start a program (tests/support/programs.py holds it), and
# none that takes long by itself.
FAST := not (programs or services or browser or postgres or data or heavy or slow)

test-fast: .venv ## the tests without git, DVC, services and long trainings: 80 seconds
	$(BIN)/python -m pytest -q -m "$(FAST)" --numprocesses auto --dist loadfile --ignore tests/static

coverage: .venv ## lines of pipeline and db that `make test-fast` runs; ends below the floor in pyproject.toml
	$(BIN)/python -m pytest -q -m "$(FAST)" --numprocesses auto --dist loadfile --ignore tests/static \
	  --cov --cov-report term:skip-covered

test-slow: install ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow -rs

check: install ## static checks: format, lint, types, security, layers, docs, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m bandit --quiet -c pyproject.toml -r pipeline db flows
	$(BIN)/python -m pytest -q tests/static
	@folder=$$(mktemp -d); trap 'rm -r "$$folder"' EXIT; \
	$(BIN)/alembic -x url="$$folder/ledger.db" upgrade head; \
	$(BIN)/alembic -x url="$$folder/ledger.db" check

docs: .venv-docs ## the documentation as a site in build/site; a broken link, anchor or image ends it
	.venv-docs/bin/python -m docs.build_site build/site-source
	.venv-docs/bin/zensical build --strict --clean --config-file zensical.toml

faults: install ## what must hold after faults of every kind: N=300 SEED=0 JOBS=1
	$(BIN)/python -m tests.faults $(or $(N),300) --seed $(or $(SEED),0) --jobs $(or $(JOBS),1)

mutants: install ## planted faults, one at a time, which the tests must catch; writes tests/mutations.md
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only '$(ONLY)')

e2e-camvid: install ## CamVid day, then dusk, on the real services: DATA=DIR (camvid/, encoders/)
	@[ -n "$(DATA)" ] || { echo "say where the data are: make e2e-camvid DATA=DIR" >&2; exit 2; }
	$(BIN)/python -m benchmarks.camvid.end_to_end --data "$(DATA)"

camvid-seeds: install ## the same rounds without services, 3 seeds: DATA=DIR
	@[ -n "$(DATA)" ] || { echo "say where the data are: make camvid-seeds DATA=DIR" >&2; exit 2; }
	$(BIN)/python -m benchmarks.camvid.several_seeds --data "$(DATA)"

# On a CPU: make gpu-bench FLAGS='--device cpu --small'. Without DATA only what needs no photographs.
gpu-bench: .venv ## rates and CamVid on a GPU, at most 9 minutes a call, goes on: DATA=DIR FLAGS=
	$(BIN)/python -m benchmarks.gpu $(if $(DATA),--data "$(DATA)") $(FLAGS)

CASES ?= 100000
fuzz: install ## damaged files for every reader, CASES=100000 each, JOBS=1; writes benchmarks/results/fuzz.md
	$(BIN)/python -m benchmarks.robustness.fuzz --cases $(CASES) --jobs $(or $(JOBS),1)

lock: ## resolve all environments anew and write the lock files
	@for file in requirements.lock requirements-labelstudio.lock requirements-docs.lock; do \
	  folder=$$(mktemp -d); \
	  $(PYTHON) -m venv "$$folder"; \
	  case $$file in *labelstudio*) what="label-studio==1.23.2";; *docs*) what="zensical==0.0.73";; *) what=".[dev]";; esac; \
	  "$$folder/bin/python" -m pip install "$$what"; \
	  "$$folder/bin/python" -m pip check; \
	  grep '^#' $$file > "$$folder/lock"; \
	  "$$folder/bin/python" -m pip freeze --all --exclude ssl-loop --exclude pip | \
	    sed -E -e '/^(nvidia-|cuda-|triton)/ s/$$/ ; sys_platform == "linux"/' \
	      -e '/^atheris/ s/$$/ ; sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.14"/' \
	      >> "$$folder/lock"; \
	  mv "$$folder/lock" $$file; \
	  rm -r "$$folder"; \
	done

clean: down ## stop the services, remove all environments, caches and demo workspaces
	rm -rf .venv .venv-labelstudio .venv-docs .cache workspaces .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
