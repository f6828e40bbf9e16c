# Every target sets up what it needs by itself, in .venv: Python 3.11 or newer, make and a C++ compiler are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: help demo test check format clean

help:
	@echo "make demo    install, train a small language model for under two minutes, let it write"
	@echo "make test    install, run the whole test suite (under ten minutes on two cores)"
	@echo "make check   format, lint and types"
	@echo "make clean   remove the environment and the demo run"

ENGINE := CMakeLists.txt $(wildcard src/elman/kernels/cpu/*.h src/elman/kernels/cpu/*.cpp)

$(BIN)/elman: pyproject.toml constraints.txt $(ENGINE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "elman needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/elman
	@rm -rf $(DEMO)
	$(BIN)/elman train language-model --out $(DEMO) --minutes 1.5
	@echo
	$(BIN)/elman generate $(DEMO) --length 300 --temperature 0.7 --seed 1
	@echo
	@echo "That was English as a network writes it after a minute and a half. Next:"
	@echo "  $(BIN)/elman generate $(DEMO) --prompt 'The class' --temperature 0.5   a surer text"
	@echo "  $(BIN)/elman train language-model YOUR.txt --minutes 10                your own text, in a run of its own"
	@echo "  $(BIN)/elman diagnose $(DEMO)                                       how its gradients flow"

test: $(BIN)/elman
	$(BIN)/python -m pytest

check: $(BIN)/elman
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(BIN)/elman
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEMO)
