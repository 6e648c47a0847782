#include "bin/strangers.h"

#include <string.h>

#include "bin/flags.h"

#define TAKEN(names, instead)                                                                      \
    {                                                                                              \
        names, STRANGER_TAKEN, false, instead                                                      \
    }
#define TAKEN_WITH(names, instead)                                                                 \
    {                                                                                              \
        names, STRANGER_TAKEN, true, instead                                                       \
    }
#define REFUSED(names, why)                                                                        \
    {                                                                                              \
        names, STRANGER_REFUSED, false, why                                                        \
    }

static const struct stranger strangers[] = {
    /* ---- processors, threads, memory ---- */
    TAKEN_WITH("-ngl --gpu-layers --n-gpu-layers", "all layers run on the processor"),
    TAKEN_WITH("-dev --device -sm --split-mode -ts --tensor-split -mg --main-gpu",
               "there is one device, the processor"),
    TAKEN_WITH("-ot --override-tensor -ncmoe --n-cpu-moe", "all tensors are the processor's"),
    TAKEN("-cmoe --cpu-moe --op-offload --no-op-offload --no-host",
          "all tensors are the processor's"),
    TAKEN("-kvo --kv-offload -nkvo --no-kv-offload", "KV is in the processor's memory"),
    TAKEN_WITH("-tp --tensor-parallel-size -pp --pipeline-parallel-size -dp "
               "--data-parallel-size",
               "one process uses all threads"),
    TAKEN_WITH("-fa --flash-attn", "attention is always fused"),
    TAKEN_WITH("-b --batch-size", "-ub says how many tokens a step computes"),
    TAKEN_WITH("-tb --threads-batch", "-t says how many threads compute, for prompts and answers"),
    TAKEN_WITH(
        "-C --cpu-mask -Cr --cpu-range --cpu-strict -Cb --cpu-mask-batch -Crb "
        "--cpu-range-batch --cpu-strict-batch --prio --poll --prio-batch --poll-batch --numa",
        "the system places threads; taskset and numactl bound them"),
    TAKEN("--mlock --mmap --no-mmap --repack -nr --no-repack -dio --direct-io -ndio "
          "--no-direct-io --check-tensors --enforce-eager --trust-remote-code",
          "a file's structure is checked, and its weights are packed at load"),
    TAKEN_WITH("-lm --load-mode --load-format --dtype --quantization",
               "the file's types are computed with as they are"),
    TAKEN_WITH("-fit --fit -fitt --fit-target -fitc --fit-ctx",
               "-c and --kv-ram are what is given, else what fits"),
    TAKEN_WITH("--gpu-memory-utilization --swap-space", "--kv-ram bounds KV memory"),
    TAKEN("--warmup --no-warmup", "there is nothing to warm up"),
    TAKEN("--offline", "serve fetches nothing"),
    TAKEN_WITH("--download-dir -hft --hf-token", "serve fetches nothing"),
    REFUSED("--rpc --list-devices", "there is one device, the processor"),
    REFUSED("-mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file -cl --cache-list",
            "akvifer pull fetches models; -m takes their names and paths"),
    REFUSED("--models-dir --models-preset --models-max --models-autoload --no-models-autoload",
            "a server has one model"),
    REFUSED("--completion-bash --usage", "see --help"),

    /* ---- the cache ---- */
    TAKEN("-cb --cont-batching -nocb --no-cont-batching --enable-chunked-prefill "
          "--no-enable-chunked-prefill",
          "requests are always batched, and prompts computed in pieces"),
    TAKEN_WITH("--scheduling-policy", "requests are served in the order in which they come"),
    TAKEN("-kvu --kv-unified -no-kvu --no-kv-unified", "all requests share one pool (--kv-ram)"),
    TAKEN("--cache-prompt --no-cache-prompt", "requests say so themselves: cache_prompt"),
    TAKEN("--enable-prefix-caching --no-enable-prefix-caching", "prefixes are always shared"),
    TAKEN_WITH("--cache-reuse", "prefixes are reused token by token"),
    TAKEN_WITH("-cram --cache-ram", "--kv-ram bounds all KV memory, idle KV included"),
    TAKEN("--cache-idle-slots --no-cache-idle-slots", "idle KV stays while there is room"),
    TAKEN_WITH("-ctxcp --ctx-checkpoints --swa-checkpoints -cms --checkpoint-min-step",
               "KV is kept block by block"),
    TAKEN_WITH("-ctv --cache-type-v", "keys and values have one type (--kv-type)"),
    TAKEN_WITH("-dt --defrag-thold", "blocks do not fragment"),
    TAKEN_WITH("--block-size", "a block is 64 tokens"),
    TAKEN_WITH("-sps --slot-prompt-similarity --slot-save-path", "there are no slots"),
    TAKEN_WITH("--sleep-idle-seconds", "an idle server computes nothing"),
    TAKEN("--context-shift --no-context-shift", "nothing is shifted or truncated silently"),
    TAKEN_WITH("--keep", "nothing is discarded"),
    TAKEN("--swa-full", "windowed layers keep their window"),

    /* ---- what only makes the same answer quicker ---- */
    /* Also all that begin with --spec- or end with -draft. */
    TAKEN_WITH("-md -td -tbd -Cd -Crd -Cbd -otd -cmoed -ncmoed -devd -ngld -ctkd -ctvd -hfd -hfrd "
               "--draft --draft-n --draft-max --draft-min --draft-n-min --draft-p-min "
               "--draft-p-split -lcs --lookup-cache-static -lcd --lookup-cache-dynamic "
               "--speculative-config",
               "nothing is drafted; answers are the same without"),
    TAKEN("-bs --backend-sampling --spec-default --no-spec-draft-backend-sampling",
          "answers are the same without"),

    /* ---- text, templates, answers ---- */
    TAKEN("--jinja --no-jinja", "chat templates are always Jinja"),
    TAKEN("--skip-chat-parsing --no-skip-chat-parsing --prefill-assistant --no-prefill-assistant "
          "--reasoning-preserve --no-reasoning-preserve",
          "answers are given as they are written"),
    TAKEN_WITH("--reasoning-format", "reasoning stays in the answer's text"),
    TAKEN("--spm-infill -e --escape --no-escape --perf --no-perf", "it is of no matter to serve"),
    TAKEN_WITH("--xtc-threshold --dry-base --dry-allowed-length --dry-penalty-last-n "
               "--dry-sequence-breaker --adaptive-decay --dynatemp-exp --mirostat-lr "
               "--mirostat-ent",
               "its sampler is not there"),
    TAKEN_WITH("--embd-normalize --pooling", "there are no embeddings"),
    TAKEN("--no-mmproj --no-mmproj-auto --mmproj-auto --mmproj-offload --no-mmproj-offload",
          "there are no images"),
    TAKEN_WITH("--image-min-tokens --image-max-tokens --mtmd-batch-max-tokens -mmdev "
               "--mmproj-device",
               "there are no images"),
    TAKEN("--no-agent -no-ag --no-ui-mcp-proxy --no-webui-mcp-proxy", "there are no tools"),
    REFUSED("-rea --reasoning --reasoning-effort --reasoning-budget --reasoning-budget-message",
            "reasoning is not steered yet; chat_template_kwargs of a request reach its template"),
    REFUSED("--chat-template-kwargs", "requests bring them: chat_template_kwargs"),
    REFUSED("--samplers --sampler-seq --sampling-seq --top-nsigma --top-n-sigma --xtc-probability "
            "--dry-multiplier --adaptive-target --dynatemp-range --mirostat",
            "this sampler is not there yet"),
    REFUSED("--grammar --grammar-file -j --json-schema -jf --json-schema-file",
            "constrained output is not there yet"),
    REFUSED("--ignore-eos -r --reverse-prompt -sp --special",
            "requests say so themselves: ignore_eos, stop"),
    REFUSED("--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx "
            "--yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast --override-kv",
            "a model is computed as its file says"),
    REFUSED("--lora --lora-scaled --lora-init-without-apply --control-vector "
            "--control-vector-scaled --control-vector-layer-range --enable-lora",
            "adapters are not there yet"),
    REFUSED("-mm --mmproj -mmu --mmproj-url --media-path", "images are not there yet"),
    REFUSED("--embedding --embeddings --rerank --reranking", "embeddings are not there yet"),
    REFUSED("--tools --tools-runtime --mcp-servers-config --mcp-servers-json -ag --agent "
            "--ui-mcp-proxy --webui-mcp-proxy --enable-auto-tool-choice --tool-call-parser",
            "tools are not there yet"),

    /* ---- the server ---- */
    TAKEN("--props --no-props", "GET /props always answers, and nothing can be changed by POST"),
    TAKEN_WITH("--cors-methods --cors-headers", "what a page of --cors-origin asks for is allowed"),
    TAKEN("--cors-credentials --no-cors-credentials", "keys are sent as headers, not as cookies"),
    TAKEN_WITH("--tags --ui-config --webui-config --ui-config-file --webui-config-file",
               "there is nothing that it would be shown in"),
    TAKEN("-v --verbose --log-verbose --log-prefix --no-log-prefix --log-timestamps "
          "--no-log-timestamps --disable-log-requests --disable-log-stats",
          "a request is a line of JSON (--log-file)"),
    TAKEN_WITH("-lv --verbosity --log-verbosity --log-colors --uvicorn-log-level",
               "a request is a line of JSON (--log-file)"),
    REFUSED("--path --api-prefix --reuse-port", "put a proxy in front for that"),
    REFUSED("--log-prompts-dir", "prompts are never written down"),
};

/* The same flag under its name in other programs. */
static const struct {
    const char *theirs, *ours, *value;
} renamed[] = {
    { "--max-model-len", "--ctx-size", NULL },
    { "--max-num-seqs", "--parallel", NULL },
    { "--max-num-batched-tokens", "--ubatch-size", NULL },
    { "--kv-cache-dtype", "--kv-type", NULL },
    { "-ctk", "--kv-type", NULL },
    { "--cache-type-k", "--kv-type", NULL },
    { "--cors-origins", "--cors-origin", NULL },
    { "--temperature", "--temp", NULL },
    { "--log-disable", "--log-file", "/dev/null" },
    { "--ssl-keyfile", "--ssl-key-file", NULL },
    { "--ssl-certfile", "--ssl-cert-file", NULL },
};

static bool is_among(const char *names, const char *flag, size_t len)
{
    const char *word;
    size_t n;
    while (word_next(&names, &word, &n)) {
        if (n == len && memcmp(word, flag, len) == 0)
            return true;
    }
    return false;
}

const struct stranger *stranger_of(const char *flag)
{
    const size_t len = strcspn(flag, "=");
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        if (is_among(strangers[i].names, flag, len))
            return &strangers[i];
    }
    const bool drafts =
        strncmp(flag, "--spec-", 7) == 0 || (len > 8 && strncmp(flag + len - 6, "-draft", 6) == 0);
    return drafts ? stranger_of("--draft") : NULL;
}

const char *stranger_renamed(const char *flag, const char **value)
{
    const size_t len = strcspn(flag, "=");
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        if (is_among(renamed[i].theirs, flag, len)) {
            *value = renamed[i].value ? renamed[i].value : *value;
            return renamed[i].ours;
        }
    }
    return NULL;
}

const char *stranger_value(const char *our_flag, const char *value)
{
    const bool is_type = strcmp(our_flag, "--kv-type") == 0;
    if (is_type && strcmp(value, "q8_0") == 0)
        return "int8"; // 8 bits and a scale, of a row instead of 32 numbers
    return is_type && strcmp(value, "auto") == 0 ? "f16" : value;
}
