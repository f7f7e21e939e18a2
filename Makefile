# pgrepctl: `make help` lists the targets.

GO ?= go
BIN := build/pgrepctl
PACKAGES := ./cmd/... ./pkg/... ./templates/...
FUZZTIME ?= 5s

export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: ## build/pgrepctl, static, for this machine
	$(GO) build -trimpath -ldflags='-s -w' -o $(BIN) ./cmd/pgrepctl

.PHONY: cross
cross: ## static builds for linux and darwin, amd64 and arm64, in build/
	@for t in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
		echo "build/pgrepctl-$${t%/*}-$${t#*/}"; \
		GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -ldflags='-s -w -buildid=' -o build/pgrepctl-$${t%/*}-$${t#*/} ./cmd/pgrepctl || exit 1; \
	done

.PHONY: demo
demo: lab-deps build ## a primary under load and two standbys on this machine
	$(BIN) demo

.PHONY: test
test: test-deps vet unit e2e cross vagrant-validate bench-short bench-ddl-short ## everything that CI runs; installs what it needs

.PHONY: lab-deps test-deps
lab-deps:
	@test/install-deps lab
test-deps:
	@test/install-deps test

.PHONY: vet
vet: ## gofmt and go vet
	@test -z "$$(gofmt -l cmd pkg templates test)" || { gofmt -l cmd pkg templates test; exit 1; }
	$(GO) vet ./...

.PHONY: unit
unit: ## the tests of every package, with the race detector; the engine's crashes without it too
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(PACKAGES) ./test/hostile ./test/ddlbench ./test/bench
	$(GO) test -timeout 20m ./pkg/engine

.PHONY: e2e
e2e: build ## the scenarios on real hosts
	cd test/e2e && CGO_ENABLED=1 $(GO) test -race -timeout 70m -count=1 -parallel 200

# The tests that can go on for hours; in `make e2e` they are samples. Without the
# race detector: the machine is to be kept busy by the hosts.
N ?= 200
PROOF = cd test/e2e && $(GO) test -count=1 -timeout 24h -v -run

.PHONY: matrix crash-matrix rollout-matrix crash-soak retire-soak reseed-soak pairs
matrix: test-deps ## the scenarios on PostgreSQL 10 to 18, or PG="11 18"; docs/versions.md
	$(PROOF) TestEveryVersion -versions '$(or $(PG),all)'
crash-matrix: ## break a bootstrap off at every act, in every way; docs/crash-matrix.md
	$(PROOF) TestCrashMatrix -matrix=full $(if $(SITES),-sites $(SITES)) $(if $(BUDGET),-budget $(BUDGET))
rollout-matrix: ## break a schema change off at every act, in every way, on PG="11 15 18"; docs/rollout-matrix.md
	$(PROOF) TestRolloutMatrix -matrix=full -deploy '$(or $(PG),11 15 18)' $(if $(SITES),-sites $(SITES)) $(if $(BUDGET),-budget $(BUDGET))
crash-soak: ## N bootstraps under load, broken off at random times; SEED repeats one
	$(PROOF) TestRandomKills -soak $(N) -seed $(or $(SEED),0)
retire-soak: ## N standbys added and retired, broken off at random times; SEED repeats one
	$(PROOF) TestRandomRetirements -retire $(N) -seed $(or $(SEED),0) $(if $(SITES),-sites $(SITES))
reseed-soak: ## N times pages of a standby damaged and mended; SEED repeats one
	$(PROOF) TestReseedMendsPagesThatSizeAndTimeHide -reseed $(N) -seed $(or $(SEED),0)
pairs: ## N times two bootstraps at the same instant
	$(PROOF) TestOfTwoSimultaneousRunsExactlyOneProceeds -pairs $(N)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@for p in $$($(GO) list $(PACKAGES)); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "fuzz $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }; \
		done; \
	done

.PHONY: hostile
hostile: test-deps ## 10000 hostile strings through every sink; build/figures/hostile.jsonl
	cd test/hostile && $(GO) test -count=1 -parallel 8 -timeout 4h -strings 10000 -seed $(or $(SEED),1) -figures $(CURDIR)/build/figures/hostile.jsonl

.PHONY: bench bench-short
bench: build ## the speeds that are promised, as ratios; build/figures/bench.jsonl; or ONLY=scale
	$(GO) run ./test/bench -bin $(BIN) $(if $(ONLY),-only $(ONLY))
bench-short: build
	$(GO) run ./test/bench -bin $(BIN) -short

.PHONY: bench-ddl bench-ddl-short
bench-ddl: build ## what a schema change does to reads, on PG="11 15 18"; DEPLOYS=100; docs/ddl-benchmark.md
	$(GO) run ./test/ddlbench -bin $(BIN) $(if $(PG),-versions '$(PG)') $(if $(DEPLOYS),-deploys $(DEPLOYS)) $(if $(ONLY),-only '$(ONLY)') -doc docs/ddl-benchmark.md
bench-ddl-short: build
	$(GO) run ./test/ddlbench -bin $(BIN) -short -out build/figures/ddl-short.jsonl

# ROUNDS=3 is the default; ONLY is empty, text, load, files, seed, link or 20g (42 GB of disk, not part of the whole).
.PHONY: bench-copy
bench-copy: lab-deps build ## the copy beside what else makes a standby; docs/benchmarks.md, build/figures/copy.jsonl
	$(GO) run ./test/bench -copy -bin $(BIN) -out build/figures/copy.jsonl -doc docs/benchmarks.md $(if $(ONLY),-only $(ONLY)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(PERCENT),-percent $(PERCENT))

# What the Vagrantfile writes when it is only read.
VAGRANT = VAGRANT_HOME=$(CURDIR)/build/vagrant/home VAGRANT_DOTFILE_PATH=$(CURDIR)/build/vagrant/dot VAGRANT_CHECKPOINT_DISABLE=1 vagrant

.PHONY: vagrant vagrant-validate
vagrant: build $(if $(BOX),,build/vagrant/bookworm.box) ## the main scenario in virtual machines; build/figures/vagrant.jsonl
	@test/install-deps vagrant
	$(GO) run ./test/vagrant -bin $(BIN) $(if $(filter no,$(CONTAINED)),-contained=false) $(if $(KEEP),-keep)
build/vagrant/bookworm.box: test/vagrant/box.sh
	@test/install-deps vagrant
	test/vagrant/box.sh $@
vagrant-validate: ## read the Vagrantfile, with both kinds of boxes
	@test/install-deps vagrant-validate
	@cd test/vagrant && for box in '' almalinux/9; do BOX=$$box $(VAGRANT) validate || exit 1; done

.PHONY: golden
golden: ## rewrite the golden files and generated docs, then look at the diff
	UPDATE_GOLDEN=1 $(GO) test ./pkg/settings ./pkg/ui
	$(GO) test $$(grep -rl '"update"' --include='*_test.go' pkg | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

.PHONY: clean
clean:
	rm -rf build
