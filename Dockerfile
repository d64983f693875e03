# syntax=docker/dockerfile:1
# The image for everybody: compiles the program inside, which needs BuildKit and an image registry.
#
#     docker build -t coupon:local .
#
# Where no registry can be reached, `make image` wraps a program that was compiled outside
# (Dockerfile.binary). Both images are used alike.

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# What was compiled is kept between builds, above all RocksDB's quarter of an hour of C++. A cache is
# not part of the image, so the program and the empty directory of its data are copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,sharing=locked \
    eval "$(.ci/libclang)" \
    && export CARGO_TARGET_DIR=/target \
    && cargo build --release --locked --bin coupon \
    && mkdir -p /image/data \
    && cp /target/*/release/coupon /image/coupon

FROM scratch
# A new volume takes its owner from the directory it is mounted over; without this one it would be
# root's, and the program could not write.
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build /image/coupon /coupon
USER 65532:65532
ENTRYPOINT ["/coupon"]
