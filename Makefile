# The front door: `make run` and `make test`. Everything else is for developers.
BIN := node_modules/.bin
MOCHA := $(BIN)/mocha --reporter ./test/support/reporter.mjs

.PHONY: install other-host build run test simulate soak fuzz faults interop check docs format bench pack clean

node_modules/.package-lock.json: package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# What the project needs, from package-lock.json.
install: node_modules/.package-lock.json

# node-xmpp-server for its tests, in a folder of its own: what it needs replaced must never be in what is published.
OTHER_HOST := test/support/node-xmpp-server
$(OTHER_HOST)/node_modules/.package-lock.json: $(OTHER_HOST)/package-lock.json
	@cd $(OTHER_HOST) && npm ci --omit=optional --ignore-scripts --no-audit --no-fund && touch node_modules/.package-lock.json || \
	  echo "node-xmpp-server could not be installed: its tests will be skipped"
other-host: $(OTHER_HOST)/node_modules/.package-lock.json

# The JavaScript that is run and published, in dist/.
PROJECT := tsconfig.build.json
build: install
	@rm -rf dist
	$(BIN)/tsc -p $(PROJECT)
	@mkdir -p dist/src/xml && cp src/xml/ltx.d.ts dist/src/xml/
	@mkdir -p dist/src/control/http && cp -r src/control/http/page dist/src/control/http/
	@chmod +x dist/src/cli/main.js

# The server in the foreground, with ./morendo.toml or the defaults and its data in ./data. `exec`: Ctrl-C and its
# exit code are the server's own.
run: build
	@exec node dist/src/cli/main.js start

# Tests and measurements start hundreds of processes, which start much faster as compiled; their own programs are, too.
test faults interop soak bench: PROJECT := tsconfig.test.json
test faults interop soak bench: export MORENDO_BUILT := $(CURDIR)/dist

# All tests: those with real servers, and beside them those that only compute. Without Prosody and ejabberd the interop tests are
# skipped; CI=true makes that a failure.
test: build other-host
	@node test/support/side-by-side.mjs 'test/{integration,faults,interop}/**/*.test.ts' 'test/{unit,modules,property}/**/*.test.ts'

# More simulated runs than `make test` plays, for instance `make simulate FIRST=100001 SEEDS=50000`.
SEEDS ?= 20000
FIRST ?= 100001
simulate: install
	SIMULATION_FIRST=$(FIRST) SIMULATION_SEEDS=$(SEEDS) $(MOCHA) test/property/simulation.test.ts

# Thousands of sessions with churn, storms of presence and slow readers for many minutes, then SIGTERM in the middle of it,
# for instance `make soak MINUTES=30 SESSIONS=4000`.
MINUTES ?= 15
SESSIONS ?= 2000
soak: build
	MINUTES=$(MINUTES) SESSIONS=$(SESSIONS) $(BIN)/tsx test/soak/soak.ts

# The parsers against random input, longer than `make test` does: `make fuzz TARGET=xml SECONDS=600 SEED=7`.
TARGET ?=
SECONDS ?= 60
SEED ?= $(shell date +%s)
fuzz: install
	@TARGET=$(TARGET) SECONDS=$(SECONDS) SEED=$(SEED) $(BIN)/tsx test/fuzz/run.ts

# The fault suite alone, longer than `make test` plays it: `make faults KILLS=300 KILL_CHAINS=500 DAMAGE_SEEDS=1000 FAULTS=all`.
faults: build
	$(MOCHA) 'test/faults/**/*.test.ts'

# Only the tests against Prosody and ejabberd.
interop: build other-host
	$(MOCHA) 'test/interop/**/*.test.ts'

# Types, format, lint, directions between the layers, unused code, documentation that differs from the code.
check: install
	$(BIN)/tsc -p .
	$(BIN)/biome check --error-on-warnings
	$(BIN)/oxlint --type-aware --deny-warnings src modules test docs
	$(BIN)/depcruise src modules --config .dependency-cruiser.cjs
	$(BIN)/knip
	$(BIN)/tsx docs/write-catalogue.ts --check

# The pages that are written from the code: docs/CATALOGUE.md.
docs: install
	$(BIN)/tsx docs/write-catalogue.ts

format: install
	$(BIN)/biome check --write

# Measures, side by side with Prosody and ejabberd where they are installed, and writes docs/BENCHMARKS.md.
bench: build
	$(BIN)/tsx test/bench/all.ts

# The package as it would be published: morendo-VERSION.tgz.
pack: build
	npm pack --ignore-scripts

clean:
	rm -rf dist *.tgz
