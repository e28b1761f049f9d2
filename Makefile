# make build   one static binary, bin/edge
# make test    everything a change must pass; a missing tool is installed or fails it, nothing is skipped
# make lint    the static half of it        make fuzz FUZZTIME=1m   the fuzz targets for longer
# make bench   edge beside HAProxy, nginx and net/http (HAPROXY=FILE: another HAProxy; BENCH='-only REGEX': see -help)

SHELL      := bash
VERSION    := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
BUILD      := -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
# What is written for several threads, under the race detector.
RACE_PKGS  ?= ./cmd/... ./proxy/... ./mesh/... ./services/...
# What serves connections, once more with the portable goroutine loop.
LOOP_PKGS  ?= ./cmd/... ./proxy/...
FUZZTIME   ?= 3s
BENCH      ?=

export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: build test lint vet staticcheck gofmt unit race portable fuzz bench install clean

build:
	CGO_ENABLED=0 go build $(BUILD) -o bin/edge ./cmd/edge

# One after the other: they measure time, and would disturb each other.
test:
	$(MAKE) --no-print-directory install
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory race
	$(MAKE) --no-print-directory portable
	$(MAKE) --no-print-directory fuzz

install:
	@.ci/install

lint: gofmt vet staticcheck

gofmt:
	@files=$$(gofmt -l .); [[ -z $$files ]] || { echo "not formatted (gofmt -w):" $$files; exit 1; }

vet:
	go vet ./...

staticcheck:
	go run honnef.co/go/tools/cmd/staticcheck ./...

unit:
	go test ./...

race:
	go test -race $(RACE_PKGS)

portable:
	EDGE_LOOP=goroutines go test -count=1 $(LOOP_PKGS)

fuzz:
	.ci/fuzz $(FUZZTIME)

bench: install build
	go run ./bench $(BENCH)

clean:
	rm -rf bin
	go clean -testcache
