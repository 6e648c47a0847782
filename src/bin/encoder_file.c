#include "bin/encoder_file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "bin/safetensors.h"
#include "gguf/gguf.h"
#include "os/file.h"

/* all-MiniLM-L6-v2, as its config.json has it. */
enum {
    N_LAYER = 6,
    N_EMBD = 384,
    N_HEAD = 12,
    N_FF = 1536,
    N_CTX = 512,
    N_KIND = 2,
    N_VOCAB = 30522,
    N_TENSOR = 5 + 16 * N_LAYER,
    ALIGNMENT = 32,
};

struct tensor {
    char name[48];
    uint32_t n_row, n; // n_row 0: a vector
    const void *data;
};

struct making {
    struct file_map map;
    struct safetensors from;
    struct tensor tensor[N_TENSOR];
    uint32_t n_tensor, n_pair;
    struct buf pairs, head;
    struct note *why;
    enum status st;
};

/* ---- tensors ---- */

static void take(struct making *m, const char *to, const char *from, uint32_t n_row, uint32_t n)
{
    struct tensor *t = &m->tensor[m->n_tensor];
    if (m->st != OK)
        return;
    *t = (struct tensor){ .n_row = n_row, .n = n };
    snprintf(t->name, sizeof t->name, "%s", to);
    m->st = safetensors_find(&m->from, from, n_row, n, &t->data, m->why);
    m->n_tensor++;
}

/* A matrix or, with n_row 0, a norm; and its bias. */
static void take_pair(struct making *m, const char *to, const char *from, uint32_t n_row,
                      uint32_t n)
{
    char ours[64], theirs[96];
    snprintf(ours, sizeof ours, "%s.weight", to);
    snprintf(theirs, sizeof theirs, "%s.weight", from);
    take(m, ours, theirs, n_row, n);
    snprintf(ours, sizeof ours, "%s.bias", to);
    snprintf(theirs, sizeof theirs, "%s.bias", from);
    take(m, ours, theirs, 0, n_row ? n_row : n);
}

static void take_layer(struct making *m, uint32_t i)
{
    static const struct {
        const char *to, *from;
        uint32_t n_row, n;
    } part[] = {
        { "attn_q", "attention.self.query", N_EMBD, N_EMBD },
        { "attn_k", "attention.self.key", N_EMBD, N_EMBD },
        { "attn_v", "attention.self.value", N_EMBD, N_EMBD },
        { "attn_output", "attention.output.dense", N_EMBD, N_EMBD },
        { "attn_output_norm", "attention.output.LayerNorm", 0, N_EMBD },
        { "ffn_up", "intermediate.dense", N_FF, N_EMBD },
        { "ffn_down", "output.dense", N_EMBD, N_FF },
        { "layer_output_norm", "output.LayerNorm", 0, N_EMBD },
    };
    for (size_t p = 0; p < sizeof part / sizeof *part; p++) {
        char to[48], from[72];
        snprintf(to, sizeof to, "blk.%u.%s", i, part[p].to);
        snprintf(from, sizeof from, "encoder.layer.%u.%s", i, part[p].from);
        take_pair(m, to, from, part[p].n_row, part[p].n);
    }
}

static void take_all(struct making *m)
{
    take(m, "token_embd.weight", "embeddings.word_embeddings.weight", N_VOCAB, N_EMBD);
    take(m, "position_embd.weight", "embeddings.position_embeddings.weight", N_CTX, N_EMBD);
    take(m, "token_types.weight", "embeddings.token_type_embeddings.weight", N_KIND, N_EMBD);
    take_pair(m, "token_embd_norm", "embeddings.LayerNorm", 0, N_EMBD);
    for (uint32_t i = 0; i < N_LAYER; i++)
        take_layer(m, i);
}

/* ---- pairs ---- */

static void put_u32(struct buf *b, uint32_t x)
{
    buf_add(b, &x, sizeof x);
}

static void put_u64(struct buf *b, uint64_t x)
{
    buf_add(b, &x, sizeof x);
}

static void put_text(struct buf *b, const char *text, size_t len)
{
    put_u64(b, len);
    buf_add(b, text, len);
}

static void put_key(struct making *m, const char *key, enum gguf_type type)
{
    put_text(&m->pairs, key, strlen(key));
    put_u32(&m->pairs, type);
    m->n_pair++;
}

static void add_text(struct making *m, const char *key, const char *text)
{
    put_key(m, key, GGUF_STRING);
    put_text(&m->pairs, text, strlen(text));
}

static void add_u32(struct making *m, const char *key, uint32_t x)
{
    put_key(m, key, GGUF_U32);
    put_u32(&m->pairs, x);
}

static void add_numbers(struct making *m)
{
    const float eps = 1e-12f;
    add_text(m, "general.architecture", "bert");
    add_text(m, "general.name", "all-MiniLM-L6-v2");
    add_text(m, "general.license", "apache-2.0");
    add_u32(m, "general.file_type", 0);
    add_u32(m, "bert.block_count", N_LAYER);
    add_u32(m, "bert.context_length", N_CTX);
    add_u32(m, "bert.embedding_length", N_EMBD);
    add_u32(m, "bert.feed_forward_length", N_FF);
    add_u32(m, "bert.attention.head_count", N_HEAD);
    put_key(m, "bert.attention.layer_norm_epsilon", GGUF_F32);
    buf_add(&m->pairs, &eps, sizeof eps);
    put_key(m, "bert.attention.causal", GGUF_BOOL);
    buf_add_byte(&m->pairs, 0);
    add_u32(m, "bert.pooling_type", 1); /* the mean */
}

/* ---- the vocabulary ---- */

/* The next line, without its end. */
static struct gguf_text next_line(struct gguf_text *rest)
{
    const char *end = memchr(rest->bytes, '\n', rest->len);
    const struct gguf_text line = { rest->bytes, end ? (size_t)(end - rest->bytes) : rest->len };
    const size_t used = line.len + (end != NULL);
    *rest = (struct gguf_text){ rest->bytes + used, rest->len - used };
    return line;
}

static bool is_control(struct gguf_text t)
{
    return t.len > 2 && t.bytes[0] == '[' && t.bytes[t.len - 1] == ']';
}

/* As text/wordpiece.h spells it. */
static void put_spelling(struct buf *b, struct gguf_text t)
{
    static const char begins[] = "\xe2\x96\x81";
    const bool goes_on = t.len > 2 && memcmp(t.bytes, "##", 2) == 0;
    const size_t n = is_control(t) || goes_on ? 0 : sizeof begins - 1, skip = goes_on ? 2 : 0;
    put_u64(b, n + t.len - skip);
    buf_add(b, begins, n);
    buf_add(b, t.bytes + skip, t.len - skip);
}

static void add_tokens(struct making *m)
{
    enum { NORMAL = 1, CONTROL = 3 };
    struct gguf_text rest = { (const char *)m->map.bytes, MINILM_VOCAB_BYTES };
    struct buf types = { 0 };
    uint32_t n = 0;
    add_text(m, "tokenizer.ggml.model", "bert");
    put_key(m, "tokenizer.ggml.tokens", GGUF_ARRAY);
    put_u32(&m->pairs, GGUF_STRING);
    put_u64(&m->pairs, N_VOCAB);
    for (; rest.len > 0; n++) {
        const struct gguf_text line = next_line(&rest);
        put_spelling(&m->pairs, line);
        put_u32(&types, is_control(line) ? CONTROL : NORMAL);
    }
    put_key(m, "tokenizer.ggml.token_type", GGUF_ARRAY);
    put_u32(&m->pairs, GGUF_I32);
    put_u64(&m->pairs, N_VOCAB);
    buf_add(&m->pairs, types.bytes, types.len);
    add_u32(m, "tokenizer.ggml.token_type_count", N_KIND);
    add_u32(m, "tokenizer.ggml.padding_token_id", 0);
    add_u32(m, "tokenizer.ggml.unknown_token_id", 100);
    add_u32(m, "tokenizer.ggml.cls_token_id", 101);
    add_u32(m, "tokenizer.ggml.seperator_token_id", 102); /* so spelled by who reads it */
    add_u32(m, "tokenizer.ggml.mask_token_id", 103);
    if (m->st == OK && n != N_VOCAB) {
        note_set(m->why, "the vocabulary has %u lines; it must have %d", n, N_VOCAB);
        m->st = BAD_INPUT;
    }
    m->pairs.failed |= types.failed;
    buf_close(&types);
}

/* ---- the file ---- */

static uint64_t bytes_of(const struct tensor *t)
{
    return (uint64_t)(t->n_row ? t->n_row : 1) * t->n * sizeof(float);
}

static void put_head(struct making *m)
{
    struct buf *b = &m->head;
    uint64_t offset = 0;
    buf_add_text(b, "GGUF");
    put_u32(b, 3);
    put_u64(b, m->n_tensor);
    put_u64(b, m->n_pair);
    buf_add(b, m->pairs.bytes, m->pairs.len);
    for (uint32_t i = 0; i < m->n_tensor; i++) {
        const struct tensor *t = &m->tensor[i];
        put_text(b, t->name, strlen(t->name));
        put_u32(b, t->n_row ? 2 : 1);
        put_u64(b, t->n);
        if (t->n_row)
            put_u64(b, t->n_row);
        put_u32(b, DT_F32);
        put_u64(b, offset);
        offset += bytes_of(t);
        assert(offset % ALIGNMENT == 0); /* of these shapes all are */
    }
    while (b->len % ALIGNMENT)
        buf_add_byte(b, 0);
}

static enum status write_all(const struct making *m, const char *to)
{
    const int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        note_set(m->why, "cannot write '%s': %m", to);
        return IO_ERROR;
    }
    enum status st = file_write(fd, m->head.bytes, m->head.len, to, m->why);
    for (uint32_t i = 0; i < m->n_tensor && st == OK; i++)
        st = file_write(fd, m->tensor[i].data, bytes_of(&m->tensor[i]), to, m->why);
    close(fd);
    return st;
}

static enum status open_parts(struct making *m, const char *parts)
{
    enum status st = file_map(&m->map, parts, m->why);
    if (st != OK)
        return st;
    if (m->map.len < MINILM_VOCAB_BYTES) {
        note_set(m->why, "'%s' has %zu bytes; the vocabulary alone has %d", parts, m->map.len,
                 MINILM_VOCAB_BYTES);
        return BAD_INPUT;
    }
    st = file_fetch(&m->map, 0, m->map.len, m->why);
    if (st != OK)
        return st;
    return safetensors_open(&m->from, m->map.bytes + MINILM_VOCAB_BYTES,
                            m->map.len - MINILM_VOCAB_BYTES, m->why);
}

enum status encoder_file_minilm(const char *parts, const char *to, struct note *why)
{
    struct making m = { .why = why };
    m.st = open_parts(&m, parts);
    if (m.st == OK) {
        take_all(&m);
        add_numbers(&m);
        add_tokens(&m);
    }
    if (m.st == OK)
        put_head(&m);
    if (m.st == OK && (m.pairs.failed || m.head.failed)) {
        note_set(why, "no memory to make '%s'", to);
        m.st = FULL;
    }
    if (m.st == OK)
        m.st = write_all(&m, to);
    buf_close(&m.pairs);
    buf_close(&m.head);
    safetensors_close(&m.from);
    file_unmap(&m.map);
    return m.st;
}
