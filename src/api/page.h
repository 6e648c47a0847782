/* api/page.h - the page at /: files of src/page/, which are part of the program.
 *
 * It asks this server only: a policy forbids it everything else. It needs no key itself; what it asks for does.
 * Threads  any.  Cost  no file is read. */
#ifndef API_PAGE_H
#define API_PAGE_H

#include "http/request.h"

/* GET / and /page/{file}: the file, or 404. */
void page_get(struct http_request *http);

#endif
