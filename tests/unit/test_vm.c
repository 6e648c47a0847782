/* vm: reservations without holes, files with holes, accesses that the MMU enforces, and refusals on
 * request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/pages.h"
#include "os/vm.h"
#include "support/fault_catch.h"
#include "support/sanitized.h"

enum { N_PAGE = 16 };

struct file {
    int fd;
    char *own; // its own writable mapping
    size_t page, bytes;
};

static struct file file_new(void)
{
    struct file f = { .page = os_page_bytes() };
    f.bytes = N_PAGE * f.page;
    assert_int_equal(vm_file_open("vm-test", f.bytes, &f.fd, NULL), OK);
    assert_int_equal(vm_reserve(f.bytes, &f.own, NULL), OK);
    assert_int_equal(vm_map(f.own, f.bytes, f.fd, 0, VM_WRITE, false), OK);
    return f;
}

static void file_free(struct file *f)
{
    vm_unreserve(f->own, f->bytes);
    vm_file_close(f->fd);
}

static void reservation_faults_and_costs_nothing(void **state)
{
    (void)state;
    char *at;
    size_t bytes = (size_t)1 << (SANITIZED ? 36 : 40); // a sanitizer leaves few addresses
    assert_int_equal(vm_reserve(bytes, &at, NULL), OK);
    assert_int_equal((uintptr_t)at % VM_HUGE_BYTES, 0);
    assert_true(read_faults(at));
    assert_true(write_faults(at + bytes - 1));
    vm_unreserve(at, bytes);
}

static void too_large_a_reservation_is_refused(void **state)
{
    (void)state;
    char *at;
    struct note why = { "" };
    assert_int_equal(vm_reserve((size_t)1 << 50, &at, &why), FULL);
    assert_non_null(strstr(why.text, "1073741824 MiB"));
    assert_int_equal(vm_reserve(SIZE_MAX - 4096, &at, &why), FULL);
}

static void holes_get_memory_and_give_it_back(void **state)
{
    (void)state;
    struct file f = file_new();
    assert_int_equal(vm_file_backed(f.fd), 0);
    assert_int_equal(vm_back(f.own + 4 * f.page, 3 * f.page, f.fd, 4 * f.page), OK);
    assert_int_equal(vm_file_backed(f.fd), 3 * f.page);
    f.own[5 * f.page] = 'x';
    assert_int_equal(vm_punch(f.fd, 5 * f.page, f.page), OK);
    assert_int_equal(vm_file_backed(f.fd), 2 * f.page);
    assert_int_equal(vm_back(f.own + 5 * f.page, f.page, f.fd, 5 * f.page), OK);
    assert_int_equal(f.own[5 * f.page], 0); // what was there is gone
    file_free(&f);
}

static void one_part_of_a_file_at_two_addresses(void **state)
{
    (void)state;
    struct file f = file_new();
    char *at;
    assert_int_equal(vm_back(f.own, f.bytes, f.fd, 0), OK);
    assert_int_equal(vm_reserve(f.bytes, &at, NULL), OK);
    assert_int_equal(vm_map(at + f.page, f.page, f.fd, 7 * f.page, VM_WRITE, true), OK);
    assert_int_equal(vm_map(at + 3 * f.page, f.page, f.fd, 7 * f.page, VM_READ, true), OK);
    strcpy(at + f.page, "seen everywhere");
    assert_string_equal(at + 3 * f.page, "seen everywhere");
    assert_string_equal(f.own + 7 * f.page, "seen everywhere");
    assert_false(read_faults(at + 3 * f.page));
    assert_true(write_faults(at + 3 * f.page));
    assert_true(read_faults(at));
    assert_true(read_faults(at + 2 * f.page));

    assert_int_equal(vm_protect(at + f.page, f.page, VM_READ), OK);
    assert_true(write_faults(at + f.page));
    assert_int_equal(vm_unmap(at + f.page, f.page), OK);
    assert_true(read_faults(at + f.page));
    assert_string_equal(f.own + 7 * f.page, "seen everywhere");
    vm_unreserve(at, f.bytes);
    file_free(&f);
}

static void neighbours_in_the_file_make_one_mapping(void **state)
{
    (void)state;
    struct file f = file_new();
    char *at;
    assert_int_equal(vm_back(f.own, f.bytes, f.fd, 0), OK);
    assert_int_equal(vm_reserve(f.bytes, &at, NULL), OK);
    uint32_t before = vm_count();
    for (size_t i = 1; i < N_PAGE - 1; i++)
        assert_int_equal(vm_map(at + i * f.page, f.page, f.fd, i * f.page, VM_WRITE, true), OK);
    uint32_t merged = vm_count();
    for (size_t i = 1; i < N_PAGE - 1; i++)
        assert_int_equal(
            vm_map(at + i * f.page, f.page, f.fd, (N_PAGE - i) * f.page, VM_WRITE, true), OK);
    uint32_t scattered = vm_count();
    assert_int_equal(vm_unmap(at, f.bytes), OK);
    assert_true(merged <= before + 2);
    assert_true(scattered >= before + N_PAGE - 2);
    assert_true(vm_count() <= before);
    vm_unreserve(at, f.bytes);
    file_free(&f);
}

static void counts_and_limits(void **state)
{
    (void)state;
    assert_true(vm_count() > 5);
    assert_true(vm_count_max() > vm_count());
}

static void a_huge_page_holds_what_the_small_ones_held(void **state)
{
    (void)state;
    int fd;
    char *at;
    assert_int_equal(vm_file_open("vm-huge", VM_HUGE_BYTES, &fd, NULL), OK);
    assert_int_equal(vm_reserve(VM_HUGE_BYTES, &at, NULL), OK);
    assert_int_equal(vm_map(at, VM_HUGE_BYTES, fd, 0, VM_WRITE, false), OK);
    assert_int_equal(vm_back(at, VM_HUGE_BYTES, fd, 0), OK);
    for (uint32_t i = 0; i < VM_HUGE_BYTES; i += 4096)
        memcpy(at + i, &i, sizeof i);
    enum status st = vm_collapse(at); // granted or not: nothing may change
    assert_true(st == OK || st == FULL);
    for (uint32_t i = 0; i < VM_HUGE_BYTES; i += 4096)
        assert_memory_equal(at + i, &i, sizeof i);
    assert_int_equal(vm_file_backed(fd), VM_HUGE_BYTES);
    vm_unreserve(at, VM_HUGE_BYTES);
    vm_file_close(fd);
}

/* Every call that can fail, failing: nothing changes. */
static void refusals_change_nothing(void **state)
{
    (void)state;
    struct file f = file_new();
    struct note why = { "" };
    char *at;
    int fd;
    assert_int_equal(vm_back(f.own, f.page, f.fd, 0), OK);
    strcpy(f.own, "still here");
    vm_fail_at(1);
    assert_int_equal(vm_reserve(f.page, &at, &why), FULL);
    assert_non_null(strstr(why.text, "Cannot allocate memory"));
    vm_fail_at(1);
    assert_int_equal(vm_file_open("vm-test", f.page, &fd, &why), FULL);
    vm_fail_at(1);
    assert_int_equal(vm_back(f.own + f.page, f.page, f.fd, f.page), FULL);
    assert_int_equal(vm_file_backed(f.fd), f.page);
    vm_fail_at(1);
    assert_int_equal(vm_punch(f.fd, 0, f.page), FULL);
    vm_fail_at(1);
    assert_int_equal(vm_map(f.own, f.page, f.fd, f.page, VM_READ, true), FULL);
    vm_fail_at(1);
    assert_int_equal(vm_unmap(f.own, f.page), FULL);
    vm_fail_at(1);
    assert_int_equal(vm_protect(f.own, f.page, VM_READ), FULL);
    assert_false(write_faults(f.own));
    assert_string_equal(f.own, "still here");

    vm_fail_at(2);
    assert_int_equal(vm_protect(f.own, f.page, VM_READ), OK);
    assert_int_equal(vm_protect(f.own, f.page, VM_WRITE), FULL);
    assert_int_equal(vm_protect(f.own, f.page, VM_WRITE), OK);
    assert_int_equal(vm_fail_count(), 3);
    vm_fail_at(0);
    file_free(&f);
}

/* In a child, whose mappings are its own: 0 when both calls answered FULL and changed nothing. */
static int calls_without_a_mapping_left(const struct file *f, char *at)
{
    int prot = PROT_NONE;
    for (uint32_t left = vm_count_max() + 1; left > 0; left--, prot ^= PROT_READ) // none merge
        if (mmap(NULL, f->page, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
    errno = 0;
    if (vm_map(at, f->page, f->fd, 0, VM_WRITE, false) != FULL || errno != ENOMEM)
        return 1;
    if (vm_unmap(at + f->page, f->page) != FULL || errno != ENOMEM)
        return 2;
    return strcmp(at + f->page, "still here") ? 3 : 0;
}

static void the_last_mapping_is_a_refusal(void **state)
{
    (void)state;
    int status;
    char *at;
    if (vm_count_max() > 1u << 18)
        skip(); // a machine that grants millions
    struct file f = file_new();
    assert_int_equal(vm_back(f.own, f.bytes, f.fd, 0), OK);
    assert_int_equal(vm_reserve(f.bytes, &at, NULL), OK);
    assert_int_equal(vm_map(at + f.page, f.page, f.fd, f.page, VM_WRITE, false), OK);
    strcpy(at + f.page, "still here");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(calls_without_a_mapping_left(&f, at));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    vm_unreserve(at, f.bytes);
    file_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reservation_faults_and_costs_nothing),
        cmocka_unit_test(too_large_a_reservation_is_refused),
        cmocka_unit_test(holes_get_memory_and_give_it_back),
        cmocka_unit_test(one_part_of_a_file_at_two_addresses),
        cmocka_unit_test(neighbours_in_the_file_make_one_mapping),
        cmocka_unit_test(counts_and_limits),
        cmocka_unit_test(a_huge_page_holds_what_the_small_ones_held),
        cmocka_unit_test(refusals_change_nothing),
        cmocka_unit_test(the_last_mapping_is_a_refusal),
    };
    return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
