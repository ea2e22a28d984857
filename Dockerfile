# syntax=docker/dockerfile:1
# dotward as a container: one static program, nothing else.
#
#   docker build -t dotward .
#   docker run --rm -p 53:53/udp -p 53:53/tcp --read-only --cap-drop ALL --security-opt no-new-privileges dotward
#
# docs/container.md says the rest.

FROM docker.io/library/rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The toolchain is that of the image: the file would have another one fetched.
ENV RUSTUP_TOOLCHAIN=1.95
RUN rustup target add "$(uname -m)-unknown-linux-musl"
COPY Cargo.toml Cargo.lock ./
COPY crates crates
# The commit, for `dotward version` and the metrics: --build-arg DOTWARD_REVISION=$(git rev-parse --short=12 HEAD)
ARG DOTWARD_REVISION=
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
    && cargo build --locked --release --package dotward --target "$target" \
    && install -D -m 0755 "target/$target/release/dotward" /image/usr/bin/dotward \
    && install -d -m 0755 /image/etc/dotward

FROM scratch
LABEL org.opencontainers.image.title="dotward" \
      org.opencontainers.image.description="Ordinary DNS in, DNS over TLS out" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.documentation="docs/container.md"
COPY --from=build /image /
USER 65532:65532
# Inside a container nobody else holds port 53, and clients come from outside.
ENV DOTWARD_LISTEN=0.0.0.0:53,[::]:53 \
    DOTWARD_ADMIN=0.0.0.0:9853
EXPOSE 53/udp 53/tcp 9853/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/bin/dotward", "healthcheck"]
ENTRYPOINT ["/usr/bin/dotward"]
CMD ["run"]
