#include "api/member.h"

#include <assert.h>
#include <string.h>

#define TEXT_OR_TEXTS                                                                              \
    "{\"anyOf\":[{\"type\":[\"string\",\"null\"],\"minLength\":1},{\"type\":\"array\","            \
    "\"maxItems\":64,\"items\":{\"type\":\"string\",\"minLength\":1}}]}"
#define ID "{\"type\":\"integer\",\"minimum\":0,\"maximum\":{n_vocab}}"
#define IDS "{\"type\":\"array\",\"minItems\":1,\"items\":" ID "}"
#define TEXT "{\"type\":\"string\",\"minLength\":1}"
#define MESSAGES                                                                                   \
    "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":[\"role\","    \
    "\"content\"],"                                                                                \
    "\"properties\":{\"role\":{\"type\":\"string\"},\"content\":{\"anyOf\":[{\"type\":["           \
    "\"string\",\"null\"]},{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":"       \
    "[\"type\",\"text\"],\"properties\":{\"type\":{\"const\":\"text\"},\"text\":{\"type\":"        \
    "\"string\"}}}}]}}}}"
/* Refused; refused but for a value; the same where 0 and false ask for something too. */
#define ABSENT(N, H)                                                                               \
    {                                                                                              \
        .names = N, .type = MEMBER_ABSENT, .in = IN_GENERATE, .help = H                            \
    }
#define ABSENT_BUT(N, O, H)                                                                        \
    {                                                                                              \
        .names = N, .type = MEMBER_ABSENT, .in = IN_GENERATE, .off = O, .help = H                  \
    }
#define ABSENT_UNLESS(N, O, H)                                                                     \
    {                                                                                              \
        .names = N, .type = MEMBER_ABSENT, .in = IN_GENERATE, .off = O, .zero_asks = true,         \
        .help = H                                                                                  \
    }
#define IDLE(N, H)                                                                                 \
    {                                                                                              \
        .names = N, .type = MEMBER_IDLE, .in = IN_GENERATE, .help = H                              \
    }
#define WITH_TOOLS "it takes effect with tools only, which are refused"

const struct member members[] = {
    /* ---- what is asked ---- */
    { .names = "messages",
      .type = MEMBER_OTHER,
      .in = IN_CHAT | IN_TEMPLATE,
      .schema = MESSAGES,
      .needed = true,
      .help = "The conversation; parts of a content must be of type text." },
    { .names = "messages",
      .type = MEMBER_OTHER,
      .in = IN_TOKENIZE,
      .schema = MESSAGES,
      .help = "A conversation, rendered through the chat template (vLLM)." },
    { .names = "prompt",
      .type = MEMBER_OTHER,
      .in = IN_TEXT,
      .schema = "{\"anyOf\":[" TEXT "," IDS ",{\"type\":\"array\",\"minItems\":1,\"maxItems\":256,"
                "\"items\":{\"anyOf\":[" TEXT "," IDS "]}}]}",
      .needed = true,
      .help = "A text, token ids, or a list of either: one answer (or n) to each." },
    { .names = "prompt",
      .type = MEMBER_OTHER,
      .in = IN_LLAMA,
      .schema = "{\"anyOf\":[" TEXT "," IDS ",{\"type\":\"array\",\"minItems\":1,\"maxItems\":256,"
                "\"items\":{\"anyOf\":[" TEXT "," IDS "]}}]}",
      .needed = true,
      .help = "A text, token ids, ids and texts mixed (an id first), or a list of these." },
    { .names = "model",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = "{\"enum\":[null,\"\",{model}]}",
      .help = "Empty, or the served model's name; another one is 404." },
    { .names = "chat_template_kwargs",
      .type = MEMBER_OTHER,
      .in = IN_CHAT | IN_TEMPLATE | IN_TOKENIZE,
      .schema = "{\"type\":[\"object\",\"null\"]}",
      .help = "Variables for the chat template; add_generation_prompt goes before the member." },
    { .names = "tools",
      .type = MEMBER_OTHER,
      .in = IN_TEMPLATE | IN_TOKENIZE,
      .schema = "{\"type\":[\"array\",\"null\"]}",
      .help = "Shown to the chat template." },
    { .names = "add_generation_prompt",
      .type = MEMBER_BOOL,
      .in = IN_CHAT | IN_TEMPLATE | IN_TOKENIZE,
      .help = "The template ends with the beginning of an answer (default: true)." },
    { .names = "reasoning_effort",
      .type = MEMBER_TEXT,
      .in = IN_CHAT | IN_TEMPLATE | IN_TOKENIZE,
      .help = "A variable for the chat template; most templates do not look at it." },
    { .names = "add_special_tokens",
      .type = MEMBER_BOOL,
      .in = IN_TEXT | IN_LLAMA,
      .help = "A text begins with the model's BOS, where it has one (default: true)." },

    /* ---- sampling ---- */
    { .names = "temperature",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .most = 100,
      .help = "0 takes the likeliest token each time." },
    { .names = "top_p",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .most = 1,
      .help = "Only the likeliest tokens that make up this probability; 1 is off." },
    { .names = "top_k",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .least = -1,
      .most = INT32_MAX,
      .help = "Only so many of the likeliest tokens; 0 and -1 are off." },
    { .names = "min_p",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .most = 1,
      .help = "Only tokens of this probability, relative to the likeliest one's; 0 is off." },
    { .names = "typical_p",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .most = 1,
      .help = "Locally typical sampling; 1 is off." },
    { .names = "repetition_penalty|repeat_penalty",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .least = 0.01,
      .most = 100,
      .help = "Above 1: tokens that occurred are less likely." },
    { .names = "repeat_last_n",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .least = -1,
      .most = 1 << 20,
      .help = "How many tokens back penalties look; -1 is all, 0 is off." },
    { .names = "presence_penalty",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .least = -2,
      .most = 2,
      .help = "Taken off the logit of a token that occurred." },
    { .names = "frequency_penalty",
      .type = MEMBER_NUMBER,
      .in = IN_GENERATE,
      .least = -2,
      .most = 2,
      .help = "Taken off the logit of a token for each time that it occurred." },
    { .names = "seed",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .help = "The same seed gives the same answer, on any machine; -1 is another one each time "
              "(as is 4294967295 for llama-server's paths)." },
    { .names = "logit_bias",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema =
          "{\"anyOf\":[{\"type\":[\"object\",\"null\"],\"maxProperties\":0},{\"type\":\"object\","
          "\"maxProperties\":1024,\"propertyNames\":{\"pattern\":\"^[0-9]{1,3}$\"},"
          "\"additionalProperties\":{\"type\":\"number\",\"minimum\":-100,\"maximum\":100}},"
          "{\"type\":\"array\",\"maxItems\":1024,\"items\":{\"type\":\"array\",\"minItems\":2,"
          "\"maxItems\":2,\"prefixItems\":[" ID ",{\"anyOf\":[{\"const\":false},{\"type\":"
          "\"number\",\"minimum\":-100,\"maximum\":100}]}]}}]}",
      .help = "What is added to logits, by token id; -100 (or false in llama-server's pairs) "
              "forbids. The schema shows ids up to 999; every id of the vocabulary is one." },

    /* ---- where it ends ---- */
    { .names = "max_completion_tokens|max_tokens",
      .type = MEMBER_INT,
      .in = IN_CHAT,
      .least = 1,
      .most = INT32_MAX,
      .help = "Most tokens of an answer (default: the server's --n-predict)." },
    { .names = "max_tokens",
      .type = MEMBER_INT,
      .in = IN_TEXT,
      .most = INT32_MAX,
      .help = "Most tokens of an answer (default: 16); 0 computes the prompt alone." },
    { .names = "n_predict|max_tokens",
      .type = MEMBER_INT,
      .in = IN_LLAMA,
      .least = -1,
      .most = INT32_MAX,
      .help = "Most tokens of an answer; -1 is until it ends. 0 computes the prompt, for others to "
              "reuse." },
    { .names = "min_tokens",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .most = INT32_MAX,
      .help = "Before so many tokens no end can be drawn; not above the most." },
    { .names = "ignore_eos",
      .type = MEMBER_BOOL,
      .in = IN_GENERATE,
      .help = "Ends can never be drawn." },
    { .names = "stop",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = TEXT_OR_TEXTS,
      .help = "Texts that end the answer, and are no part of it." },
    { .names = "stop_token_ids",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = "{\"type\":[\"array\",\"null\"],\"maxItems\":64,\"items\":" ID "}",
      .help = "Tokens that end the answer." },
    { .names = "t_max_predict_ms",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .least = -1,
      .most = INT32_MAX,
      .help = "Milliseconds from its first token on: behind them it ends with its line, which is "
              "finish_reason length (llama-server); 0 and -1 are off." },

    /* ---- how many, and how it is told ---- */
    { .names = "n",
      .type = MEMBER_INT,
      .in = IN_CHAT | IN_TEXT,
      .least = 1,
      .most = 64,
      .help = "Answers to each prompt; they share its KV. Up to 256 answers in all." },
    { .names = "n_cmpl|n",
      .type = MEMBER_INT,
      .in = IN_LLAMA,
      .least = 1,
      .most = 64,
      .help = "Answers to each prompt; they share its KV. Up to 256 answers in all." },
    { .names = "best_of",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .least = 1,
      .most = 64,
      .help = "The same as n; another number is 501." },
    { .names = "stream",
      .type = MEMBER_BOOL,
      .in = IN_GENERATE,
      .help = "The answer comes as server-sent events." },
    { .names = "stream_options",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = "{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":"
                "\"#/components/schemas/StreamOptions\"}]}",
      .help = "Needs stream." },
    { .names = "include_usage",
      .type = MEMBER_BOOL,
      .in = IN_STREAM_OPTIONS,
      .help = "One more chunk at the end has the usage." },
    { .names = "continuous_usage_stats",
      .type = MEMBER_BOOL,
      .in = IN_STREAM_OPTIONS,
      .help = "Every chunk has it (vLLM)." },
    { .names = "include_obfuscation",
      .type = MEMBER_ABSENT,
      .in = IN_STREAM_OPTIONS,
      .help = "padding against the guessing of lengths" },
    { .names = "sse_ping_interval",
      .type = MEMBER_INT,
      .in = IN_GENERATE,
      .least = -1,
      .most = 3600,
      .help = "Seconds of silence before a comment is sent; 0 and -1 are never." },
    { .names = "logprobs",
      .type = MEMBER_BOOL,
      .in = IN_CHAT,
      .help = "Log-probabilities of the answer's tokens." },
    { .names = "top_logprobs",
      .type = MEMBER_INT,
      .in = IN_CHAT,
      .most = 20,
      .help = "Likeliest tokens beside each; needs logprobs." },
    { .names = "logprobs",
      .type = MEMBER_INT,
      .in = IN_TEXT,
      .most = 64,
      .help = "Log-probabilities of tokens, and so many of the likeliest beside each." },
    { .names = "n_probs",
      .type = MEMBER_INT,
      .in = IN_LLAMA,
      .most = 64,
      .help = "Log-probabilities of tokens, and so many of the likeliest beside each." },
    { .names = "echo",
      .type = MEMBER_BOOL,
      .in = IN_TEXT,
      .help = "The prompt stands in front of the answer, with its log-probabilities." },
    { .names = "return_token_ids|return_tokens",
      .type = MEMBER_BOOL,
      .in = IN_GENERATE,
      .help = "The answer's token ids too (default: false, but for /completion in a stream)." },

    /* ---- what is shared ---- */
    { .names = "cache_prompt",
      .type = MEMBER_BOOL,
      .in = IN_GENERATE,
      .help = "False computes all, and leaves nothing for others (default: true)." },
    { .names = "kv",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = "{\"anyOf\":[{\"type\":[\"string\",\"null\"]},{\"type\":\"object\",\"required\":["
                "\"policy\"],\"properties\":{\"policy\":{\"type\":\"string\"},\"budget_tokens\":{"
                "\"type\":\"integer\",\"minimum\":1},\"context\":{\"type\":[\"integer\",\"null\"],"
                "\"minimum\":1}}}]}",
      .help = "What stays of the KV: a policy and its options (docs/POLICIES.md)." },
    { .names = "cache_salt",
      .type = MEMBER_OTHER,
      .in = IN_GENERATE,
      .schema = "{\"type\":[\"string\",\"null\"],\"minLength\":1,\"maxLength\":32,\"pattern\":"
                "\"^[ -~]+$\"}",
      .help = "Only requests of the same salt (and key) share KV; up to 128 bytes." },

    { .names = "cache_public",
      .type = MEMBER_INT,
      .in = IN_CHAT,
      .most = INT32_MAX,
      .help = "The first so many messages may be shared with every key whose request says the "
              "same of the same messages; others can find out that somebody did (default: 0)." },
    { .names = "cache_public",
      .type = MEMBER_OTHER,
      .in = IN_TEXT | IN_LLAMA,
      .schema = "{\"anyOf\":[{\"type\":[\"string\",\"null\"]},{\"type\":\"integer\","
                "\"minimum\":0,\"maximum\":2147483647}]}",
      .help = "What the prompt begins with, or of token ids how many, may be shared with every key "
              "whose request says the same; others can find out that somebody did." },

    /* ---- tokens ---- */
    { .names = "content|prompt",
      .type = MEMBER_TEXT,
      .in = IN_TOKENIZE,
      .help = "The text; needed where there are no messages." },
    { .names = "add_special|add_special_tokens",
      .type = MEMBER_BOOL,
      .in = IN_TOKENIZE,
      .help = "The model's BOS comes first, where it has one." },
    { .names = "parse_special",
      .type = MEMBER_BOOL,
      .in = IN_TOKENIZE,
      .help = "Control tokens may be named in the text (default: true)." },
    { .names = "with_pieces",
      .type = MEMBER_BOOL,
      .in = IN_TOKENIZE,
      .help = "Each token is an object with its id and its text, or bytes that are none." },
    { .names = "return_token_strs",
      .type = MEMBER_BOOL,
      .in = IN_TOKENIZE,
      .help = "The texts of the tokens in token_strs (vLLM)." },
    { .names = "tokens",
      .type = MEMBER_OTHER,
      .in = IN_DETOKENIZE,
      .schema = "{\"type\":\"array\",\"items\":" ID "}",
      .needed = true,
      .help = "Token ids." },

    /* ---- what is not there yet ---- */
    ABSENT("tools", "tool calls"),
    ABSENT_BUT("tool_choice", "\"none\"", "tool calls"),
    ABSENT("functions", "tool calls"),
    ABSENT_BUT("function_call", "\"none\"", "tool calls"),
    ABSENT_BUT("response_format", "{\"type\":\"text\"}", "constrained output"),
    ABSENT("grammar", "constrained output"),
    ABSENT("json_schema", "constrained output"),
    ABSENT("structured_outputs", "constrained output"),
    ABSENT("structural_tag", "constrained output"),
    ABSENT("guided_json", "constrained output"),
    ABSENT("guided_regex", "constrained output"),
    ABSENT("guided_choice", "constrained output"),
    ABSENT("guided_grammar", "constrained output"),
    ABSENT("suffix", "filling in before a suffix"),
    ABSENT("audio", "audio"),
    ABSENT_BUT("modalities", "[\"text\"]", "an answer other than text"),
    ABSENT("mm_processor_kwargs", "images and audio"),
    ABSENT("prompt_embeds", "a prompt of embeddings"),
    ABSENT("documents", "documents beside the messages"),
    ABSENT("web_search_options", "a search in the web"),
    ABSENT("moderation", "moderation"),
    ABSENT("store", "storing answers"),
    ABSENT_BUT("verbosity", "\"medium\"", "a wish for longer or shorter answers"),
    ABSENT("chat_template", "a template of a request's own (the server has --chat-template-file)"),
    { .names = "continue_final_message",
      .type = MEMBER_ABSENT,
      .in = IN_GENERATE | IN_TEMPLATE | IN_TOKENIZE,
      .help = "going on with the last message" },
    { .names = "echo", .type = MEMBER_ABSENT, .in = IN_CHAT | IN_LLAMA, .help = "an echo here" },
    { .names = "add_special_tokens",
      .type = MEMBER_ABSENT,
      .in = IN_CHAT,
      .help = "a BOS besides the chat template's" },
    { .names = "prompt_logprobs",
      .type = MEMBER_ABSENT,
      .in = IN_GENERATE,
      .zero_asks = true,
      .help = "log-probabilities of the prompt (but for echo with logprobs)" },
    ABSENT("post_sampling_probs", "probabilities after the samplers"),
    ABSENT("return_tokens_as_token_ids", "tokens shown as ids (return_token_ids gives them)"),
    ABSENT("bad_words", "forbidding words"),
    ABSENT("allowed_token_ids", "a list of allowed tokens"),
    ABSENT("logits_processors", "code of a request's own"),
    ABSENT("truncate_prompt_tokens", "truncating a prompt (nothing is truncated silently)"),
    ABSENT("include_stop_str_in_output", "an answer that ends with its stop text"),
    ABSENT_UNLESS("skip_special_tokens", "true", "showing control tokens"),
    ABSENT("mirostat", "mirostat"),
    ABSENT("dry_multiplier", "DRY sampling"),
    ABSENT("xtc_probability", "XTC sampling"),
    ABSENT("dynatemp_range", "dynamic temperature"),
    ABSENT_BUT("top_n_sigma", "-1", "top-n-sigma sampling"),
    ABSENT_UNLESS("adaptive_target", "-1", "adaptive sampling"),
    ABSENT("min_keep", "a least number of candidates"),
    ABSENT("samplers", "another order of samplers"),
    ABSENT("use_beam_search", "beam search"),
    ABSENT_BUT("length_penalty", "1", "beam search"),
    ABSENT("n_indent", "a least indentation"),
    ABSENT("response_fields", "choosing fields of the answer"),
    ABSENT("timings_per_token", "timings in every chunk"),
    ABSENT("return_progress", "progress of the prompt"),
    ABSENT("verbose", "debugging output"),
    ABSENT_BUT("reasoning_format", "\"none\"", "taking reasoning out of an answer"),
    ABSENT_UNLESS("reasoning_budget_tokens", "-1", "a budget for reasoning"),
    ABSENT_UNLESS("thinking_budget_tokens", "-1", "a budget for reasoning"),
    ABSENT("lora", "adapters"),
    ABSENT("priority", "priorities"),
    ABSENT("kv_transfer_params", "KV of other servers"),

    /* ---- what changes nothing ---- */
    IDLE("user", "who shares KV is told by keys and cache_salt"),
    IDLE("safety_identifier", "nobody is reported"),
    IDLE("metadata", "it belongs to stored answers, and none is stored"),
    IDLE("service_tier", "there is one tier"),
    IDLE("prediction", "it could only make the same answer quicker"),
    IDLE("prompt_cache_key", "beginnings are found by what they hold"),
    IDLE("prompt_cache_options", "idle KV stays for as long as there is room"),
    IDLE("prompt_cache_retention", "idle KV stays for as long as there is room"),
    IDLE("parallel_tool_calls", WITH_TOOLS),
    IDLE("parse_tool_calls", WITH_TOOLS),
    IDLE("request_id", "the server names requests, in X-Request-Id"),
    IDLE("spaces_between_special_tokens", "control tokens are not shown"),
    IDLE("id_slot", "there are no slots: every request finds all KV"),
    IDLE("n_keep", "nothing is discarded: an answer ends where the context is full"),
    IDLE("n_discard", "nothing is discarded: an answer ends where the context is full"),
    IDLE("n_cache_reuse", "beginnings are reused token by token, and nothing is shifted"),
    IDLE("backend_sampling", "the answer would be the same"),
    IDLE("dry_base|dry_allowed_length|dry_penalty_last_n|dry_sequence_breakers",
         "they belong to dry_multiplier, which is refused"),
    IDLE("mirostat_tau|mirostat_eta", "they belong to mirostat, which is refused"),
    IDLE("xtc_threshold", "it belongs to xtc_probability, which is refused"),
    IDLE("dynatemp_exponent", "it belongs to dynatemp_range, which is refused"),
    IDLE("adaptive_decay", "it belongs to adaptive_target, which is refused"),
    IDLE("guided_decoding_backend", "it belongs to guided_json, which is refused"),
    IDLE("early_stopping", "it belongs to use_beam_search, which is refused"),
};

const size_t n_member = sizeof members / sizeof *members;

const struct member *member_of(const char *names, unsigned in)
{
    const struct member *found = NULL;
    for (size_t i = 0; i < n_member && !found; i++) {
        if ((members[i].in & in) && strcmp(members[i].names, names) == 0)
            found = &members[i];
    }
    assert(found);
    return found;
}

/* ---- what is not there yet ---- */

static bool is_off(const struct member *m, const json_t *v)
{
    json_t *off = m->off ? json_loads(m->off, JSON_DECODE_ANY, NULL) : NULL;
    const bool same =
        off && (json_equal(v, off) || (json_is_number(v) && json_is_number(off) &&
                                       json_number_value(v) == json_number_value(off)));
    json_decref(off);
    if (same)
        return true;
    return (!m->zero_asks &&
            (json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0))) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

void members_refuse(const json_t *object, unsigned in, struct api_error *error)
{
    for (size_t i = 0; i < n_member; i++) {
        const struct member *m = &members[i];
        if (m->type != MEMBER_ABSENT || !(m->in & in))
            continue;
        const json_t *v = json_object_get(object, m->names);
        if (v && !json_is_null(v) && !is_off(m, v))
            api_error_set(error, API_NOT_SUPPORTED, m->names,
                          "%s is not supported yet (%s); leave it out", m->names, m->help);
    }
}
