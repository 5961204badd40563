# The course's commands. Each sets up what it needs in .venv by itself, on Python 3.10 or newer.
# Another Python than python3: make book PYTHON=python3.12; where .venv is there already, make clean
# comes first. GNU make 3.81, the one of macOS, can run this file.

PYTHON ?= python3
# Set here, so that only the command line gives them and no environment variable of the same name.
ARGS :=
NB :=
EPOCHS :=
URL :=
BRANCH :=

BIN := .venv/bin
ONE_CORE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
unexport PYTHONPATH PYTHONHOME
# Else each process of these commands compiles all that it imports anew: seconds each time.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

book: .venv/.ready-book ## Render the book from the stored outputs to _build/html/index.html
	@mkdir -p _build
# A page with a warning is not read again by the next run, which would then pass. So where the last
# run did not end well, all pages are read anew.
	@test -e _build/.book-is-clean || rm -rf _build/.doctrees
	@rm -f _build/.book-is-clean
	@echo "Rendering the book ..."
	@$(BIN)/jupyter-book build . -q -W -n --keep-going >_build/book.log 2>&1 || { \
	  tr -d '\033' <_build/book.log | sed -e 's/\[[0-9][0-9;]*m//g' -e 's|$(CURDIR)/||' \
	    -e '/^Running Jupyter-Book/d' -e '/^Source Folder:/d' -e '/^Config Path:/d' \
	    -e '/^Output Path:/d' >&2; exit 1; }
	@touch _build/.book-is-clean
	@echo "The book: $(CURDIR)/_build/html/index.html"

pdf: .venv/.ready-pdf book ## Print the whole book to _build/autoencoders.pdf; needs Chromium or Chrome
	@$(BIN)/python tools/pdf.py

test: .venv/.ready-test ## Run every test; ARGS="-k numpy" goes to pytest
# Two workers, each with one core: threads that outnumber the cores are many times slower.
	@$(ONE_CORE) $(BIN)/python -m pytest $(ARGS)

lab: .venv/.ready-lab ## Open JupyterLab on the chapters; ARGS="--no-browser" goes to it
	@$(BIN)/jupyter lab notebooks $(ARGS)

outputs: .venv/.ready-test ## Execute the chapters that changed and store their outputs; NB="02 05" picks
# On one core, as make test does: a sum that two threads share is rounded otherwise.
	@$(ONE_CORE) $(BIN)/python tools/notebooks.py outputs $(NB)

portable: .venv/.ready-book ## Write each chapter as one file that runs anywhere, to _build/portable
	@$(BIN)/python tools/portable.py

push-portable: .venv/.ready-book ## Push the portable chapters to the branch portable of origin, for Colab
	@$(BIN)/python tools/portable.py push

test-portable: .venv/.ready-test ## Run portable chapters with Colab's packages, far from here; NB="01 10" picks
	@OMP_NUM_THREADS=2 $(BIN)/python tools/elsewhere.py $(NB) $(ARGS)

test-anywhere: .venv/.ready-test ## Run each notebook in a strange place, tongue and time zone; NB="01 10" picks
	@$(BIN)/python tools/anywhere.py $(NB) $(ARGS)

test-oldest: .venv/.ready-test ## Run the package's tests and NumPy chapters with the oldest packages allowed
	@$(BIN)/python tools/versions.py oldest $(ARGS)

test-newest: .venv/.ready-test ## The same with the newest packages, on Python 3.13
	@$(BIN)/python tools/versions.py newest $(ARGS)

mutation: .venv/.ready-test ## Change the mathematics in each place and see a test notice; ARGS="vae.small" picks
	@$(BIN)/python tools/mutation.py $(ARGS)

mutants: .venv/.ready-test ## Make the named mistakes of each chapter and see its claims fail; NB="01 10" picks
	@$(BIN)/python tools/mutants.py $(NB) $(ARGS)

bench: .venv/.ready-test ## Race the course's training against the usual tutorial's loop; EPOCHS=2 is quicker
	@$(BIN)/python tools/bench.py $(EPOCHS)

repository: .venv/.ready-book ## Set the address for Colab: URL=https://github.com/OWNER/NAME, or none; BRANCH=x
# The shell reads the values from its environment: pasted in here, a quote in one would end the word.
	@$(BIN)/python tools/repository.py $${URL:+"--url=$$URL"} $${BRANCH:+"--branch=$$BRANCH"}

lock: ## Make constraints.txt and the files with hashes anew; ARGS="--upgrade" takes newer versions
# Not in .venv, which cannot be set up while a range and its pin contradict each other.
	@$(PYTHON) tools/lock.py $(ARGS)

licences: .venv/.ready-book ## List the licence of each package in requirements/licences.md
	@$(BIN)/python tools/licences.py

clean: ## Remove all that these commands made: _build, .venv, caches
	@rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find . -path ./.venv -prune -o -path ./.git -prune -o \
	  '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf {} +
	@if [ -e .venv/pyvenv.cfg ] || [ -e .venv/.installing ]; then rm -rf .venv; fi

.PHONY: help book pdf test lab outputs portable push-portable test-portable test-anywhere mutation \
  mutants test-oldest test-newest bench repository lock licences clean

READY := .venv/.ready-book .venv/.ready-pdf .venv/.ready-lab .venv/.ready-test
# A .venv that is not whole, or that a moved folder or a new Python left behind, is never ready.
ifneq ($(shell $(BIN)/python -E -S tools/setup.py --sound 2>/dev/null),sound)
.PHONY: $(READY)
endif
$(READY): .venv/.ready-%: pyproject.toml constraints.txt tools/setup.py
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "$(PYTHON) is not there;" \
	  "the course needs Python 3.10 or newer. Name yours: make $* PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) tools/setup.py $*
