# The front door. `make help` is the manual.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# What the command line says reaches the programs as it was typed, with its spaces, quotes and dollars
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(GIVEN),$(eval override export $(name) := $$(value $(name))))
export MATCHPOINT_GIVEN := $(GIVEN)

# What can be set on the command line, e.g. `make deploy INVENTORY=inventories/production`
INVENTORY ?= inventories/lab
LAB       ?= matchpoint
TOPOLOGY  ?= single
PUBLISH   ?= $(if $(filter matchpoint,$(LAB)),1,0)
STRATEGY  ?= mitogen
HOST      ?=
PORT      ?= 8000

# Everything that is fetched or made stays in the checkout.
export MATCHPOINT_LAB := $(LAB)
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_SYSTEM_CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export ANSIBLE_CONFIG := $(CURDIR)/ansible/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
# Not in ansible.cfg: there it would be relative to whatever the current folder is. A socket's path may have 107 characters
export ANSIBLE_SSH_CONTROL_PATH_DIR := $(ANSIBLE_HOME)/cp
export ANSIBLE_ASYNC_DIR := $(CURDIR)/.cache/ansible/async
# Where it is set, each start of Ansible would compile all of it again
unexport PYTHONDONTWRITEBYTECODE
# Debian's users do not have the last two, where dockerd and iptables are
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/sbin:/sbin
export npm_config_cache := $(CURDIR)/.cache/npm
export XDG_CACHE_HOME := $(CURDIR)/.cache
# Ansible starts in no other encoding, and whoever calls may have a locale that this machine does not
export LC_ALL := C.UTF-8
-include .lab/engine.env
ifdef DOCKER_HOST
export DOCKER_HOST
endif
export INVENTORY STRATEGY

UV     := .tools/bin/uv
RUN    := $(UV) run --frozen --quiet
TEST   := mkdir -p .cache/tmp && TMPDIR="$(CURDIR)/.cache/tmp" $(RUN) pytest
OPERATE := exec .venv/bin/python ansible/operate.py
DRIVER := $(RUN) python docker/lab/lab.py --lab $(LAB)

.PHONY: help
help: ## This page
	@printf 'Matchpoint\n\n'
	awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	printf '\nSettings: INVENTORY=%s LAB=%s TOPOLOGY=%s PUBLISH=%s STRATEGY=mitogen|linear ARGS=...\nCHECK=1 LIMIT=host TAGS=role where they can be kept: docs/deploy.md\n' \
	  $(INVENTORY) $(LAB) $(TOPOLOGY) $(PUBLISH)

##@ Try it
.PHONY: play
play: ## The game alone on http://localhost:8000: no root, no Docker, no services (PORT=8000)
	@docker/lab/bootstrap.sh python
	exec $(UV) run --frozen --quiet --no-default-groups --group runtime --group play python app/manage.py play --port $(PORT)

.PHONY: up
up: ## Production on this machine: boot a lab host, deploy onto it, play a match through it
	@started=$$SECONDS
	$(MAKE) lab
	$(MAKE) deploy
	$(MAKE) gate
	$(DRIVER) info
	printf '  (took %s s)\n' $$((SECONDS - started))

.PHONY: lab
lab: lab-tools ## Boot the lab's hosts without deploying (LAB=name TOPOLOGY=single, twins, pair or cluster)
	@$(DRIVER) up --topology $(TOPOLOGY) $(if $(filter 1,$(PUBLISH)),--publish)

.PHONY: down
down: python ## Remove what `make up` made
	@$(DRIVER) down

.PHONY: lab-status
lab-status: python ## The lab's hosts and their addresses
	@$(DRIVER) status

.PHONY: ssh
ssh: python ## A shell on a lab host (HOST=app1; a lab of one host needs no HOST, here and below)
	@$(DRIVER) ssh $(HOST)

.PHONY: lab-reboot lab-stop lab-start lab-kill
lab-reboot: python ## Restart a lab host in order (HOST=app1)
	@$(DRIVER) reboot $(HOST)
lab-stop: python ## Shut a lab host down; it stays down
	@$(DRIVER) stop $(HOST)
lab-start: python ## Boot a lab host that was stopped or killed
	@$(DRIVER) start $(HOST)
lab-kill: python ## Cut a lab host's power
	@$(DRIVER) kill $(HOST)

.PHONY: lab-add lab-remove
lab-add: lab-tools ## Boot one more host into the running lab (HOST=app3 GROUPS=app)
	@$(DRIVER) add $(or $(HOST),$(error Name the host and its groups, e.g. HOST=app3 GROUPS=app)) \
	  $(or $(GROUPS),$(error Name its groups, e.g. GROUPS=app))
lab-remove: python ## Take a host of the lab away, container and disk
	@$(DRIVER) remove $(HOST)

.PHONY: mailbox
mailbox: python ## The mails, pages and heartbeats that the lab received
	@$(DRIVER) mailbox

.PHONY: console
console: python ## A tunnel to a console of the lab (NAME=prometheus, alertmanager or grafana)
	@$(DRIVER) console $(NAME) $(if $(HOST),--host $(HOST))

COMPOSE = $(RUN) python docker/compose/driver.py --project $(or $(PROJECT),matchpoint)
.PHONY: compose-up compose-down compose image
compose-up: lab-tools ## The site in containers, without a host, and a match through it (MONITORING=1: with Prometheus, Alertmanager, Grafana)
	@docker/lab/bootstrap.sh compose
	$(COMPOSE) up --address $(or $(ADDRESS),127.0.0.1) $(if $(filter 1,$(MONITORING)),--monitoring)
compose-down: python ## Remove its containers (DATA=delete: and its data)
	@$(COMPOSE) down --data "$(DATA)"
compose: python ## docker compose about it (ARGS="logs web", ARGS=ps, ...)
	@$(COMPOSE) run $(or $(ARGS),ps)
image: lab-tools ## Only the image of the game, of this checkout
	@$(COMPOSE) image

##@ Operate a site
# What each does, and which settings it knows, stands in ansible/targets.py
OPERATIONS := deploy preflight doctor test-alert gate verify silence silences rollback releases reboot add-host \
  remove-host uninstall staff promote rejoin backup restore backup-key rotate-certificates rotate-secrets
.PHONY: $(OPERATIONS)
$(OPERATIONS): ops-tools
	@$(OPERATE) $@
deploy: ## Make the hosts of INVENTORY what they should be (CHECK=1: only show what would change; NEW_DATABASE=1, TAKE_OVER=1, BREAKING=1: docs/deploy.md)
preflight: ## Check settings and hosts, change nothing
doctor: ## Look at everything a site needs of the world, DNS to pager, from where it matters; change nothing, send nothing
test-alert: ## Send a test page (and mail) through the real receivers, and say whether each was taken
gate: ## Through the public address: page, certificate, a real match, all targets up, no page firing
verify: ## Test the deployed hosts of INVENTORY; changes nothing on them but accounts of its own, for a minute
silence: ## Tell nobody of an alert for a while (ALERT=HostDown HOST=app1 DURATION=1h WHY='a new disk'; EXPIRE=id ends it)
silences: ## What is silent, who said so, until when and why
rollback: ## Back to the previous release, in seconds (RELEASE=id: to that one)
releases: ## Which releases each app host has, and what each worker runs
reboot: ## Drain a host, reboot it, see it serve again (HOST=app1; DOWNTIME=1: though nobody stands in for it)
add-host: ## Make a host that is new in the inventory a part of the site (HOST=app3)
remove-host: ## Drain a host, stop it, and make the others forget it (HOST=app3)
uninstall: ## Take the site off a host, as if it had never been there (HOST=app1 CONFIRM=app1; DATA=delete: its data too; CHECK=1: what that is)
staff: ## Make the first staff account (NAME=you EMAIL=you@example.com); prints how to set its password
promote: ## Make the standby database the primary (FENCE=1: stop the old one first; CONFIRM=host: it is off)
rejoin: ## Make a standby of a database host that was the primary, or fell behind (HOST=db1)
backup: ## Back the database up now, and list the backups
restore: ## Put a backup in the place of the database (CONFIRM=domain; TIME='2026-11-28 12:00:00+00': as it was then)
backup-key: ## Print the key that the backup store must let in
rotate-certificates: ## New certificates of the hosts for each other, without an interruption (CA=1: and a new CA)
rotate-secrets: ## New passwords and a new key while the site is in use (NAME=postgres_app,valkey_app: only those)

# On another target these would do nothing, and look as if they did
WITHOUT := $(filter-out $(OPERATIONS) help,$(MAKECMDGOALS))
SAID    := $(strip $(foreach name,CHECK LIMIT TAGS,$(if $(filter-out 0 no false off,$($(name))),$(name))))
ifneq ($(and $(WITHOUT),$(SAID)),)
$(error $(SAID): not for `make $(WITHOUT)`, which would act all the same. Nothing was done)
endif

##@ Develop
# Seconds. The budget is 12 minutes on two quiet cores; what fails is what a machine that others slow down threefold cannot explain
CI_LIMIT := 2400

.PHONY: test ci
test: test-tools ## Everything, in lanes: code, and labs from nothing, verified, played in browsers, broken (SUITE=tests/app: one part)
	@$(if $(SUITE),$(TEST) $(SUITE),exec $(RUN) python -m tests.lanes --) $(ARGS)
ci: test-tools lint-tools
	@exec $(RUN) python -m tests.lanes --lint --limit $(CI_LIMIT)

# Tools of their own: what audits the site must not hold its libraries back
AUDIT_TOOLS := .cache/audit/venv
.PHONY: audit
audit: ops-tools lab-tools ## What an auditor asks of a deployed site, in one table (ARGS='--only lynis tls'; docs/security-audit.md)
	@docker/lab/bootstrap.sh audit
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(AUDIT_TOOLS) $(UV) sync --frozen --quiet --only-group audit
	exec $(RUN) python -m tests.audit --inventory "$(INVENTORY)" $(ARGS)

.PHONY: test-cluster
test-cluster: ops-tools lab-tools ## A cluster from nothing, upgraded, rebooted, killed and promoted while bots play on it (half an hour)
	@$(TEST) tests/cluster --ignore tests/cluster/test_membership.py $(ARGS)

.PHONY: test-compose
test-compose: lab-tools ## The site in containers from nothing, read-only, a match through its nginx, monitoring, down (five minutes)
	@docker/lab/bootstrap.sh compose
	$(TEST) tests/compose $(ARGS)

.PHONY: test-uninstall
test-uninstall: ops-tools lab-tools ## A bare host, the site on it and off it again, and what is left (five minutes)
	@$(TEST) tests/uninstall $(ARGS)

.PHONY: test-newcomer
test-newcomer: ops-tools lab-tools ## A newcomer types what the pages say: a bare host, deployed, restored, upgraded, bare again (fifteen minutes)
	@$(TEST) tests/newcomer $(ARGS)

.PHONY: test-upgrade
test-upgrade: ops-tools lab-tools ## A host of version 0.1.0 becomes this tree while that version's players play, and goes back (ten minutes)
	@$(TEST) tests/upgrade $(ARGS)

.PHONY: test-membership
test-membership: ops-tools lab-tools ## An app host and a standby leave a cluster and join it again while bots play on it
	@$(TEST) tests/cluster/test_membership.py $(ARGS)

.PHONY: soak
soak: test-tools ## The live tier in simulation, seed after seed, for SECONDS=600; SEED=7 tells the story of one
	@PYTHONPATH=app:. $(RUN) python -m tests.sim $(if $(SEED),--seed $(SEED),--seconds $(or $(SECONDS),600)) $(ARGS)
.PHONY: test-fast
test-fast: python rules-tools ## What needs no lab: the app, the roles' texts, the alert rules
	@$(RUN) pytest $(ARGS)

.PHONY: mutants-rules
mutants-rules: rules-tools ## Move each limit and each `for` of the alerts by a tenth: a test of the rules has to fail (ALERTS='PostgresDown alerts-site': some)
	@nice $(RUN) python -m tests.rules.mutants $(ALERTS)

.PHONY: mutants
mutants: python ## Put some ninety faults into the live servers, one at a time: the tests have to notice 95 in a hundred (FILES='owner directory': some)
	@nice $(RUN) python -m tests.mutants $(FILES)

.PHONY: bench-lobby
bench-lobby: ## A thousand strangers wait at web processes around a real store, while some are killed (ARGS='--players 200')
	@docker/lab/bootstrap.sh python bench
	PYTHONPATH=app $(RUN) python -m tests.bench.lobby $(ARGS)

# Drills have labs of their own, unless the command line says another
DRILLS = $(RUN) python -m tests.drills $(if $(filter command line,$(origin LAB)),--lab $(LAB)) \
  $(if $(filter command line,$(origin TOPOLOGY)),--topology $(TOPOLOGY)) $(if $(JOBS),--jobs $(JOBS))
.PHONY: drills drill
drills: ops-tools lab-tools rules-tools ## Make a real fault for every alert, and measure when on-call hears of it and of its end (an hour; JOBS=labs at a time)
	@$(DRILLS)
drill: ops-tools lab-tools rules-tools ## One fault, or several (NAME=stopped-postgres; NAME=list lists them, NAME=quiet: what must page nobody)
	@$(DRILLS) $(or $(NAME),list)

PREVIEW_PORT ?= 19090
.PHONY: dashboards-preview
dashboards-preview: lab-tools ## Draw every dashboard from the lab's Prometheus, as pictures in docs/dashboards
	@$(DRIVER) console prometheus --port $(PREVIEW_PORT) & tunnel=$$!
	trap 'kill $$tunnel' EXIT
	$(RUN) python -m monitoring.dashboards.preview docs/dashboards --prometheus http://127.0.0.1:$(PREVIEW_PORT) $(ARGS)

.PHONY: balance
balance: python ## How the rules and the machine's levels play, by thousands of simulated matches (minutes; ARGS="--goals")
	@PYTHONPATH=app $(RUN) python -m tests.balance $(ARGS)

.PHONY: bench-deploy
bench-deploy: lab-tools ## Deploys of a fresh host, against the bare installation of its packages; of a cluster, against the host
	@$(RUN) python tests/bench/deploy.py

ROOMS := tests/bench/matches/rooms
.PHONY: bench-matches
bench-matches: ## Matches that one core carries: our live worker against rooms of others (ARGS='--rounds 1 --only worker node-ws')
	@docker/lab/bootstrap.sh python bench
	[ $(ROOMS)/node_modules/.package-lock.json -nt $(ROOMS)/package-lock.json ] || npm ci --prefix $(ROOMS) --silent --ignore-scripts --no-audit --no-fund
	$(RUN) python -m tests.bench.matches $(ARGS)

.PHONY: lint
lint: python lint-tools ## ruff, mypy, ansible-lint, yamllint, shellcheck, eslint, tsc
	@$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy app
	MYPYPATH=docker/lab:ansible $(RUN) mypy --strict docker/lab/*.py docker/compose/driver.py
	$(RUN) yamllint --strict .
	$(RUN) ansible-lint --offline
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
	npm run --silent lint

.PHONY: format
format: python ## Format Python
	@$(RUN) ruff format . && $(RUN) ruff check --fix .

.PHONY: clean
clean: ## Remove what was fetched and built; not the lab, not the secrets
	@rm -rf .cache .venv .tools node_modules certs/out

# What the targets above need; each is quick when it is there.
.PHONY: python lab-tools ops-tools rules-tools lint-tools test-tools
python:
	@docker/lab/bootstrap.sh python
	$(UV) sync --frozen --quiet
lab-tools:
	@docker/lab/bootstrap.sh python lab
	$(UV) sync --frozen --quiet
ops-tools: python
	@docker/lab/bootstrap.sh ops
rules-tools:
	@docker/lab/bootstrap.sh rules node
test-tools:
	@docker/lab/bootstrap.sh python lab rules node browser
	$(UV) sync --frozen --quiet
	$(MAKE) node_modules
lint-tools:
	@docker/lab/bootstrap.sh lint
	$(MAKE) node_modules
node_modules: package-lock.json
	@npm ci --silent --no-audit --no-fund && touch node_modules
