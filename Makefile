# `make lab` and `make test` are all that a reader needs; each sets up .venv first, if need be.
# PYTHON=python3.12 chooses the Python to build it on; ARGS goes to JupyterLab or pytest.

PYTHON3 ?= python3
VENV := .venv/bin/python
START := $(or $(wildcard notebooks/00_start_here.ipynb),notebooks)
# JupyterLab refuses to run as root, which in a container everybody is.
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

# Packages are not compiled when they are installed, so this must not keep them from it for ever.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab run test notebooks site slides setup clean

lab: setup
	$(VENV) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/$(START) $(ROOT_FLAG) $(ARGS)

run: setup
	$(VENV) tools/notebooks.py check

# One pytest for all, so that its last line tells the whole. Whole files go to a worker: the
# cells of a notebook share one kernel. They go in their own order, in which the browser's long files
# come early; xdist's would leave one of them, with few but long tests, to a single worker at the end.
test: setup
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --nbval --nbval-cell-timeout=120 $(ARGS)

notebooks: setup
	$(VENV) tools/notebooks.py execute

site: setup
	$(VENV) tools/pages.py $(ARGS)

slides: setup
	$(VENV) tools/slides.py $(ARGS)

setup:
	@$(PYTHON3) bootstrap.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build site slides *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +
