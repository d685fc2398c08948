# make run    the main job: the notebooks over the miniature family, and a page that shows them
# make test   the tests, two files at a time (JOBS=4: four)
# make bench  speed and memory beside lm-evaluation-harness, CTranslate2, transformers and papermill (45 minutes, 8 GB; QUICK=1: 8 minutes)
# make docs   the documentation site: build/docs/index.html
# make pack   an answer pack: PRESET=laptop MODELS="bloomz-1b1 mt0-base" OUT=FOLDER NOTE="…"
# make coursework   coursework/release: what students get, and what instructors keep
# Each sets up .venv by itself when it is missing or stale.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup pack coursework coursework-tests run test oracle-tests gguf-tests browser-tests check lab notebooks verify summary soak bench docs clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m compileall -q src
	touch $(READY)

run: $(READY)
	$(BIN)/workbench run --all --keep-going

test: $(VENV)/.clients
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

$(VENV)/.clients: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[clients,language-id,oracles,quantized]"
	touch $@

oracle-tests: $(VENV)/.oracles
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_oracles.py

$(VENV)/.oracles: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[all-oracles]"
	touch $@

gguf-tests: $(VENV)/.gguf
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_gguf.py tests/test_gguf_convert.py

# llama.cpp's library alone, for any processor with AVX2, kept for the next checkout: five minutes on two cores
LLAMA := $(HOME)/.cache/workbench-llama-0.3.36
$(LLAMA)/lib/libllama.so: | $(READY)
	rm -rf $(LLAMA) && mkdir -p $(LLAMA)/lib
	$(BIN)/pip download --quiet --no-deps --no-binary :all: --dest $(LLAMA) llama-cpp-python==0.3.36
	tar -xzf $(LLAMA)/*.tar.gz -C $(LLAMA) --strip-components 1
	cmake -S $(LLAMA)/vendor/llama.cpp -B $(LLAMA)/build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF -DLLAMA_BUILD_COMMON=OFF \
		-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
	cmake --build $(LLAMA)/build --target llama --parallel $(JOBS)
	cp -P $(LLAMA)/build/bin/*.so* $(LLAMA)/lib/

$(VENV)/.gguf: $(READY) $(LLAMA)/lib/libllama.so
	CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" $(BIN)/pip install --quiet --no-deps $(LLAMA)/llama_cpp_python-0.3.36.tar.gz
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))') && mkdir -p $$site/llama_cpp/lib && \
		cp -P $(LLAMA)/lib/* $$site/llama_cpp/lib/
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[gguf]"
	touch $@

# pages and JupyterLab in the system's Chromium (apt-get install chromium npm fonts-noto-core); screenshots in build/screenshots
browser-tests: $(VENV)/.browser build/axe/axe.min.js
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/test_browser*.py

$(VENV)/.browser: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[browser]"
	touch $@

AXE := 4.14.1
build/axe/axe.min.js:
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent axe-core@$(AXE) && tar -xzf axe-core-$(AXE).tgz --strip-components 1 package/axe.min.js || \
		echo "axe-core cannot be fetched by npm: the tests that need it are skipped"

soak: $(READY)
	$(BIN)/python -m pytest -m soak

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

$(VENV)/.bench: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	touch $@

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

verify: $(READY)
	$(BIN)/workbench verify --workers 2 --limit 600 --keep runs/verify

summary: $(READY)
	@$(BIN)/python -m workbench.runs.summary runs runs/verify

pack: $(READY)
	$(BIN)/workbench pack $(or $(PRESET),laptop) $(addprefix --model ,$(MODELS)) $(if $(OUT),--out $(OUT)) --note "$(NOTE)"

coursework: $(READY)
	$(BIN)/python -m workbench.grading coursework

coursework-tests: $(VENV)/.coursework
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_coursework_nbgrader.py

$(VENV)/.coursework: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[coursework]"
	touch $@

docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

$(VENV)/.docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

# JupyterLab with settings of its own (no question about news, guides shown as pages): a user's are neither read nor changed
LAB := $(CURDIR)/build/lab
START := $(or $(wildcard notebooks/00_playground.ipynb),README.md)

lab: $(READY) $(LAB)/settings
	JUPYTERLAB_SETTINGS_DIR=$(LAB)/settings JUPYTERLAB_WORKSPACES_DIR=$(LAB)/workspaces $(BIN)/jupyter lab \
		--ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/$(START) --ServerApp.jpserver_extensions=workbench.runs.lab=True $(ARGS)

$(LAB)/settings:
	mkdir -p $@/@jupyterlab/apputils-extension $@/@jupyterlab/docmanager-extension
	echo '{"fetchNews": "false"}' > $@/@jupyterlab/apputils-extension/notification.jupyterlab-settings
	echo '{"defaultViewers": {"markdown": "Markdown Preview"}}' > $@/@jupyterlab/docmanager-extension/plugin.jupyterlab-settings

notebooks: $(READY)
	$(BIN)/python -m workbench.runs notebooks/[0-9]*.ipynb

clean:
	rm -rf runs
