#include <stdio.h>

#include "bin/bench_kv_in.h"
#include "bin/samples.h"
#include "bin/show.h"
#include "os/vm.h"

enum { OP_BLOCKS = 24 };

enum op { BACK, COLLAPSE, MAP, MAP_AGAIN, MAP_READ, SEAL, UNMAP, UNMAP_BATCH, PUNCH, N_OP };

static const char *const op_names[N_OP] = {
    [BACK] = "give it memory (cleared)",
    [COLLAPSE] = "make huge pages of it",
    [MAP] = "map, populated, alone",
    [MAP_AGAIN] = "map, populated, behind its neighbour",
    [MAP_READ] = "map, then read every page",
    [SEAL] = "make it read-only",
    [UNMAP] = "unmap one",
    [UNMAP_BATCH] = "unmap in a batch",
    [PUNCH] = "take its memory away",
};

struct blocks {
    size_t block_bytes, bytes;
    uint32_t n;
    int fd;
    char *pool, *space;
};

static enum status blocks_open(struct blocks *a, size_t block_bytes, size_t bytes_max,
                               struct note *why)
{
    *a = (struct blocks){ .block_bytes = block_bytes, .fd = -1 };
    a->n = (uint32_t)(bytes_max / block_bytes < OP_BLOCKS ? bytes_max / block_bytes : OP_BLOCKS);
    a->bytes = (a->n * block_bytes + VM_HUGE_BYTES - 1) & -(size_t)VM_HUGE_BYTES;
    enum status st = vm_file_open("akvifer-bench", a->bytes, &a->fd, why);
    if (st == OK)
        st = vm_reserve(a->bytes, &a->pool, why);
    if (st == OK)
        st = vm_reserve(a->bytes, &a->space, why);
    if (st == OK && (st = vm_map(a->pool, a->bytes, a->fd, 0, VM_WRITE, false)) != OK)
        note_set(why, "cannot map %zu MiB", a->bytes >> 20);
    return st;
}

static void blocks_close(struct blocks *a)
{
    vm_unreserve(a->pool, a->bytes);
    vm_unreserve(a->space, a->bytes);
    vm_file_close(a->fd);
}

/* Maps block i of the file at place `to` of the space. */
static enum status map_block(const struct blocks *a, uint32_t i, uint32_t to)
{
    return vm_map(a->space + to * a->block_bytes, a->block_bytes, a->fd, i * a->block_bytes,
                  VM_WRITE, true);
}

/* As a fork does: mapped read-only, and then somebody reads. */
static enum status map_and_read(const struct blocks *a, uint32_t i)
{
    volatile char *at = a->space + i * a->block_bytes;
    enum status st = vm_map((char *)at, a->block_bytes, a->fd, i * a->block_bytes, VM_READ, false);
    for (size_t k = 0; st == OK && k < a->block_bytes; k += 4096)
        at[k];
    return st;
}

static enum status collapse_all(const struct blocks *a)
{
    for (size_t at = 0; at < a->bytes; at += VM_HUGE_BYTES)
        if (vm_collapse(a->pool + at) != OK)
            return FULL;
    return OK;
}

static enum status do_op(const struct blocks *a, enum op op, uint32_t i)
{
    size_t offset = i * a->block_bytes;
    switch (op) {
    case BACK: // the tail as well: a huge page wants all of its small ones
        return vm_back(a->pool + offset, i + 1 < a->n ? a->block_bytes : a->bytes - offset, a->fd,
                       offset);
    case COLLAPSE:
        return i ? OK : collapse_all(a);
    case MAP:
        return map_block(a, a->n - 1 - i, i);
    case MAP_AGAIN:
        return map_block(a, i, i);
    case MAP_READ:
        return map_and_read(a, i);
    case SEAL:
        return vm_protect(a->space + offset, a->block_bytes, VM_READ);
    case UNMAP:
        return vm_unmap(a->space + offset, a->block_bytes);
    case UNMAP_BATCH:
        return i ? OK : vm_unmap(a->space, a->n * a->block_bytes);
    default:
        return vm_punch(a->fd, offset, a->block_bytes);
    }
}

/* One round of all operations over all blocks; microseconds a block. FULL: one was refused, e.g.
 * huge pages. */
static enum status time_ops(const struct blocks *a, bool huge, struct samples us[N_OP])
{
    static const enum op order[] = {
        BACK, COLLAPSE, MAP, SEAL, UNMAP, MAP_AGAIN, UNMAP_BATCH, MAP_READ, UNMAP_BATCH, PUNCH,
    };
    for (uint32_t k = 0; k < sizeof order / sizeof *order; k++) {
        if (order[k] == COLLAPSE && !huge)
            continue;
        double start = clock_us();
        for (uint32_t i = 0; i < a->n; i++) {
            enum status st = do_op(a, order[k], i);
            if (st != OK)
                return st;
        }
        samples_add(&us[order[k]], (clock_us() - start) / a->n);
    }
    return OK;
}

static void print_op(enum op op, struct samples *small, struct samples *huge, size_t block_bytes)
{
    printf("  %-38s", op_names[op]);
    for (int h = 0; h < 2; h++) {
        struct samples *t = h ? huge : small;
        if (t->n == 0)
            printf("%12s %10s", "-", "");
        else
            printf("%9.1f us %5.1f GB/s", samples_median(t),
                   (double)block_bytes / samples_median(t) * 1e-3);
    }
    printf("\n");
}

/* All rounds of one kind of pages. */
static enum status time_rounds(const struct bench_kv_options *o, size_t block_bytes, bool huge,
                               struct samples us[N_OP], struct note *why)
{
    enum status st = OK;
    for (int64_t r = 0; r < o->n_rep && st == OK; r++) {
        struct blocks a;
        st = blocks_open(&a, block_bytes, o->kv_ram, why);
        if (st == OK)
            st = time_ops(&a, huge, us);
        blocks_close(&a);
    }
    return st;
}

enum status bench_kv_syscalls(const struct bench_kv_options *o, struct note *why)
{
    struct samples small[N_OP] = { 0 }, huge[N_OP] = { 0 };
    struct kv_shape shape = bench_kv_shape(o);
    size_t block_bytes = kv_block_bytes(&shape, 0);
    enum status st = time_rounds(o, block_bytes, false, small, why);
    if (st != OK)
        return st;
    bool granted = time_rounds(o, block_bytes, true, huge, NULL) == OK;
    printf("One block of %-27s      small pages             huge pages%s\n",
           show_bytes(block_bytes).text, granted ? "" : " (not granted)");
    for (int op = 0; op < N_OP; op++) {
        if (!granted)
            huge[op].n = 0;
        print_op(op, &small[op], &huge[op], block_bytes);
    }
    return OK;
}
