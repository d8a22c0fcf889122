#!/bin/sh
# Installs what a bare Debian or Ubuntu machine lacks: `bootstrap.sh [python|lab|browser|lint]...`
# Everything but distribution packages stays in the checkout.
set -eu

UV_VERSION=0.13.9
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "This needs root to run: $*. Run it as root, or install sudo."; exit 1
  fi
}

# need COMMAND PACKAGE...: installs the packages when the command is not there.
missing=""
need() {
  command=$1; shift
  command -v "$command" >/dev/null 2>&1 || missing="$missing $*"
}

install_missing() {
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "Missing:$missing. This machine has no apt-get; install them by hand and run the command again."; exit 1
  fi
  say "Installing:$missing"
  as_root apt-get update -q >/dev/null
  # No service of these packages is to start by itself: what runs here is started, and stopped, by the lab.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing >.cache/apt-install.log 2>&1 \
    || { tail -n 5 .cache/apt-install.log >&2; say "apt-get could not install:$missing (whole log: .cache/apt-install.log)"; exit 1; }
  missing=""
}

mkdir -p .cache
for part in "${@:-python}"; do
  case $part in
    python)
      # ensurepip is what `python3 -m venv` needs and Debian ships apart
      python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3 python3-venv"
      ;;
    lab)
      need ssh openssh-client; need zstd zstd; need mmdebstrap mmdebstrap; need iptables iptables; need pgrep procps
      docker info >/dev/null 2>&1 || need dockerd docker.io
      ;;
    rules) need promtool prometheus; need amtool prometheus-alertmanager ;;
    browser) need chromium chromium; need certutil libnss3-tools ;;
    lint) need shellcheck shellcheck; need npm npm ;;
    *) say "bootstrap.sh: no part named '$part'; there are python, lab, rules, browser, lint"; exit 2 ;;
  esac
done
install_missing

if [ ! -x .tools/bin/uv ]; then
  say "Installing uv $UV_VERSION into .tools"
  python3 -m venv .tools
  .tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi
