#!/bin/bash
# Installs what a bare Debian or Ubuntu machine lacks: `bootstrap.sh [python] [ops] [lab] [rules] [node] [browser] [lint] [bench] [compose] [audit]`.
# Everything but distribution packages stays in the checkout.
set -euo pipefail

UV_VERSION=0.13.9
cd "$(dirname "$0")/../.."
mkdir -p .cache .tools/bin

say() { printf '%s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "This needs root: $*. Run it as root, or install sudo."; exit 1
  fi
}

# need COMMAND PACKAGE: installs the package when the command is not there.
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "Missing: ${missing[*]}. This machine has no apt-get; install them by hand and run the command again."; exit 1
  fi
  say "Installing ${missing[*]}"
  as_root apt-get update -q >.cache/apt-install.log 2>&1 || true  # a broken third-party source must not stop the others
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" \
    >>.cache/apt-install.log 2>&1 || {
      tail -n 5 .cache/apt-install.log >&2
      say "apt-get could not install ${missing[*]}; the whole log is .cache/apt-install.log"; exit 1
    }
}

# from_package COMMAND PACKAGE...: takes a command out of the first package that exists, without installing the service.
from_package() {
  local command=$1 package scratch found; shift
  command -v "$command" >/dev/null 2>&1 && return 0
  [ -x ".tools/bin/$command" ] && return 0
  for package in "$@"; do
    scratch=$(mktemp -d .cache/package.XXXX)
    if (cd "$scratch" && apt-get download -q "$package" >/dev/null 2>&1 && dpkg -x ./*.deb .); then
      for found in "$scratch"/usr/{bin,sbin}/"$command"; do
        [ -x "$found" ] || continue
        say "Taking $command out of Debian's package $package"
        cp "$found" .tools/bin/
      done
    fi
    rm -rf "$scratch"
    [ -x ".tools/bin/$command" ] && return 0
  done
  say "None of the packages $* could be fetched, and one of them has $command. Is there a network, and an apt source?"; exit 1
}

# unpacked SCRATCH PACKAGE...: unpacks packages of the release that the hosts have, whichever this machine is, into a folder.
unpacked() {
  local scratch=$1 options; shift
  mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" >"$scratch/sources.list"
  options=(-q -o Dir::Etc::SourceList="$PWD/$scratch/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$PWD/$scratch/lists"
    -o Dir::Cache="$PWD/$scratch/cache")
  say "Taking $* out of Debian 13"
  (cd "$scratch" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "$@" && for package in ./*.deb; do dpkg -x "$package" .; done) \
    >.cache/packages.log 2>&1 || { tail -n 5 .cache/packages.log >&2; say "Debian 13's $* could not be fetched."; exit 1; }
}

# from_targets: takes Alertmanager and its tool. Debian's Alertmanager reads its own templates from /usr/share; here they are in the
# checkout, below its working directory.
from_targets() {
  [ -x .tools/bin/alertmanager ] && return 0
  local scratch
  scratch=$(mktemp -d .cache/package.XXXX)
  mkdir -p .tools/share/prometheus
  unpacked "$scratch" prometheus-alertmanager
  cp -r "$scratch/usr/share/prometheus/alertmanager" .tools/share/prometheus/
  cp "$scratch/usr/bin/amtool" .tools/bin/
  LC_ALL=C sed 's#/usr/share/prometheus/alertmanager#././/share/prometheus/alertmanager#g' "$scratch/usr/bin/prometheus-alertmanager" \
    >"$scratch/alertmanager"
  chmod +x "$scratch/alertmanager" && mv "$scratch/alertmanager" .tools/bin/
  rm -rf "$scratch"
}

# for_audits: lynis and testssl, unpacked and not installed.
for_audits() {
  [ -x .cache/audit/packages/usr/bin/testssl ] && return 0
  local scratch
  scratch=$(mktemp -d .cache/package.XXXX)
  unpacked "$scratch" lynis testssl.sh
  rm -rf .cache/audit/packages
  mkdir -p .cache/audit
  mv "$scratch" .cache/audit/packages
}

parts=("${@:-python}")
for part in "${parts[@]}"; do
  case $part in
    ops) need ssh openssh-client; need zstd zstd ;;
    python) python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv) ;;
    lab)
      need ssh openssh-client; need zstd zstd; need mmdebstrap mmdebstrap; need iptables iptables; need ip iproute2
      docker info >/dev/null 2>&1 || need dockerd docker.io
      ;;
    audit)
      need ssh openssh-client; need zstd zstd; need nmap nmap; need dig bind9-dnsutils; need openssl openssl; need hexdump bsdextrautils
      [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
      ;;
    rules) [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring) ;;
    node) need node nodejs ;;
    browser) need chromium chromium; need certutil libnss3-tools ;;
    lint) need shellcheck shellcheck; need npm npm ;;
    bench) need gcc gcc; [ -f /usr/include/stdio.h ] || missing+=(libc6-dev); need npm npm; need redis-check-rdb redis-tools ;;
    compose)
      # Ubuntu's docker-compose is of old; where it has the new one, that has another name
      docker compose version >/dev/null 2>&1 ||
        need docker-compose "$(apt-cache show docker-compose-v2 >/dev/null 2>&1 && echo docker-compose-v2 || echo docker-compose)" ;;
    *) say "bootstrap.sh: no part named '$part'; there are python, ops, lab, rules, node, browser, lint, bench, compose, audit"; exit 2 ;;
  esac
done
install_missing
for part in "${parts[@]}"; do
  if [ "$part" = rules ]; then
    from_package promtool promtool prometheus
    from_targets
    from_package mtail mtail
    from_package nginx nginx nginx-core
  fi
  [ "$part" != audit ] || for_audits
done

if [ ! -x .tools/bin/uv ]; then
  say "Installing uv $UV_VERSION into .tools"
  python3 -m venv .tools
  .tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi
