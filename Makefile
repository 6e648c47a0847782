# Akvifer: `make help` lists what there is. Everything is built under $(B); no file is written beside the sources.
SAN     ?=
MODELS  ?= smollm2 minilm
MODEL   ?= smollm2
PREFIX  ?= /usr/local
CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
B       := build$(if $(SAN),-$(SAN))
Q       := $(if $(V),,@)

VERSION := 0.1.0
PKGS    := jansson libpcre2-8 libxxhash readline libcurl libzip zlib libcrypto libmicrohttpd
STD     := -std=gnu17 -O2 -g -fPIC -pthread -ffp-contract=off -fno-math-errno -fvisibility=hidden
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-psabi
comma   := ,
SANFLAG := $(if $(filter address,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)$(if $(filter thread,$(SAN)),-fsanitize=thread)
# What the code relies on holds also where CFLAGS or LDLIBS are given (make CFLAGS=-O0): those come behind it.
override CFLAGS := $(STD) $(WARN) $(SANFLAG) -D_GNU_SOURCE -DAKV_VERSION='"$(VERSION)"' -Isrc -Iinclude $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
override LDLIBS += $(SANFLAG) -pthread -Wl,--as-needed $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -ldl

# The folder is the instruction set: its flags are set here and nowhere else.
# Instrumented kernels take gcc minutes a file at -O3. For ThreadSanitizer they are not instrumented: it is told what each
# call reads and writes (model/watched.h), so it sees every race between two calls, and the real models stay quick enough.
KERN_O     := $(if $(filter address,$(SAN)),-O1,-O3)
KERN_TSAN  := $(if $(filter thread,$(SAN)),-fno-sanitize=thread)
ISA_ref    := -march=x86-64-v2
ISA_avx2   := -march=x86-64-v3 $(KERN_O)
ISA_avx512 := -march=x86-64-v4 -mavx512vnni $(KERN_O)
ISA_amx    := $(ISA_avx512) -mamx-tile -mamx-int8
isa_of      = $(if $(findstring /kernels/amx/,$(1)),$(ISA_amx) $(KERN_TSAN),$(if $(findstring /kernels/avx512/,$(1)),$(ISA_avx512) $(KERN_TSAN),$(if $(findstring /kernels/avx2/,$(1)),$(ISA_avx2) $(KERN_TSAN),$(ISA_ref) $(if $(findstring /kernels/ref/,$(1)),$(KERN_TSAN)))))

LIBSRC  := $(sort $(wildcard src/base/*.c src/os/*.c src/kernels/*.c src/kernels/*/*.c src/gguf/*.c src/text/*.c \
             src/kv/*.c src/kv/policy/*.c src/model/*.c src/tier/*.c src/engine/*.c))
SRVSRC  := $(sort $(wildcard src/http/*.c src/api/*.c))
BINSRC  := $(sort $(wildcard src/bin/*.c))
LIBOBJ  := $(LIBSRC:%.c=$(B)/%.o)
SRVOBJ  := $(SRVSRC:%.c=$(B)/%.o)
BINOBJ  := $(BINSRC:%.c=$(B)/%.o)
VERBOBJ := $(filter-out $(B)/src/bin/main.o,$(BINOBJ))
KINDS   ?= unit property kernels golden fault e2e
# With AddressSanitizer gcc takes more than 200 s to compile this one (15 without); what it does is in guard pages.
TESTSRC := $(filter-out $(if $(filter address,$(SAN)),tests/kernels/test_avx512_emulated.c),$(sort $(wildcard $(KINDS:%=tests/%/*.c))))
TESTBIN := $(TESTSRC:%.c=$(B)/%)
TESTLIB := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/support/*.c tests/twin/*.c)))

.DEFAULT_GOAL := all
.SECONDARY:
.PHONY: all help deps clients chat serve test tests soak fuzz duel count serve-duel idle chats tidy screenshots format install clean models

all: $(B)/akvifer $(B)/libakvifer.a $(B)/libakvifer.so

help:
	@sed -n 's/^#: //p' Makefile

#: make            build build/akvifer, build/libakvifer.a and build/libakvifer.so
#: make chat       install what it needs, build, fetch the model, and talk to it (ASK="..." answers once; MODEL=qwen2)
#: make serve      the same, and serve it on http://127.0.0.1:8080 (MODEL=qwen2, PORT=9000)
#: make test       install what it needs, build, and run every test (MODELS=all: with all models;
#:                 KINDS="unit property": only those of tests/unit and tests/property)
#: make fuzz       run schemathesis against the server and the fuzz targets, each for long (SECONDS_EACH=600)
#: make soak       20,000 short requests, and what memory they leave (REQUESTS=4000 MODEL=smollm2: of that model)
#: make duel       speed beside llama.cpp: LLAMA_BIN=the folder of its llama-bench (MODEL="smollm2 qwen2"; CELLS=all, quick,
#:                 depth, batch, neighbour, start, long, or a cell as decode-128; ROUNDS=5; TYPES=all: random weights of
#:                 each type, of LAYERS=8; CPU=avx2: kernels that ours uses, beside a peer built for the same)
#: make serve-duel our server beside llama-server: LLAMA_BIN=the folder of it and llama-batched-bench (MODEL="smollm2 qwen2")
#: make count      instructions of a fixed prompt and answer, beside the recorded ones (RECORD=1 records them)
#: make idle       what 1,000 streams that wait cost eight that answer (MODEL=qwen2)
#: make chats      8 chats of 4,096 tokens under KV policies: memory and tokens a second (POLICIES="full h2o:budget=20%")
#: make screenshots   take the pictures of the page in docs/ anew
#: make tidy       format, warnings and the include graph: refuses a cycle or an upward include
#: make install    to PREFIX (default /usr/local), with a systemd unit; a container: packaging/Containerfile
#: V=1 shows the commands; SAN=address or SAN=thread builds beside it with sanitizers

deps:
	@tools/install_deps.sh $(if $(filter test soak fuzz tidy screenshots,$(MAKECMDGOALS)),test,$(filter count,$(MAKECMDGOALS)))

# Small models fall into loops, some answers of smollm2 until its context is full; with this penalty none of 48 did (4 without).
chat: deps
	@$(MAKE) --no-print-directory all
	@mkdir -p models
	@$(B)/akvifer pull $(MODEL)
	@$(B)/akvifer run -m $(MODEL) --repeat-penalty 1.1 $(if $(ASK),-n 1024 -p "$$ASK")
export ASK

serve: deps
	@$(MAKE) --no-print-directory all
	@mkdir -p models
	@$(B)/akvifer pull $(MODEL)
	@$(B)/akvifer serve -m $(MODEL) --port $(or $(PORT),8080)

clients: deps
	@tools/install_clients.sh openai $(if $(filter fuzz,$(MAKECMDGOALS)),schemathesis)

test: deps clients
	@$(MAKE) --no-print-directory all tests
	@mkdir -p models
	@for m in $(if $(filter all,$(MODELS)),smollm2 gemma3 qwen2 minilm,$(MODELS)); do $(B)/akvifer pull $$m || exit 1; done
	@B=$(B) SAN=$(SAN) CC=$(CC) tools/run_tests.sh $(TESTBIN)

soak: deps
	@$(MAKE) --no-print-directory all $(B)/tests/e2e/test_soak
	@B=$(B) SOAK_REQUESTS=$(or $(REQUESTS),20000) $(if $(filter command line,$(origin MODEL)),SOAK_MODEL=$(MODEL)) $(B)/tests/e2e/test_soak

tests: $(TESTBIN) $(B)/example

fuzz: deps clients
	@$(MAKE) --no-print-directory all
	@mkdir -p models
	@$(B)/akvifer pull $(MODEL)
	@B=$(B) MODEL=$(MODEL) tools/run_schemathesis.sh $(or $(SECONDS_EACH),600)
	@B=$(B) tools/run_fuzz.sh $(or $(SECONDS_EACH),600)

duel: all
	@LLAMA_BIN="$(LLAMA_BIN)" bench/duel.py --akvifer $(B)/akvifer $(addprefix -m ,$(MODEL)) $(addprefix --cells ,$(CELLS)) \
	    $(addprefix --types ,$(TYPES)) $(addprefix --cpu ,$(CPU)) $(addprefix --rounds ,$(ROUNDS)) \
	    $(addprefix --layers ,$(LAYERS))

serve-duel: all
	@LLAMA_BIN="$(LLAMA_BIN)" bench/serve_duel.py --akvifer $(B)/akvifer $(addprefix -m ,$(MODEL))

count: deps
	@$(MAKE) --no-print-directory all
	@$(B)/akvifer pull smollm2
	@B=$(B) CC="$(CC)" RECORD=$(RECORD) tools/count.sh

tidy: deps
	@tools/tidy.sh

idle: deps
	@$(MAKE) --no-print-directory all
	@$(B)/akvifer pull $(MODEL)
	@bench/idle.py --akvifer $(B)/akvifer -m $(MODEL)

chats: deps
	@$(MAKE) --no-print-directory all
	@$(B)/akvifer pull $(MODEL)
	@bench/chats.py --akvifer $(B)/akvifer -m $(MODEL) $(POLICIES)

screenshots: deps
	@$(MAKE) --no-print-directory all
	@$(B)/akvifer pull $(MODEL)
	@tools/screenshots.py $(B)/akvifer $(MODEL)

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

$(B)/akvifer: $(BINOBJ) $(B)/libserver.a $(B)/libakvifer.a
	@echo "  LD  $@"
	$(Q)$(CC) -o $@ $^ $(LDLIBS)

$(B)/libakvifer.a: $(LIBOBJ)
	@rm -f $@
	@echo "  LD  $@"
	$(Q)ar rcs $@ $^

$(B)/libserver.a: $(SRVOBJ)
	@rm -f $@
	@echo "  LD  $@"
	$(Q)ar rcs $@ $^

$(B)/libverbs.a: $(VERBOBJ)
	@rm -f $@
	@echo "  LD  $@"
	$(Q)ar rcs $@ $^

$(B)/libakvifer.so: $(LIBOBJ)
	@echo "  LD  $@"
	$(Q)$(CC) -shared -Wl,-soname,libakvifer.so.0 -o $@ $^ $(LDLIBS)

$(B)/example: docs/example.c $(B)/libakvifer.a
	@echo "  LD  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(B)/tests/%: $(B)/tests/%.o $(TESTLIB) $(B)/libverbs.a $(B)/libserver.a $(B)/libakvifer.a
	@echo "  LD  $@"
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(B)/libverbs.a $(B)/libserver.a $(B)/libakvifer.a $(LDLIBS) -lcmocka

# Results of `bench` carry the commit they belong to: main is compiled again when it changed.
COMMIT  := $(shell git describe --always --dirty --match= 2>/dev/null || echo unknown)
COMMITS := $(shell git rev-list --count HEAD 2>/dev/null || echo 0)
$(B)/src/bin/main.o: CFLAGS += -DAKV_COMMIT='"$(COMMIT)"' -DAKV_COMMITS=$(COMMITS)
$(B)/src/bin/main.o: $(B)/commit
.PHONY: always
$(B)/commit: always
	@mkdir -p $(B)
	@echo "$(COMMIT)" | cmp -s - $@ || echo "$(COMMIT)" > $@

# The page is part of the program: api/page.c takes its files in.
$(B)/src/api/page.o: $(wildcard src/page/*)
# So are the passages of `eval kv`, and what profiles are measured with, and those there are.
$(B)/src/bin/eval_kv_prose.o: $(wildcard src/bin/passages/*)
$(B)/src/engine/calibrate.o: $(wildcard src/engine/calibration/*)
$(B)/src/engine/heads.o: $(wildcard src/engine/profiles/*)

$(B)/src/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CFLAGS) $(call isa_of,$<) -MMD -MP -c -o $@ $<

# The emulation adds and subtracts as the processor does, but by signed types.
$(B)/tests/support/simde_avx512_matmul.o: override CFLAGS += -fno-sanitize=undefined

$(B)/tests/%.o: tests/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CFLAGS) $(ISA_ref) -Itests -MMD -MP -c -o $@ $<

install: all
	install -Dm755 $(B)/akvifer $(DESTDIR)$(PREFIX)/bin/akvifer
	install -Dm644 include/akvifer.h $(DESTDIR)$(PREFIX)/include/akvifer.h
	install -Dm644 $(B)/libakvifer.a $(DESTDIR)$(PREFIX)/lib/libakvifer.a
	install -Dm755 $(B)/libakvifer.so $(DESTDIR)$(PREFIX)/lib/libakvifer.so.0
	ln -sf libakvifer.so.0 $(DESTDIR)$(PREFIX)/lib/libakvifer.so
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/share/man/man1
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' docs/akvifer.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/akvifer.pc
	$(B)/akvifer manual > $(DESTDIR)$(PREFIX)/share/man/man1/akvifer.1
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local|$(PREFIX)|' packaging/akvifer.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/akvifer.service
	install -Dm644 packaging/akvifer.conf $(DESTDIR)$(PREFIX)/share/doc/akvifer/akvifer.conf

clean:
	rm -rf build build-address build-thread

-include $(LIBOBJ:.o=.d) $(SRVOBJ:.o=.d) $(BINOBJ:.o=.d) $(TESTBIN:=.d) $(TESTLIB:.o=.d)
