/* base/embed.h - files that are part of the program: the bytes between two symbols.
 *
 *     EMBED(page_index_html, "src/page/index.html");
 *     page_index_html .. page_index_html_end
 *
 * Paths are from the repository's root, where make runs the compiler; the Makefile says which object depends on
 * them. */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#define EMBED(symbol, path)                                                                        \
    __asm__(".section .rodata\n" #symbol ":\n.incbin \"" path "\"\n" #symbol                       \
            "_end:\n.previous\n");                                                                 \
    extern const char symbol[], symbol##_end[]

#endif
