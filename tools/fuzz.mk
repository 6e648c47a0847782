# The fuzz targets, on the project's own rules so that every folder keeps its flags. Called by run_fuzz.sh with
# CC=clang, B=<build>/fuzz and SANFLAG set; fuzz_NAME is the target, seeds_NAME writes its first inputs.
include Makefile

# The folders that read bytes of strangers. (clang needs minutes for kernels when they are instrumented: what of
# them is called comes from the library that is there.)
READERS := $(filter $(foreach f,base os gguf text http kv model,$(B)/src/$(f)/%),$(LIBOBJ) $(SRVOBJ))
PLAIN   := $(B)/../libakvifer.a
# What the targets include from tests/support.
HELPERS := $(sort $(patsubst %.h,$(B)/tests/%.o,$(shell sed -n 's|^\#include "\(support/.*\)"|\1|p' tests/fuzz/*.c)))

$(B)/libreaders.a: $(READERS)
	@rm -f $@
	@ar rcs $@ $^

$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(HELPERS) $(B)/libreaders.a
	$(CC) -fsanitize=fuzzer -o $@ $^ $(PLAIN) $(LDLIBS)

$(B)/seeds_%: $(B)/tests/fuzz/seeds_%.o $(HELPERS) $(B)/libreaders.a
	$(CC) -o $@ $^ $(PLAIN) $(LDLIBS)

-include $(wildcard $(B)/tests/fuzz/*.d)
