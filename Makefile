# Needs git, make, gcc, g++, python3 and the Rust toolchain; whatever else is missing is fetched for
# this user into ~/.cache/coupon.

# Outside of the clone, so that RocksDB's C++ is compiled once for all clones: 12 to 25 minutes.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/coupon/target
# Cargo would take make's job slots for its own.
unexport MAKEFLAGS MFLAGS

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# .cargo/config.toml names the target, which puts the triple into the path.
COUPON := $(CARGO_TARGET_DIR)/$(HOST)/release/coupon
# It measures the program beside it.
BENCH = $(CARGO_TARGET_DIR)/$(HOST)/$(BUILT)/coupon-bench
BENCH_OUT := $(CARGO_TARGET_DIR)/bench
TRACE := $(CARGO_TARGET_DIR)/trace.svg
DIST := $(CARGO_TARGET_DIR)/$(HOST)/dist/coupon

# One profile for everything, since each profile compiles all dependencies anew.
PROFILE := --release --locked
LIBCLANG := environment="$$(.ci/libclang)" && eval "$$environment"
# What is shipped has the RocksDB that this profile compiled.
ROCKSDB := environment="$$(.ci/rocksdb)" && eval "$$environment"
ANNOUNCE := ls '$(CARGO_TARGET_DIR)'/*/release/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1 \
	|| echo 'RocksDB is compiled first, once for all clones: 12 to 25 minutes on two cores.'
BUF := $(HOME)/.cache/coupon/python/buf-bin-1.75.0

.PHONY: help build dist demo trace bench bench-peers bench-growth bench-scale bench-recipients bench-release bench-dist image cluster cluster-down cluster-destroy test check fix

help:
	@echo 'make build   compiles the program: $(COUPON)'
	@echo 'make dist    compiles it for shipping: slower to build, faster to run: $(DIST)'
	@echo 'make demo    runs a whole cluster in one process; ARGS="--load --for 10s" is passed on'
	@echo 'make trace   runs one for 8 seconds and shows where the time of a log entry goes, as a table and as'
	@echo '             a picture: $(TRACE); ARGS="--concurrency 64" is passed on. Compiles the program'
	@echo '             once more, with a feature: 3 to 7 minutes on two cores, without RocksDB'
	@echo 'make bench   measures it next to an echo and a proxy and says which targets it meets: 7 minutes;'
	@echo '             ARGS="--rounds 1 --only unary" takes one minute. BUILT=dist measures the shipped build.'
	@echo '             Results: $(BENCH_OUT)'
	@echo 'make bench-peers   unary calls next to Redis and etcd as well: 4 minutes. Installs'
	@echo '             their Debian packages where they are missing'
	@echo 'make bench-growth  one campaign of 10 million coupons: CPU, memory, disk, restarts; 5 minutes, 8 GB of disk'
	@echo 'make bench-scale   1, 2, 4 and 8 shards, each on a node limited to 2 % of a processor: 2 minutes.'
	@echo '             Needs root, for control groups'
	@echo 'make bench-recipients   lists of a recipient with 20,000 campaigns on one shard: 2 minutes'
	@echo 'make cluster runs 5 nodes and 2 routers in containers and returns when they are ready; needs Docker,'
	@echo '             and compiles outside of it, inside where there is no cargo (COMPILE=docker insists).'
	@echo '             chaos/ has scripts that break it'
	@echo 'make cluster-down     stops it and keeps its data; cluster-destroy deletes that as well'
	@echo 'make image   makes only its image, coupon:local'
	@echo 'make test    runs all tests'
	@echo 'make check   checks formatting, lints, documentation, protos, licences; changes nothing'
	@echo 'make fix     repairs what check complains about and a tool can repair'

build:
	@$(ANNOUNCE)
	@$(LIBCLANG) && cargo build --workspace $(PROFILE)

dist:
	@$(ANNOUNCE)
	@$(LIBCLANG) && $(ROCKSDB) && cargo build --bin coupon --profile dist --locked

demo: build
	@exec '$(COUPON)' demo $(ARGS)

# Marks cost time, so that only this build has them. It replaces the program until the next build, as
# that of the mutants does.
trace:
	@$(ANNOUNCE)
	@$(LIBCLANG) && cargo build --workspace $(PROFILE) --features trace
	@exec '$(COUPON)' demo --load --for 8s --trace '$(TRACE)' $(ARGS)

# release or dist: which build is measured. The peers are built alike.
BUILT ?= release

bench: bench-$(BUILT)
	@exec '$(BENCH)' run --out '$(BENCH_OUT)' $(ARGS)

bench-peers: bench-$(BUILT)
	@loadtest/bench/install-peers
	@exec '$(BENCH)' run --databases --only unary --out '$(BENCH_OUT)' $(ARGS)

bench-growth: bench-$(BUILT)
	@exec '$(BENCH)' growth --out '$(BENCH_OUT)' $(ARGS)

bench-scale: bench-$(BUILT)
	@exec '$(BENCH)' scale --out '$(BENCH_OUT)' $(ARGS)

bench-recipients: bench-$(BUILT)
	@exec '$(BENCH)' recipients --out '$(BENCH_OUT)' $(ARGS)

bench-release: build

bench-dist:
	@$(ANNOUNCE)
	@$(LIBCLANG) && $(ROCKSDB) && cargo build --package coupon --package coupon-bench --bins --profile dist --locked

# Compiling outside shares RocksDB with all that is compiled anyway, and needs no image registry.
COMPILE ?= $(if $(shell command -v cargo),here,docker)

image: $(if $(filter docker,$(COMPILE)),,build)
	@.ci/image $(if $(filter docker,$(COMPILE)),,'$(COUPON)')

cluster: image
	@.ci/cluster up

cluster-down:
	@.ci/cluster down

cluster-destroy:
	@.ci/cluster destroy

test: build
	@$(LIBCLANG) && exec python3 .ci/test '$(COUPON)'

check:
	cargo fmt --all --check
	.ci/pypi '$(BUF)' buf-bin==1.75.0
	cd proto && '$(BUF)/bin/buf' lint && '$(BUF)/bin/buf' format --diff --exit-code
	.ci/breaking '$(BUF)/bin/buf'
	.ci/deny
	@$(ANNOUNCE)
	$(LIBCLANG) && cargo clippy --workspace --all-targets $(PROFILE) -- -D warnings
	$(LIBCLANG) && cargo clippy --workspace --all-targets $(PROFILE) --features mutants,trace -- -D warnings
	$(LIBCLANG) && RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps $(PROFILE)

fix:
	cargo fmt --all
	.ci/pypi '$(BUF)' buf-bin==1.75.0
	cd proto && '$(BUF)/bin/buf' format --write
	$(LIBCLANG) && cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets $(PROFILE)
