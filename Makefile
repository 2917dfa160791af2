PYTHON ?= python3
BIN := .venv/bin
PAGE := book/_build/html/index.html
SOURCES := $(shell find _config.yml _toc.yml book/*.md book/*.bib notebooks/*.ipynb thesis_utils results runs -type f -not -path '*/.*' -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: book test lab demo bench picture strict clean

book: $(PAGE) ## the whole book
	@echo "The book is built. Open file://$(CURDIR)/$(PAGE)"

$(PAGE): .venv/installed $(SOURCES)
	$(BIN)/jupyter-book build --all book
	@touch $@

test: .venv/installed-test ## all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

lab: .venv/installed ## the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

demo: .venv/installed ## trains the demo profile live, then builds the book from those runs
	THESIS_PROFILE=demo $(BIN)/jupyter-book build --all book
	@touch -d 2000-01-01 $(PAGE) # so that `make book` rebuilds
	@echo "The book of the demo profile is built. Open file://$(CURDIR)/$(PAGE)"

bench: .venv/installed-test ## speed, as ratios
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.throughput

picture: .venv/installed ## the README's figure and table, those of the first page
	$(BIN)/python -m thesis_utils.book.readme

strict: .venv/installed ## the book with warnings as errors
	$(BIN)/jupyter-book build --all -W --keep-going book

clean: ## removes what was built; keeps your runs and downloads
	rm -rf .venv book/_build *.egg-info papermill_output/*.egg-info .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: requirements.txt pyproject.toml papermill_output/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) and "Python 3.11 to 3.14 is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv # installs the rest in a fifth of pip's time
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.txt
	touch $@

.venv/installed-test: .venv/installed requirements-test.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements-test.txt
	touch $@
