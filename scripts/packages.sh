# Sourced by the other scripts: what they need from Debian, installed only where it is missing.
# shellcheck shell=bash

# need COMMAND PACKAGE…: remembers the packages when the command is missing.
missing=()
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null 2>&1 || PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing+=("$@")
}

# Says what it installs, installs it, and nothing when nothing is missing.
install_missing() {
  [ "${#missing[@]}" -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install what these Debian packages contain, then start again: ${missing[*]}" >&2
    exit 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "Please run as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "Installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq </dev/null
  # Installing a server package must not start the server here.
  local hold=/usr/sbin/policy-rc.d held=
  if [ ! -e "$hold" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$hold" >/dev/null
    "${as_root[@]}" chmod 755 "$hold"
    held=yes
  fi
  local result=0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" </dev/null >/dev/null || result=$?
  [ -z "$held" ] || "${as_root[@]}" rm -f "$hold"
  [ "$result" -eq 0 ] || exit "$result"
  # Nor may it start with the machine.
  if [[ " ${missing[*]} " == *" nginx "* ]] && command -v systemctl >/dev/null 2>&1; then
    "${as_root[@]}" systemctl disable --quiet nginx >/dev/null 2>&1 || true
  fi
  missing=()
}

# Rust itself is the one thing that is expected to be there, and recent enough for Cargo.toml.
need_rust() {
  # shellcheck source=/dev/null
  [ ! -f "${HOME:-}/.cargo/env" ] || . "$HOME/.cargo/env"
  local wanted have
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust $wanted or later is needed; https://rustup.rs installs it." >&2
    exit 1
  fi
  have=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "Rust $wanted or later is needed, this is $have; \`rustup update stable\` brings it." >&2
    exit 1
  fi
}

# What every build needs: a C compiler and cmake, for the compression libraries and the allocator; and the CA certificates that
# upstreams are verified with.
need_to_build() {
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  need cc gcc libc6-dev
  need make make
  need cmake cmake
}
