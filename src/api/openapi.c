#include "api/openapi.h"

#include <string.h>

#include "api/member.h"

/* ---- the shapes of answers ---- */

/* Members by name and type: "integer", "number", "string", "boolean", "object", "any"; "[T]" an array; "Name" another
 * shape; "T?" also null; a name with '?' may be absent. */
static const struct shape {
    const char *name, *members;
} shapes[] = {
    { "Error", "error:ErrorBody" },
    { "ErrorBody", "message:string type:string param:string? code:string? n_prompt_tokens?:integer "
                   "n_ctx?:integer" },
    { "Health", "status:string" },
    { "Version", "version:string" },
    { "Models", "object:string data:[Model]" },
    { "Model", "id:string object:string created:integer owned_by:string max_model_len:integer "
               "meta:object" },
    { "Slots", NULL }, // an array of Slot
    { "Slot", "id:integer n_ctx:integer is_processing:boolean" },
    { "Props", "default_generation_settings:object total_slots:integer model_alias:string "
               "chat_template:string bos_token:string eos_token:string "
               "model_path:string kernels:string kv_bytes_cap:integer kv_bytes_per_token:integer "
               "build_info:string" },
    { "Tokens", "tokens:[any] token_strs?:[string] count:integer max_model_len:integer" },
    { "Content", "content:string prompt:string" },
    { "Rendered", "prompt:string" },
    { "Explained", "prompt_tokens:integer cached_tokens:integer reason:string at:integer "
                   "cached_public:boolean evicted?:Evicted key:CacheKey prompt_text?:string "
                   "cached_text?:string" },
    { "CacheKey", "model:string adapter:any kv_type:string tenant:string cache_salt:string? "
                  "public_tokens:integer" },
    { "Evicted", "why:string from:string steps_ago:integer seconds_ago:number" },
    { "Usage", "prompt_tokens:integer completion_tokens:integer total_tokens:integer "
               "prompt_tokens_details:CachedTokens completion_tokens_details:object" },
    { "CachedTokens", "cached_tokens:integer" },
    { "Cache", "cached_tokens:integer cached_public:boolean cache_miss:string "
               "cache_miss_at:integer evicted?:Evicted kv?:object" },
    { "Chat", "id:string object:string created:integer model:string system_fingerprint:string "
              "choices:[ChatChoice] usage:Usage akvifer:Cache" },
    { "ChatChoice",
      "index:integer message:ChatMessage logprobs:object? finish_reason:string stop_reason:any "
      "token_ids?:[integer]" },
    { "ChatMessage", "role:string content:string refusal:string?" },
    { "Text", "id:string object:string created:integer model:string system_fingerprint:string "
              "choices:[TextChoice] usage:Usage akvifer:Cache" },
    { "TextChoice",
      "index:integer text:string logprobs:TextLogprobs? finish_reason:string stop_reason:any "
      "token_ids?:[integer]" },
    { "TextLogprobs", "tokens:[string] token_logprobs:[number?] top_logprobs:[object?] "
                      "text_offset:[integer]" },
    { "Completion", NULL }, // one CompletionOne, or an array of them
    { "CompletionOne",
      "index:integer content:string tokens:[integer] stop:boolean id_slot:integer model:string "
      "tokens_predicted:integer tokens_evaluated:integer tokens_cached:integer truncated:boolean "
      "stop_type:string stopping_word:string timings:object completion_probabilities?:[object] "
      "akvifer:Cache" },
};

/* "integer", "[string?]", "Usage" as a schema. */
static void add_type(struct buf *out, const char *type, size_t len)
{
    const bool null = type[len - 1] == '?';
    len -= null;
    if (type[0] == '[') {
        buf_add_text(out, "{\"type\":\"array\",\"items\":");
        add_type(out, type + 1, len - 2);
        buf_add_byte(out, '}');
    } else if (type[0] >= 'A' && type[0] <= 'Z') {
        buf_addf(out, "%s{\"$ref\":\"#/components/schemas/%.*s\"}%s", null ? "{\"anyOf\":[" : "",
                 (int)len, type, null ? ",{\"type\":\"null\"}]}" : "");
    } else if (strncmp(type, "any", 3) == 0) {
        buf_add_text(out, "{}");
    } else {
        buf_addf(out, "{\"type\":%s\"%.*s\"%s}", null ? "[" : "", (int)len, type,
                 null ? ",\"null\"]" : "");
    }
}

static void add_shape(struct buf *out, const struct shape *s)
{
    struct buf required = { 0 };
    buf_add_text(out, "{\"type\":\"object\",\"properties\":{");
    for (const char *at = s->members; *at;) {
        const size_t n = strcspn(at, ":"), all = strcspn(at, " ");
        const bool may_lack = at[n - 1] == '?';
        const char *comma = at == s->members ? "" : ",";
        buf_addf(out, "%s\"%.*s\":", comma, (int)(n - may_lack), at);
        add_type(out, at + n + 1, all - n - 1);
        if (!may_lack)
            buf_addf(&required, "%s\"%.*s\"", required.len ? "," : "", (int)n, at);
        at += all + (at[all] == ' ');
    }
    buf_addf(out, "},\"required\":[%s]}", buf_text(&required));
    buf_close(&required);
}

static void add_shapes(struct buf *out)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        buf_addf(out, "%s\"%s\":", i ? "," : "", shapes[i].name);
        if (shapes[i].members)
            add_shape(out, &shapes[i]);
        else if (strcmp(shapes[i].name, "Slots") == 0)
            add_type(out, "[Slot]", 6);
        else
            buf_add_text(out, "{\"anyOf\":[{\"$ref\":\"#/components/schemas/CompletionOne\"},{"
                              "\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/"
                              "CompletionOne\"}}]}");
    }
}

/* ---- the members of requests ---- */

static const struct {
    unsigned in;
    const char *name;
} requests[] = {
    { IN_CHAT, "ChatRequest" },         { IN_TEXT, "TextRequest" },
    { IN_LLAMA, "CompletionRequest" },  { IN_STREAM_OPTIONS, "StreamOptions" },
    { IN_TOKENIZE, "TokenizeRequest" }, { IN_DETOKENIZE, "DetokenizeRequest" },
    { IN_TEMPLATE, "TemplateRequest" }, { IN_CHAT | IN_LLAMA, "ExplainRequest" },
};

/* The row's schema with its holes filled, but for the last brace. */
static void add_other(struct buf *out, const char *schema, const struct api *a)
{
    size_t left = strlen(schema) - 1;
    while (left) {
        const bool vocab = strncmp(schema, "{n_vocab}", 9) == 0;
        const bool name = strncmp(schema, "{model}", 7) == 0;
        const size_t n = vocab ? 9 : name ? 7 : 1;
        if (vocab)
            buf_addf(out, "%u", a->info.n_vocab - 1);
        else if (name)
            buf_add_json_text(out, a->name, strlen(a->name));
        else
            buf_add_byte(out, *schema);
        schema += n;
        left -= n;
    }
}

static void add_bounds(struct buf *out, const struct member *m)
{
    if (m->least < m->most)
        buf_addf(out, ",\"minimum\":%.15g,\"maximum\":%.15g", m->least, m->most);
    else if (m->type == MEMBER_INT)
        buf_addf(out, ",\"minimum\":%lld,\"maximum\":%lld", (long long)INT64_MIN,
                 (long long)INT64_MAX);
}

/* An open object: the description and a brace follow. */
static void add_constraint(struct buf *out, const struct member *m, const struct api *a)
{
    static const char *const types[] = { [MEMBER_NUMBER] = "number",
                                         [MEMBER_INT] = "integer",
                                         [MEMBER_BOOL] = "boolean",
                                         [MEMBER_TEXT] = "string" };
    if (m->type == MEMBER_OTHER) {
        add_other(out, m->schema, a);
        buf_add_byte(out, ',');
    } else if (m->type == MEMBER_ABSENT) {
        buf_addf(out, "{\"enum\":[null,\"\",[]%s%s%s],", m->zero_asks ? "" : ",false,0",
                 m->off ? "," : "", m->off ? m->off : "");
    } else if (m->type == MEMBER_IDLE) {
        buf_add_byte(out, '{');
    } else {
        buf_addf(out, "{\"type\":[\"%s\",\"null\"]", types[m->type]);
        add_bounds(out, m);
        buf_add_byte(out, ',');
    }
}

static void add_sentence(struct buf *out, const struct member *m)
{
    struct buf text = { 0 };
    if (m->type == MEMBER_ABSENT)
        buf_addf(&text, "Not supported yet (501): %s.", m->help);
    else if (m->type == MEMBER_IDLE)
        buf_addf(&text, "Changes nothing here: %s.", m->help);
    else
        buf_add_text(&text, m->help);
    buf_add_text(out, "\"description\":");
    buf_add_json_text(out, buf_text(&text), text.len);
    buf_add_byte(out, '}');
    buf_close(&text);
}

/* Whether an earlier row of the same object has the name. */
static bool is_known(const struct member *m, unsigned in, const char *name, size_t len)
{
    for (const struct member *other = members; other < m; other++) {
        const char *at = other->in & in ? strstr(other->names, name) : NULL;
        if (at && (at[len] == '\0' || at[len] == '|') && (at == other->names || at[-1] == '|'))
            return true;
    }
    return false;
}

static void add_member(struct buf *out, const struct member *m, unsigned in, const struct api *a,
                       const char **comma)
{
    for (const char *at = m->names, *end; *at; at = *end ? end + 1 : end) {
        char name[64] = "";
        end = strchrnul(at, '|');
        memcpy(name, at, (size_t)(end - at));
        if (is_known(m, in, name, (size_t)(end - at)))
            continue;
        buf_addf(out, "%s\"%s\":", *comma, name);
        add_constraint(out, m, a);
        add_sentence(out, m);
        *comma = ",";
    }
}

static void add_request(struct buf *out, const char *name, unsigned in, const struct api *a)
{
    struct buf needed = { 0 };
    const char *comma = "";
    const bool one_of = (in & (in - 1)) != 0; /* of two objects: one of what they need */
    buf_addf(out, "\"%s\":{\"type\":\"object\",\"properties\":{", name);
    for (const struct member *m = members; m < members + n_member; m++) {
        if (!(m->in & in))
            continue;
        add_member(out, m, in, a, &comma);
        if (m->needed)
            buf_addf(&needed, one_of ? "%s{\"required\":[\"%s\"]}" : "%s\"%s\"",
                     needed.len ? "," : "", m->names);
    }
    if (in == IN_TOKENIZE)
        buf_add_text(out, "},\"anyOf\":[{\"required\":[\"content\"]},{\"required\":[\"prompt\"]},{"
                          "\"required\":[\"messages\"]}]}");
    else
        buf_addf(out, one_of ? "},\"anyOf\":[%s]}" : "},\"required\":[%s]}", buf_text(&needed));
    buf_close(&needed);
}

/* ---- paths ---- */

static void add_error_answer(struct buf *out, const char *status, const char *words)
{
    buf_addf(out,
             ",\"%s\":{\"description\":\"%s\",\"content\":{\"application/json\":{\"schema\":{"
             "\"$ref\":\"#/components/schemas/Error\"}}}}",
             status, words);
}

static void add_content(struct buf *out, const struct route_about *about)
{
    if (strchr(about->gives, '/')) {
        buf_addf(out, "\"content\":{\"%s\":{}}", about->gives);
        return;
    }
    buf_addf(out,
             "\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
             "\"#/components/schemas/%s\"}}%s}",
             about->gives, about->traits & ROUTE_STREAMS ? ",\"text/event-stream\":{}" : "");
}

static void add_answers(struct buf *out, const struct route_about *about, bool keys)
{
    buf_add_text(out, "\"responses\":{");
    if (about->traits & ROUTE_ABSENT) {
        buf_add_text(out, "\"501\":{\"description\":\"not supported yet\",\"content\":{"
                          "\"application/json\":{\"schema\":{\"$ref\":"
                          "\"#/components/schemas/Error\"}}}}");
    } else {
        buf_add_text(out, "\"200\":{\"description\":\"the answer\",");
        add_content(out, about);
        buf_add_byte(out, '}');
    }
    if (about->traits & ROUTE_STOPS) {
        buf_add_text(out, ",\"503\":{\"description\":\"the server stops\",");
        add_content(out, about);
        buf_add_byte(out, '}');
    }
    if (keys && !(about->traits & ROUTE_OPEN))
        add_error_answer(out, "401", "the key is missing or wrong");
    add_error_answer(out, "default", "anything else: an error in OpenAI's form");
    buf_add_byte(out, '}');
}

static const char *request_name(unsigned in)
{
    const char *name = NULL;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        name = requests[i].in == in ? requests[i].name : name;
    return name;
}

static void add_operation(struct buf *out, const struct http_route *r, bool keys)
{
    static const char *const verbs[][2] = { { "GET", "get" },
                                            { "POST", "post" },
                                            { "PUT", "put" },
                                            { "DELETE", "delete" },
                                            { "OPTIONS", "options" } };
    const struct route_about *about = r->about;
    const char *verb = "get";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        verb = strcmp(verbs[i][0], r->method) == 0 ? verbs[i][1] : verb;
    buf_addf(out, "\"%s\":{\"summary\":", verb);
    buf_add_json_text(out, about->summary, strlen(about->summary));
    const char *name = strchr(r->path, '{');
    if (name)
        buf_addf(out,
                 ",\"parameters\":[{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,"
                 "\"schema\":{\"type\":\"string\",\"minLength\":1}}]",
                 (int)strcspn(name + 1, "*}"), name + 1);
    if (about->takes)
        buf_addf(out,
                 ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{"
                 "\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}}",
                 request_name(about->takes));
    buf_addf(out, ",\"security\":[%s],",
             keys && !(about->traits & ROUTE_OPEN) ? "{\"key\":[]}" : "");
    add_answers(out, about, keys);
    buf_add_byte(out, '}');
}

/* The path as OpenAPI writes it: {model*} is {model}. */
static void add_path(struct buf *out, const char *path)
{
    buf_add_byte(out, '"');
    for (; *path; path++) {
        if (*path != '*')
            buf_add_byte(out, *path);
    }
    buf_add_text(out, "\":{");
}

/* Rows of one path make one member, with a method each. */
static void add_paths(struct buf *out, const struct http_route *route, uint32_t n, bool keys)
{
    const char *comma = "";
    for (uint32_t i = 0; i < n; i++) {
        bool known = false;
        for (uint32_t j = 0; j < i; j++)
            known |= strcmp(route[j].path, route[i].path) == 0;
        if (known)
            continue;
        buf_add_text(out, comma);
        add_path(out, route[i].path);
        comma = "";
        for (uint32_t j = i; j < n; j++) {
            if (strcmp(route[j].path, route[i].path) != 0)
                continue;
            buf_add_text(out, comma);
            add_operation(out, &route[j], keys);
            comma = ",";
        }
        buf_add_byte(out, '}');
        comma = ",";
    }
}

void openapi_text(const struct api *a, const struct http_route *route, uint32_t n_route,
                  struct buf *out)
{
    const bool keys = a->n_tenant > 0;
    buf_addf(out,
             "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Akvifer\",\"version\":\"%s\","
             "\"description\":\"OpenAI's and llama-server's dialects over one model. Members that "
             "are not named are ignored; null is the same as absent.\"},\"paths\":{",
             akv_version());
    add_paths(out, route, n_route, keys);
    buf_add_text(out, "},\"components\":{");
    if (keys)
        buf_add_text(out, "\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":"
                          "\"bearer\"}},");
    buf_add_text(out, "\"schemas\":{");
    add_shapes(out);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        buf_add_byte(out, ',');
        add_request(out, requests[i].name, requests[i].in, a);
    }
    buf_add_text(out, "}}}");
}
