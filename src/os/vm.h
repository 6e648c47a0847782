/* os/vm.h - addresses, and the memory behind them: every call on virtual memory worth naming.
 *
 *   reservation    |   PROT_NONE   | file @ 3 (rw) | file @ 9 (ro) |    PROT_NONE    |   is free
 *                                          |               |
 *   file (memfd)   | hole | 1 | hole |     3     |  ...  | 9 | hole |    has the pages it was given
 *
 * VM1  A reservation never has a hole: vm_map and vm_unmap replace what is there in one call, so no
 *      other mmap of the process can come to lie between.
 * VM2  Nothing here faults by surprise: a page of a file is touched only after vm_back said that it
 *      exists.
 *
 * Addresses, sizes and offsets are multiples of os_page_bytes(). FULL: the system refused (memory,
 * or the number of mappings), errno says why; nothing changed. Tests make the k-th call fail with vm_fail_at().
 *
 * Threads  any. Cost (4 KiB pages, EPYC): about 80 us a MiB to map populated, the same to unmap,
 *          600 us to back. */
#ifndef OS_VM_H
#define OS_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

enum vm_access { VM_READ, VM_WRITE }; // VM_WRITE reads too

enum { VM_HUGE_BYTES = 2 << 20 }; // a huge page of x86-64; reservations start at a multiple of it

/* Addresses that nothing else will use and nothing may touch yet; neither memory nor swap is
 * charged. */
must_use enum status vm_reserve(size_t bytes, char **out, struct note *why);
void vm_unreserve(char *at, size_t bytes); // with all that is mapped there

/* A file without a name, `bytes` long, all hole; `name` shows in /proc/self/maps. Close it with
 * vm_file_close. */
must_use enum status vm_file_open(const char *name, uint64_t bytes, int *fd, struct note *why);
void vm_file_close(int fd);

/* Maps a part of a file into a reservation, over whatever is there; with `populate` the page tables
 * are filled at once, so that nobody faults later. The part must be backed before it is populated
 * or touched. */
must_use enum status vm_map(char *at, size_t bytes, int fd, uint64_t offset, enum vm_access access,
                            bool populate);
must_use enum status vm_unmap(char *at, size_t bytes); // back to PROT_NONE, still reserved
must_use enum status vm_protect(char *at, size_t bytes, enum vm_access access);

/* Gives a hole of the file memory, zeroed; `at` is its writable mapping. FULL leaves the hole. The page tables there
 * stay empty: what is mapped twice counts twice in the resident memory of a process. */
must_use enum status vm_back(char *at, size_t bytes, int fd, uint64_t offset);
must_use enum status vm_punch(int fd, uint64_t offset, size_t bytes); // takes the memory away again
uint64_t vm_file_backed(int fd); // bytes of the file that have memory

/* Fills the page tables of a mapping whose pages exist, so that nobody faults there; and empties
 * them again. */
void vm_show(char *at, size_t bytes);
void vm_hide(char *at, size_t bytes);

/* Small pages only, also where the system would choose huge ones: then a hole stays a hole until it
 * is backed. */
void vm_forbid_huge(char *at, size_t bytes);

/* Asks for one huge page in place of the small ones at a multiple of VM_HUGE_BYTES, all of them
 * backed. FULL: not granted (a kernel before 6.1, or no memory that contiguous). */
must_use enum status vm_collapse(char *at);

uint32_t vm_count(void);     // mappings of this process now (reads /proc/self/maps)
uint32_t vm_count_max(void); // vm.max_map_count: the process may not have more

/* Tests only: the k-th call that can fail does (1 is the next), or n from the k-th on; 0 switches it
 * off. vm_fail_count() tells how many were made since. */
void vm_fail_at(uint64_t k);
void vm_fail_run(uint64_t k, uint64_t n);
uint64_t vm_fail_count(void);

#endif
