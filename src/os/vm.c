#include "os/vm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/pages.h"

#ifndef MADV_POPULATE_WRITE // Linux 5.14
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE // Linux 6.1
#define MADV_COLLAPSE 25
#endif

enum { RESERVED = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };
enum { ZERO_BYTES = 64 << 10, ZERO_PIECES = 64 };

static _Atomic uint64_t fail_first, fail_last, asked;
static _Atomic bool writes_spill; // a page written to a hole of a file backs more than that page

static bool refused(void)
{
    uint64_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    if (n < atomic_load_explicit(&fail_first, memory_order_relaxed) ||
        n > atomic_load_explicit(&fail_last, memory_order_relaxed))
        return false;
    errno = ENOMEM;
    return true;
}

void vm_fail_at(uint64_t k)
{
    vm_fail_run(k, 1);
}

void vm_fail_run(uint64_t k, uint64_t n)
{
    atomic_store(&fail_last, 0); // none, while the other two change
    atomic_store(&asked, 0);
    atomic_store(&fail_first, k);
    atomic_store(&fail_last, k ? k + n - 1 : 0);
}

uint64_t vm_fail_count(void)
{
    return atomic_load(&asked);
}

enum status vm_reserve(size_t bytes, char **out, struct note *why)
{
    // Asked for one huge page too many, then trimmed, so that it starts at a multiple of one.
    size_t asked_bytes;
    void *p = MAP_FAILED;
    if (__builtin_add_overflow(bytes, VM_HUGE_BYTES, &asked_bytes))
        errno = ENOMEM;
    else if (!refused())
        p = mmap(NULL, asked_bytes, PROT_NONE, RESERVED, -1, 0);
    if (p == MAP_FAILED) {
        note_set(why, "cannot reserve %zu MiB of addresses: %m; a smaller -c needs fewer",
                 bytes >> 20);
        return FULL;
    }
    uintptr_t from = (uintptr_t)p;
    uintptr_t at = (from + VM_HUGE_BYTES - 1) & -(uintptr_t)VM_HUGE_BYTES;
    if (at > from)
        munmap(p, at - from);
    if (from + asked_bytes > at + bytes)
        munmap((char *)at + bytes, from + asked_bytes - (at + bytes));
    *out = (char *)at;
    return OK;
}

void vm_unreserve(char *at, size_t bytes)
{
    if (at)
        munmap(at, bytes);
}

/* By writing zeros: half of what a fault for each page costs (0.6 against 1.1 ms a MiB), and no page table is
 * filled. */
static bool write_zeros(int fd, uint64_t offset, size_t bytes)
{
    static char zeros[ZERO_BYTES]; // only ever read
    while (bytes > 0) {
        struct iovec piece[ZERO_PIECES];
        int n = 0;
        for (size_t left = bytes; left > 0 && n < ZERO_PIECES; n++) {
            piece[n] = (struct iovec){ zeros, left < ZERO_BYTES ? left : ZERO_BYTES };
            left -= piece[n].iov_len;
        }
        const ssize_t done = pwritev(fd, piece, n, (off_t)offset);
        if (done <= 0)
            return false;
        offset += (uint64_t)done;
        bytes -= (size_t)done;
    }
    return true;
}

/* Whether the system makes huge pages of what is written to shared memory; asked of an empty file. */
static void learn_spill(int fd, uint64_t bytes)
{
    const size_t page = os_page_bytes();
    if (bytes < page || !write_zeros(fd, 0, page))
        return;
    atomic_store_explicit(&writes_spill, vm_file_backed(fd) > page, memory_order_relaxed);
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
}

enum status vm_file_open(const char *name, uint64_t bytes, int *fd, struct note *why)
{
    int f = refused() ? -1 : memfd_create(name, MFD_CLOEXEC);
    if (f < 0) {
        note_set(why, "cannot create the memory file '%s': %m", name);
        return FULL;
    }
    if (bytes > INT64_MAX || ftruncate(f, (off_t)bytes)) {
        note_set(why, "cannot make the memory file '%s' %llu bytes long: %m", name,
                 (unsigned long long)bytes);
        close(f);
        return FULL;
    }
    learn_spill(f, bytes);
    *fd = f;
    return OK;
}

void vm_file_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Whether nothing is mapped somewhere in the range: all that MS_ASYNC still does is to look. At
 * vm.max_map_count an mmap cannot tell, as it is refused before it looks. */
static bool has_hole(char *at, size_t bytes)
{
    return msync(at, bytes, MS_ASYNC) != 0 && errno == ENOMEM;
}

/* Linux before 6.12 unmaps the old pages first and may then, out of kernel memory, fail to map the
 * new ones: the hole must be reserved again before another thread's mmap finds it (VM1). */
static enum status mend_hole(char *at, size_t bytes)
{
    int refusal = errno;
    if (has_hole(at, bytes)) {
        void *p = mmap(at, bytes, PROT_NONE, RESERVED | MAP_FIXED_NOREPLACE, -1, 0);
        assert(p == at); // else VM1 is lost, and with it whatever comes to lie there
    }
    errno = refusal;
    return FULL;
}

enum status vm_map(char *at, size_t bytes, int fd, uint64_t offset, enum vm_access access,
                   bool populate)
{
    int prot = access == VM_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = MAP_SHARED | MAP_FIXED | (populate ? MAP_POPULATE : 0);
    if (refused())
        return FULL;
    if (mmap(at, bytes, prot, flags, fd, (off_t)offset) == MAP_FAILED)
        return mend_hole(at, bytes);
    return OK;
}

enum status vm_unmap(char *at, size_t bytes)
{
    if (refused())
        return FULL;
    if (mmap(at, bytes, PROT_NONE, RESERVED | MAP_FIXED, -1, 0) == MAP_FAILED)
        return mend_hole(at, bytes);
    return OK;
}

enum status vm_protect(char *at, size_t bytes, enum vm_access access)
{
    int prot = access == VM_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    return refused() || mprotect(at, bytes, prot) ? FULL : OK;
}

/* Where shared memory is huge for everybody, a write would back the neighbours too; a fault does not
 * (vm_forbid_huge). */
static bool fault_in(char *at, size_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_WRITE))
        return false; // no memory, or an old kernel
    vm_hide(at, bytes);
    return true;
}

enum status vm_back(char *at, size_t bytes, int fd, uint64_t offset)
{
    if (refused())
        return FULL;
    if (atomic_load_explicit(&writes_spill, memory_order_relaxed) && fault_in(at, bytes))
        return OK;
    if (write_zeros(fd, offset, bytes))
        return OK;
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
    return FULL;
}

enum status vm_punch(int fd, uint64_t offset, size_t bytes)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return refused() || fallocate(fd, mode, (off_t)offset, (off_t)bytes) ? FULL : OK;
}

uint64_t vm_file_backed(int fd)
{
    struct stat st;
    return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

void vm_show(char *at, size_t bytes)
{
    pages_fetch(at, bytes); // refused by old kernels: then the first access faults
}

void vm_hide(char *at, size_t bytes)
{
    madvise(at, bytes, MADV_DONTNEED);
}

void vm_forbid_huge(char *at, size_t bytes)
{
    madvise(at, bytes, MADV_NOHUGEPAGE); // refused where the kernel has none to forbid
}

enum status vm_collapse(char *at)
{
    return refused() || madvise(at, VM_HUGE_BYTES, MADV_COLLAPSE) ? FULL : OK;
}

uint32_t vm_count(void)
{
    uint32_t n = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    if (!f)
        return 0;
    for (int c; (c = getc_unlocked(f)) != EOF;)
        n += c == '\n';
    fclose(f);
    return n;
}

uint32_t vm_count_max(void)
{
    unsigned long n = 65530; // the kernel's default, should /proc be hidden
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (!f)
        return (uint32_t)n;
    if (fscanf(f, "%lu", &n) != 1 || n > UINT32_MAX)
        n = 65530;
    fclose(f);
    return (uint32_t)n;
}
