# Commands for developers. `.ci/run` uses them too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
JOBS ?= 2

DATA ?= chest_xray
PREPARED ?= data/prepared
BUNDLE ?= handler/model
VERSION ?= 3.4.0

.PHONY: docker help install serve test model figures openapi lint lock clean policy sam-build sam-local deploy undeploy smoke space-files space \
	figures-named smoke-named space-named

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# An interpreter that is named must be used, also if a `.venv` of another one is complete.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) --version 2>&1),$(shell test -x $(BIN)/python && $(BIN)/python --version 2>&1))
$(shell rm -f $(VENV)/serving $(VENV)/everything)
endif
endif

# A virtual environment in folder $(1), with a Python from 3.11 to 3.$(2), because $(3). One of another Python is replaced.
define environment
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(2)))' || { \
	echo "error: this needs Python 3.11 to 3.$(2) ($(3)), and $(PYTHON) is $$(command -v $(PYTHON) >/dev/null && $(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	echo "Install one and name it: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.13" >&2; exit 1; }
@test "$$($(1)/bin/python --version 2>&1)" = "$$($(PYTHON) --version 2>&1)" || rm -rf $(1)
$(PYTHON) -m venv $(1)
endef

$(VENV)/serving: requirements.lock
	$(call environment,$(VENV),14,others are not tested)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/everything: requirements-dev.lock
	$(call environment,$(VENV),13,TensorFlow has no packages for newer ones; make serve takes 3.14)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

install: $(VENV)/everything  ## install everything: training, export, benchmark and tests

serve: $(VENV)/serving  ## install the serving packages, answer on http://localhost:8000
	$(BIN)/python -m handler serve --port $(PORT)

# The tests of the template need its tools.
test: $(VENV)/everything .venv-sam/ready .venv-checkov/ready  ## install everything, run the whole test suite
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

model: $(VENV)/everything  ## train and export the model of this repository: make model DATA=chest_xray
	$(BIN)/python -m training prepare --data "$(DATA)" --out data/prepared
	$(BIN)/python -m training fit --data data/prepared --out runs/hed --init hed --seed 1 --sizes 64x8 --mixed-precision
	$(BIN)/python -m training fit --data data/prepared --out runs/half --init scratch --seed 1 --set width=0.5 \
		--sizes 64x10,96x14 --mixed-precision
	$(BIN)/python -m training prune --data data/prepared --run runs/hed --teacher runs/hed --teacher runs/half \
		--out runs/pruned --seed 1 --size 80 --gmacs 0.175 --epochs 60 \
		--set mixup=0.3 --set cached_augmentations=10 --set distillation=0.8 --mixed-precision
	$(BIN)/python -m export build --model runs/pruned --data data/prepared --out "$(BUNDLE)" --version $(VERSION) \
		--about export/kermany.json
	$(BIN)/python -m training evaluate --model "$(BUNDLE)" --data "$(DATA)" --validation runs/pruned --out runs/held-out
	$(BIN)/python -m export card "$(BUNDLE)" --evaluation runs/held-out/metrics.json
	$(BIN)/python -m infra.golden
	$(BIN)/python -m training.examples --model "$(BUNDLE)" --data data/prepared --images "$(DATA)" --credit xrays

# These check the arguments of a target before anything is installed.
figures-named:
	@test -d "$(ADULTS)" -a -d "$(PREPARED)" || { \
	echo "error: name both folders: make figures PREPARED=data/prepared ADULTS=DIR" >&2; exit 1; }

smoke-named:
	@test -n "$(URL)" || { echo "error: name the service: make smoke URL=https://... [ARGS=--iam]" >&2; exit 1; }

space-named:
	@test -n "$(REPO)" || { echo "error: name the Space: make space REPO=USER/NAME" >&2; exit 1; }

# One after the other, because they are timed. ADULTS is a folder of X-rays that are unlike the training images.
figures: figures-named docker $(VENV)/everything .venv-sam/ready  ## measure again on an idle machine, write the figures of the READMEs (an hour)
	docker build --quiet --target lambda --tag xray:lambda .
	docker build --quiet --target server --tag xray:server .
	$(BIN)/python -m export benchmark --data "$(PREPARED)"
	$(BIN)/python -m export benchmark --server
	$(BIN)/python -m export benchmark --cold-start
	$(BIN)/python -m export benchmark --warm-path
	cp $(addprefix runs/benchmark/,$(addsuffix .json,benchmark server cold_start warm_path)) export/benchmark/figures
	cp $(addprefix runs/benchmark/,$(addsuffix .png,p50 server cold_start)) export/benchmark/figures
	$(BIN)/python -m infra.sweep
	cp runs/sweep/sweep.json runs/sweep/sweep.png infra/figures
	$(BIN)/python -m infra.cold_start xray:lambda xray:server --out infra/figures/cold_start.json
	$(BIN)/python -m infra.watch "$(PREPARED)" --out infra/figures/validation_answers.json
	$(BIN)/python -m infra.watch "$(ADULTS)" --out infra/figures/adults.json
	$(BIN)/python -m training explanations --model handler/model --data "$(PREPARED)" --out training/figures
	$(BIN)/python -m training robustness --model handler/model --data "$(PREPARED)" --out training/figures
	$(BIN)/python -m infra.readme

openapi: $(VENV)/everything  ## write the OpenAPI document that Lambda serves
	$(BIN)/python -m handler openapi > handler/http/.openapi.json
	mv handler/http/.openapi.json handler/http/openapi.json

lint: $(VENV)/everything  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/everything  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --all-extras --constraint requirements.lock --output-file requirements-dev.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra aws --extra hub --extra lambda --constraint requirements.lock --output-file requirements-image.lock
	$(BIN)/uv pip compile $(LOCK) --group sam --output-file infra/sam.lock
	$(BIN)/uv pip compile $(LOCK) --group checkov --output-file infra/checkov.lock

LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

# SAM and checkov pin packages that conflict with those of this project and of each other, so each has its own environment.
.venv-%/ready: infra/%.lock
	$(call environment,.venv-$*,14,others are not tested)
	.venv-$*/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	@touch $@

SAM := SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam

policy: .venv-sam/ready .venv-checkov/ready  ## check the template with SAM and checkov
	$(SAM) validate --lint --region us-east-1
	.venv-checkov/bin/checkov --file template.yaml --framework cloudformation --skip-download --quiet --compact

docker:
	@docker info >/dev/null 2>&1 || command -v finch >/dev/null || { \
	echo "error: make $(firstword $(MAKECMDGOALS)) needs a running Docker engine, and none answers." >&2; \
	echo "Install or start Docker, or set DOCKER_HOST; 'docker info' says what is wrong. make serve needs none." >&2; exit 1; }

sam-build: docker .venv-sam/ready
	$(SAM) build

sam-local: sam-build  ## the API of template.yaml in containers, on http://localhost:3000
	$(SAM) local start-api $(ARGS)

deploy: sam-build  ## deploy the service to AWS; first time: make deploy ARGS=--guided
	$(SAM) deploy $(ARGS)

undeploy: .venv-sam/ready  ## delete the service from AWS; the bucket with results is kept
	$(SAM) delete $(ARGS)

smoke: smoke-named $(VENV)/everything  ## test a running service with each kind of request: make smoke URL=... [ARGS=--iam]
	$(BIN)/python -m infra.smoke $(URL) $(ARGS)

# The Hub shows a Space in a frame, which the page does not allow by default.
space-files:
	rm -rf build/space && mkdir -p build/space
	git archive HEAD Dockerfile .dockerignore requirements-image.lock handler infra LICENSE | tar -x -C build/space
	cp infra/spaces/README.md build/space/README.md
	printf '\nENV FRAME_ANCESTORS="https://huggingface.co"\n' >> build/space/Dockerfile

space: space-named $(VENV)/everything space-files  ## the server as a Hugging Face Space: make space REPO=USER/NAME
	$(BIN)/hf repos create $(REPO) --repo-type space --space-sdk docker --exist-ok
	$(BIN)/hf upload $(REPO) build/space . --repo-type space

clean:  ## delete the files that the targets made
	rm -rf $(VENV) .venv-* build .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
