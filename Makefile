# The face of the build: each target is one line that calls the script doing the
# work. Meson and Ninja build; tools/setup installs what is missing first.
#
# BUILD=dir  another build directory (other kinds of build are dir-san, dir-tsan, dir-fuzz, dir-cover)

BUILD ?= build
SEEDS ?= 200
SECONDS_EACH ?= 600
export BUILD

.DEFAULT_GOAL := build
.PHONY: help build run check test san tsan sim plants faults fuzz fuzz-merge cover differential tidy \
        format bench install clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## build the program: build/weir
	@tools/setup run
	@tools/build $(BUILD) plain

run: build ## serve examples/digits and try it; PORT=8080
	@PORT=$(PORT) tools/run

check: ## the fast tests: the plain unit suite
	@tools/setup test
	@tools/test check

test: ## everything CI runs: plain, sanitized, threads, Python, fuzz, tidy
	@tools/setup test
	@tools/test all

san: ## the suite under ASan and UBSan
	@tools/setup test
	@tools/test san

tsan: ## the tests tagged threads under TSan
	@tools/setup test
	@tools/test tsan

sim: ## the simulated worlds, each with SEEDS=200 seeds
	@tools/setup test
	@WEIR_SIM_SEEDS=$(SEEDS) tools/test sim

plants: ## plant bugs one by one; the simulated worlds have to find each
	@tools/setup test
	@tools/plants

fuzz: ## look for inputs that break a parser; TARGET=json SECONDS_EACH=600
	@tools/setup test
	@SECONDS_EACH=$(SECONDS_EACH) tools/fuzz run $(TARGET)

fuzz-merge: ## take what fuzzing found into tests/corpus; TARGET=json
	@tools/setup test
	@tools/fuzz merge $(TARGET)

cover: ## line coverage of the suite and the corpora, held against tests/coverage.txt
	@tools/setup test
	@tools/cover

differential: ## the same bytes to Weir, nginx, HAProxy, Envoy, Go and h11
	@tools/setup differential
	@WEIR_TESTS=1 tools/build $(BUILD) plain tests/differential/differential-echo
	@"$$(tools/setup --venv differential)/bin/python" tests/differential/run

faults: ## each allocation and each system call fails in turn; minutes
	@tools/setup test
	@WEIR_TESTS=1 tools/build $(BUILD) plain tests
	@WEIR_TESTS=1 tools/build $(BUILD)-san san tests
	@tests/faults/run $(BUILD) $(BUILD)-san

tidy: ## the rules of the house: layers, banned calls, sizes, format, clang-tidy
	@tools/setup test
	@tools/build $(BUILD) plain tests
	@tools/tidy

format: ## rewrite the sources with the pinned clang-format
	@tools/setup test
	@tools/tidy --format

bench: build ## measure against peers and floors (bench/run)
	@tools/setup bench
	@bench/run

install: build ## install; PREFIX=/usr/local, DESTDIR=
	@meson configure $(BUILD) --prefix $(abspath $(or $(PREFIX),/usr/local))
	@meson install -C $(BUILD)

clean: ## remove the build directories
	rm -rf $(BUILD) $(BUILD)-san $(BUILD)-tsan $(BUILD)-plants $(BUILD)-fuzz $(BUILD)-cover
