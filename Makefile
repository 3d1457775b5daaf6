# gatewayd: build, show, test and measure. Everything runs as root on Debian
# with Go; what is missing is installed and said.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ARM_ROOMS   := ./forwarder/packet ./forwarder/nat ./limiter ./forwarder/clients
NETNS_ROOMS := $(sort $(dir $(shell find . -name '*_netns_test.go')))
NETNS_TESTS  = $(shell grep -hoE '^func Test[A-Za-z0-9]+' $$(find . -name '*_netns_test.go') | cut -d' ' -f2 | paste -sd'|')
PATIENCE    := 30m
FUZZ_INPUTS ?= 3000
# Tests that mostly wait run so many at once, whatever cores there are.
BESIDE      := 4
MATRICES    := Deaths|WritesAreFew|AFloodLeaves|PortsComeAndGo|HostileCaptures|NothingIsLostOrMadeUp|APowerCut|FlippedBit|AMillionSessions|RacesAreLinear|TheKernelDoesTheSame|EveryPacketIsShaped|EveryMTU|PassesBothFamilies
FIGURES     := ReadyAtOnce|SystemdKeeps|ATimePlanEnds|ADataPlanEnds|APlansRate|Killed|Deaths|WritesAreFew|AFullHouse|AMillionSessions|ACaptureCosts
export CGO_ENABLED ?= 0
# The binary is built with it: so everything is, and nothing is compiled twice.
TRIM        := -trimpath
export PATH := $(PATH):/usr/sbin:/sbin:$(CURDIR)/bin/tools/usr/bin:$(CURDIR)/bin/tools/usr/sbin

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

.PHONY: build deb check test demo bench bench-quick bench-shaping steps fuzz deps unit race arm short-fuzz namespaces soak figures

build: ## the static binary, bin/gatewayd
	go build $(TRIM) -ldflags "-s -w" -o bin/gatewayd ./cmd/gatewayd

deb: ## Debian packages for amd64, arm64 and armhf, bin/gatewayd_*.deb
	@rm -f bin/gatewayd_*.deb
	@mkdir -p bin
	deploy/deb/build bin

check: ## the quick loop: build for all targets, vet, staticcheck, unit tests
	$(call say,build for amd64 arm64 armv7)
	GOARCH=amd64 go build $(TRIM) -o /dev/null ./cmd/gatewayd
	GOARCH=arm64 go build $(TRIM) -o /dev/null ./cmd/gatewayd
	GOARCH=arm GOARM=7 go build $(TRIM) -o /dev/null ./cmd/gatewayd
	GOARCH=arm GOARM=7 go build $(TRIM) -o /dev/null ./examples/...
	$(call say,format and vet)
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	go vet $(TRIM) ./...
	go vet $(TRIM) -tags netns ./...
	$(call say,staticcheck)
	GOFLAGS=$(TRIM) go run $(STATICCHECK) -tags netns ./...
	$(MAKE) --no-print-directory unit

unit: deps
	$(call say,unit tests)
	go test $(TRIM) -parallel $(BESIDE) -timeout $(PATIENCE) ./...
	$(call say,without the lock of a device its histories are refused)
	go test $(TRIM) -tags noturns -run TestWithoutTurnsHistoriesAreRefused -timeout $(PATIENCE) ./sessions

# In -short, a test that is many times the same with other numbers (models, mutated
# frames, flipped bits, sizes) runs a few of them: unit has run all.
race: deps
	$(call say,unit tests with the race detector)
	CGO_ENABLED=1 go test -race -short -parallel $(BESIDE) -timeout $(PATIENCE) ./...

arm: deps
	$(call say,packet path rooms as arm64 and armv7)
	GOARCH=arm64 go test $(TRIM) -exec qemu-aarch64 $(ARM_ROOMS)
	GOARCH=arm GOARM=7 go test $(TRIM) -exec qemu-arm $(ARM_ROOMS)

# By inputs, not by time: a deadline makes go test fail now and then by itself
# ("context deadline exceeded"), when its workers hear of it before it does.
short-fuzz: FUZZ = $(FUZZ_INPUTS)
fuzz: FUZZ = 1000000
short-fuzz fuzz: ## fuzz targets, short; `make fuzz` is long
	$(call say,fuzz targets ($(FUZZ) inputs each))
	@for room in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$room/*_test.go | cut -d' ' -f2); do \
	    echo "$$room $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ)x -fuzzminimizetime 100x -timeout 1h $$room >/tmp/fuzz.$$$$ 2>&1 || { cat /tmp/fuzz.$$$$; rm -f /tmp/fuzz.$$$$; exit 1; }; \
	    rm -f /tmp/fuzz.$$$$; done; done

namespaces: deps build
	$(call say,the real binary in network namespaces)
	@GATEWAYD_BINARY=$(CURDIR)/bin/gatewayd go test $(TRIM) -tags netns -count=1 -p 1 -parallel $(BESIDE) -timeout $(PATIENCE) -run '^($(NETNS_TESTS))$$' $(NETNS_ROOMS)

test: deps check race arm short-fuzz namespaces ## everything
	$(call say,all passed)

demo: build ## the main job on real packets in namespaces of its own; 60 s
	./bin/gatewayd demo

bench: deps build ## beside the kernel's own hotspot and NAT, in the same run; 20 min
	go run ./bench -binary bin/gatewayd -out bench/out

bench-quick: deps build ## the key figures of it; 4 min
	go run ./bench -quick -binary bin/gatewayd -out bench/out

bench-shaping: deps build ## plans filled at all rates, beside HTB and nft's policer; 70 min; ONLY=PATTERN takes some
	go run ./bench -shaping -only '$(ONLY)' -binary bin/gatewayd -out bench/out/shaping

steps: ## each step of the packet path: nanoseconds a packet, allocations
	go test -run '^$$' -bench '^Benchmark(Steps|Up|Down|Both|UpSuper)$$' -benchmem ./forwarder
	go test -run '^$$' -bench '^BenchmarkOutNew$$' -benchmem ./forwarder/nat

soak: deps build ## the long matrices whole, hours; GATEWAYD_SEED=N draws others
	$(call say,the long matrices)
	GATEWAYD_SOAK=1 GATEWAYD_BINARY=$(CURDIR)/bin/gatewayd go test -tags netns -count=1 -p 1 -timeout 12h -v -run '$(MATRICES)' ./store ./sessions ./limiter ./forwarder/... ./gateway/...

figures: deps build ## the numbers that the tests print, medians of 5 repeats
	$(call say,figures)
	GATEWAYD_BINARY=$(CURDIR)/bin/gatewayd go test -tags netns -count=5 -parallel 1 -timeout 2h -v -run '$(FIGURES)' ./gateway | tee /dev/stderr | go run ./bench/medians

# What the tests drive the gateway with; programs nobody here wrote.
TOOLS := iperf3:iperf3 nft:nftables tc:iproute2 tcpdump:tcpdump unshare:util-linux nsenter:util-linux mount:mount nping:nmap ping:iputils-ping traceroute:traceroute \
	dig:bind9-dnsutils dnsmasq:dnsmasq-base udhcpc:udhcpc dhclient:isc-dhcp-client curl:curl ethtool:ethtool conntrack:conntrack \
	qemu-aarch64:qemu-user qemu-arm:qemu-user gcc:gcc arping:iputils-arping mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs trafgen:netsniff-ng \
	tcpreplay:tcpreplay editcap:wireshark-common tshark:tshark adduser:adduser systemd-analyze:systemd chromium:chromium scapy:python3-scapy tracepath:iputils-tracepath \
	$(if $(filter x86_64,$(shell uname -m)),linux.uml:user-mode-linux modprobe:kmod)

# Programs whose packages would start a server: unpacked, with the libraries they link.
UNPACKED := promtool:prometheus turnserver:coturn dhcpd:isc-dhcp-server

deps:
	@missing=(); for t in $(TOOLS); do command -v $${t%%:*} >/dev/null || missing+=($${t##*:}); done; \
	if [ $${#missing[@]} -gt 0 ]; then echo "installing $${missing[*]}"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; fi
	@for p in $(UNPACKED); do command -v $${p%%:*} >/dev/null && continue; p=$${p##*:}; \
	  echo "unpacking $$p into bin/tools (its package would start a server)"; \
	  d=$$(mktemp -d) && chmod 755 $$d && (cd $$d && (apt-get download -qq -o APT::Sandbox::User=root $$p || (apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root $$p))) && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$(dpkg-deb -f $$d/$${p}_*.deb Depends | tr ',' '\n' | sed -n '/libjs/d; s/^ *\(lib[^ ]*\).*/\1/p') >/dev/null && \
	  mkdir -p bin/tools && dpkg -x $$d/$${p}_*.deb bin/tools && rm -rf $$d || exit 1; done
