/* Writes the first inputs of fuzz_gguf into a folder: a file of every kind of value, and of every type of
 * tensor, in versions 2 and 3. */
#include <stdio.h>

#include "base/dtype.h"
#include "support/gguf_writer.h"

static void add_pairs(struct gguf_writer *w)
{
    static const char *const words[] = { "a", "", "longer" };
    static const int64_t ints[] = { 0, 1, 1 };
    static const double floats[] = { 0.5, -2 };
    static const enum gguf_type whole[] = { GGUF_U8,  GGUF_I8,  GGUF_U16, GGUF_I16, GGUF_U32,
                                            GGUF_I32, GGUF_U64, GGUF_I64, GGUF_BOOL };
    char key[32];
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        snprintf(key, sizeof key, "int.%zu", i);
        gguf_write_int(w, key, whole[i], 1);
        snprintf(key, sizeof key, "ints.%zu", i);
        gguf_write_ints(w, key, whole[i], ints, 3);
    }
    gguf_write_float(w, "f32", GGUF_F32, 1.5);
    gguf_write_float(w, "f64", GGUF_F64, 1e100);
    gguf_write_floats(w, "f32s", GGUF_F32, floats, 2);
    gguf_write_floats(w, "f64s", GGUF_F64, floats, 2);
    gguf_write_text(w, "general.architecture", "llama");
    gguf_write_texts(w, "texts", words, 3);
}

static void add_tensor(struct gguf_writer *w, uint32_t type, uint32_t n_dim)
{
    static const char data[512];
    const struct dtype_info *info = dtype_info(type);
    uint64_t dim[4] = { info->block_elems, 2, 1, 1 };
    char name[32];
    snprintf(name, sizeof name, "%s.%u", info->name, n_dim);
    gguf_write_tensor(w, name, type, n_dim, dim, data, info->block_bytes * (n_dim > 1 ? 2 : 1));
}

static void write_seed(const char *dir, const char *name, uint32_t version, bool pairs,
                       bool tensors)
{
    struct gguf_writer w;
    char path[4096];
    gguf_writer_open(&w, version);
    if (pairs)
        add_pairs(&w);
    for (uint32_t type = 0; tensors && type < DT_LIMIT; type++) {
        const struct dtype_info *info = dtype_info(type);
        if (info && info->block_elems)
            add_tensor(&w, type, 1 + type % 4);
    }
    snprintf(path, sizeof path, "%s/seed-%s", dir, name);
    gguf_writer_save(&w, path);
    gguf_writer_close(&w);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 1;
    write_seed(argv[1], "empty", 3, false, false);
    write_seed(argv[1], "pairs", 3, true, false);
    write_seed(argv[1], "tensors", 3, false, true);
    write_seed(argv[1], "all", 2, true, true);
    return 0;
}
