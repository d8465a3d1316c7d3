# The two commands of the README, and a few that contributors use.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
HOLDFAST := $(TARGET_DIR)/debug/holdfast
PLATFORM ?= examples/zero-trust

.PHONY: up down test build install check

## Install what is missing, build, and start the example platform
up: build
	@$(HOLDFAST) up $(PLATFORM)

## Stop it; `make down PURGE=--purge` removes its data as well
down:
	@$(HOLDFAST) down $(PLATFORM) $(PURGE)

build:
	@scripts/install.sh run
	@$(CARGO) build --locked --package holdfast

## What CI runs
test:
	@scripts/install.sh test
	@$(CARGO) xtask check

## An optimised binary in ~/.cargo/bin
install:
	@scripts/install.sh run
	@$(CARGO) install --locked --path crates/holdfast
