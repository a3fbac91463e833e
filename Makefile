# make run · make test · make check · make bench · make soak [QUICK=1] · make plan
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench soak plan clean

run: $(VENV)/.ready
	@$(BIN)/python bot.py

test: $(VENV)/.test-ready
	@HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive bot.py cogs profiles
	@HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(VENV)/.test-ready
	$(BIN)/python -m tests.benchmarks

soak: $(VENV)/.test-ready
	@$(BIN)/python -m tests.soak $(if $(QUICK),--quick)

plan: $(VENV)/.ready
	@$(BIN)/python -m tests.benchmarks.plan

$(VENV)/.ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed."; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing (about 1.5 GB, a few minutes the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.test-ready: tests/requirements.txt requirements.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $(VENV)/.ready $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
