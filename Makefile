# The front door: `make run` and `make test`. Everything else is for developers.
BIN := node_modules/.bin

.PHONY: install build run test check format bench clean

node_modules/.package-lock.json: package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

install: node_modules/.package-lock.json

build: install
	$(BIN)/tsc -p tsconfig.build.json
	@mkdir -p dist/src/xml && cp src/xml/ltx.d.ts dist/src/xml/

run: build
	node dist/src/cli/main.js start

test: install
	$(BIN)/mocha

check: install
	$(BIN)/tsc -p .
	$(BIN)/biome check --error-on-warnings
	$(BIN)/oxlint --type-aware --deny-warnings src modules test
	$(BIN)/depcruise src modules --config .dependency-cruiser.cjs
	$(BIN)/knip

format: install
	$(BIN)/biome check --write

bench: build
	$(BIN)/tsx test/bench/all.ts

clean:
	rm -rf dist
