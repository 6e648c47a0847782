#!/bin/bash
# What `make tidy` refuses: other format, a header that does not compile alone, an upward, sideways or
# circular include, memory taken outside base/ and os/, code tied to the building machine.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

check() { # what command...
    local what=$1
    shift
    if "$@"; then
        echo "ok      $what"
    else
        echo "REFUSED $what"
        status=1
    fi
}

files() { git ls-files -co --exclude-standard "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

format() { # names each file once; `make format` puts it right
    ! files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror 2>&1 | sed -n 's/^\([^: ]*\):[0-9].*error.*/\1/p' |
        sort -u | grep .
}

# The flags of one header's folder, as in the Makefile.
isa_of() {
    case $1 in
    */avx512/*) echo -march=x86-64-v4 -mavx512vnni ;;
    */amx/*) echo -march=x86-64-v4 -mavx512vnni -mamx-tile -mamx-int8 ;;
    */avx2/*) echo -march=x86-64-v3 ;;
    *) echo -march=x86-64-v2 ;;
    esac
}

headers_alone() {
    local header bad=0
    for header in $(files 'src/*.h' 'include/*.h' 'tests/*.h'); do
        printf '#include "%s"\n' "${header#*/}" |
            gcc -std=gnu17 -O2 -fsyntax-only -Wall -Wextra -Werror -D_GNU_SOURCE $(isa_of "$header") \
                -Isrc -Iinclude -Itests -x c - || bad=1
    done
    return $bad
}

second_compiler() {
    local source bad=0
    for source in $(files 'src/*.c' 'tests/*.c'); do
        grep -q '#pragma GCC target' $source $(sed -n 's|^#include "\(support/.*\)"|tests/\1|p' "$source") && continue
        clang -std=gnu17 -fsyntax-only -ferror-limit=3 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -D_GNU_SOURCE \
            -DAKV_VERSION='""' -DAKV_COMMIT='""' -DAKV_COMMITS=0 $(isa_of "$source") -Isrc -Iinclude -Itests "$source" || bad=1
    done
    return $bad
}

memory() {
    ! files 'src/*.c' 'src/*.h' | grep -v -E '^src/(base|os)/' |
        xargs -r grep -nE '\<(malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf|posix_memalign|aligned_alloc|getline) ?\(' |
        grep -v -E ':[0-9]+: *(//|/?\*)'
}

portable() {
    ! files Makefile 'tools/*' '*.c' '*.h' '.ci/*' | grep -v '^tools/tidy.sh$' | xargs -r grep -n -e '-m\(arch\|tune\)=native'
}

check "format" format
check "every header compiles alone" headers_alone
check "no warning from clang" second_compiler
check "memory is taken in base/ and os/ only" memory
check "nothing is tied to the building machine" portable
check "include graph" python3 tools/include_graph.py
exit $status
