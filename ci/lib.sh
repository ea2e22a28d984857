# Sourced by every script in ci/: where the project is, which toolchain is used, how Debian packages are installed.
# Not a step of its own.

set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$PROJECT"

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# Incremental compilation helps a person who edits and builds again; a run from scratch only pays for it.
if [ "${CI:-}" = true ]; then
  export CARGO_INCREMENTAL=0
fi

# Debian's interpreter, because Debian's dnspython belongs to it and not to another python3 earlier in PATH.
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=python3
export PYTHON PYTHONDONTWRITEBYTECODE=1

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# rust-toolchain.toml pins a release. A machine that has the same release only under the name "stable" is good enough;
# any other release is not, because lints and formatting differ between releases.
choose_toolchain() {
  local pinned found
  [ -z "${RUSTUP_TOOLCHAIN:-}" ] || return 0
  command -v rustup >/dev/null || return 0
  pinned=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
  if rustup toolchain list | grep -q "^$pinned-"; then
    return 0
  fi
  if found=$(rustc +stable --version 2>/dev/null) && [[ $found == "rustc $pinned "* ]]; then
    say "toolchain $pinned is installed here as stable"
    export RUSTUP_TOOLCHAIN=stable
  fi
}
choose_toolchain

# need COMMAND=PACKAGE ...: installs the packages whose commands are missing. A command written as a path is looked for
# as a file. Services that a package brings are kept from starting: every server here is started by hand, in a
# namespace of its own.
need() {
  local pair missing=() sudo=()
  for pair in "$@"; do
    case ${pair%%=*} in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "these Debian packages are needed and apt-get is not here: ${missing[*]}"
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  say "installing ${missing[*]}"
  local log guard=
  log=$(mktemp)
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    guard=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$guard" >/dev/null
    "${sudo[@]}" chmod +x "$guard"
  fi
  local failed=0
  {
    "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=300 update -q &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
        install -qy --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 || failed=1
  [ -z "$guard" ] || "${sudo[@]}" rm -f "$guard"
  if [ $failed = 1 ]; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    fail "installing ${missing[*]} failed"
  fi
  rm -f "$log"
}
