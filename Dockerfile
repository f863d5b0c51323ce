# syntax=docker/dockerfile:1
# A small image without a shell, run by a user without rights. Configuration: mount a directory with countersign.yaml on
# /etc/countersign. State (the admin token): the volume /var/lib/countersign. See docs/operations.md.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches stay with the builder, so only the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin countersign \
 && install -D -m 755 target/release/countersign /out/countersign \
 && mkdir -m 700 /out/state /out/run

# glibc, CA certificates and nothing else; `nonroot` is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/countersign /usr/bin/countersign
COPY --from=build --chown=65532:65532 /out/state /var/lib/countersign
COPY --from=build --chown=65532:65532 /out/run /run/countersign
USER 65532:65532
VOLUME ["/var/lib/countersign"]
EXPOSE 8080
# Drains; give it longer than `server.drain_timeout` with `docker stop --time`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["/usr/bin/countersign", "health", "-c", "/etc/countersign/countersign.yaml"]
ENTRYPOINT ["/usr/bin/countersign"]
CMD ["run", "-c", "/etc/countersign/countersign.yaml"]
