# Builds what is measured, unless the environment says where it is. Sourced by the scripts here, after ci/lib.sh.
# shellcheck shell=bash

target=${CARGO_TARGET_DIR:-$PROJECT/target}
if [ -z "${DOTWARD:-}" ]; then
  cargo build --release --locked -q -p dotward --bin dotward
  DOTWARD=$target/release/dotward
fi
if [ -z "${ECHO:-}" ]; then
  cargo build --release --locked -q -p dotward-udp --example echo
  ECHO=$target/release/examples/echo
fi
if [ -z "${FLOOR:-}" ]; then
  cargo build --release --locked -q -p dotward-udp --example floor
  FLOOR=$target/release/examples/floor
fi
export DOTWARD ECHO FLOOR
