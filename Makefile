# Each target sets up all it needs: a virtual environment in .venv, the package in it, then the job.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test lint peers clean

help:            ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/'

demo: $(VENV)/.demo      ## train a convolutional network on real handwritten digits, and draw what it learned
	$(BIN)/minivision train

test: $(VENV)/.test      ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/peers

lint: $(VENV)/.dev       ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

peers: $(VENV)/.peers    ## hold every operation against PyTorch, Pillow, scikit-image and OpenCV
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/peers

clean:           ## forget the environment and all results
	rm -rf $(VENV) runs build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "minivision needs Python 3.10 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A file .venv/.NAME says that the extras of NAME are installed, for this pyproject.toml.
$(VENV)/.demo: EXTRAS := plot
$(VENV)/.test: EXTRAS := plot,test
$(VENV)/.dev: EXTRAS := dev
$(VENV)/.peers: EXTRAS := plot,test,peers

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@
