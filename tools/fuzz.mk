# The fuzz targets, on the project's own rules so that every folder keeps its flags. Called by run_fuzz.sh with
# CC=clang, B=<build>/fuzz and SANFLAG set; fuzz_NAME is the target, seeds_NAME writes its first inputs.
include Makefile

$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(TESTLIB) $(B)/libakvifer.a
	$(CC) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(B)/seeds_%: $(B)/tests/fuzz/seeds_%.o $(TESTLIB) $(B)/libakvifer.a
	$(CC) -o $@ $^ $(LDLIBS)

-include $(wildcard $(B)/tests/fuzz/*.d)
