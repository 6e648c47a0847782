#include "api/page.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/embed.h"

EMBED(page_index_html, "src/page/index.html");
EMBED(page_page_css, "src/page/page.css");
EMBED(page_page_js, "src/page/page.js");
EMBED(page_chat_js, "src/page/chat.js");
EMBED(page_server_js, "src/page/server.js");
EMBED(page_map_js, "src/page/map.js");
EMBED(page_charts_js, "src/page/charts.js");
EMBED(page_lists_js, "src/page/lists.js");
EMBED(page_rows_js, "src/page/rows.js");
EMBED(page_icon_svg, "src/page/icon.svg");

static const struct file {
    const char *name, *type, *bytes, *end;
} files[] = {
    { "", "text/html; charset=utf-8", page_index_html, page_index_html_end },
    { "page.css", "text/css; charset=utf-8", page_page_css, page_page_css_end },
    { "page.js", "text/javascript; charset=utf-8", page_page_js, page_page_js_end },
    { "chat.js", "text/javascript; charset=utf-8", page_chat_js, page_chat_js_end },
    { "server.js", "text/javascript; charset=utf-8", page_server_js, page_server_js_end },
    { "map.js", "text/javascript; charset=utf-8", page_map_js, page_map_js_end },
    { "charts.js", "text/javascript; charset=utf-8", page_charts_js, page_charts_js_end },
    { "lists.js", "text/javascript; charset=utf-8", page_lists_js, page_lists_js_end },
    { "rows.js", "text/javascript; charset=utf-8", page_rows_js, page_rows_js_end },
    { "icon.svg", "image/svg+xml", page_icon_svg, page_icon_svg_end },
};

static void answer(struct http_request *http, const struct file *file)
{
    char tag[20];
    const size_t len = (size_t)(file->end - file->bytes);
    snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)XXH3_64bits(file->bytes, len));
    const struct http_field fields[] = {
        { "ETag", tag },
        { "Cache-Control", "no-cache" }, /* asked again each time, and answered 304 */
        { "Content-Security-Policy",
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
    };
    const uint32_t n = sizeof fields / sizeof *fields;
    const char *had = http_header(http, "If-None-Match");
    if (had && strcmp(had, tag) == 0)
        http_answer(http, 304, NULL, NULL, 0, fields, n);
    else
        http_answer(http, 200, file->type, file->bytes, len, fields, n);
}

void page_get(struct http_request *http)
{
    const char *name = http_name(http);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(files[i].name, name) == 0) {
            answer(http, &files[i]);
            return;
        }
    }
    http_refuse(http, 404, NULL, 0, "the page has no file %.200s", name);
}
