/* First inputs for fuzz_json: lines that the verbs read, and what a reader may get wrong. usage:
 * seeds_json FOLDER */
#include <stdio.h>
#include <string.h>

static const char *const seeds[] = {
    "{\"text\": \"Hello, \\u00e9\\ud83d\\ude00\\u0000\\n\"}",
    "{\"ids\": [504, 3575, 282, 4649, 314]}",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}",
    "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}]}",
    "[0, -0, 1e3, -1.5E-7, 9223372036854775807, 9223372036854775808, 1e400, 2.5]",
    "[true, false, null, \"\", {}, []]",
    "{\"a\": 1, \"a\": 2}",
    "{\"\\u0000\": 1}",
    "\"\\ud800 \\udc00 \\u0085\\u2028\x7f\"",
    "\"\xc3\xa9\xed\xa0\x80\xff\"",
    "[\n\n1 2]",
    "{\"a\"\n:\n",
    "\xef\xbb\xbf[]",
    "01",
    "+1",
    ".5",
    "nul",
    "",
};

static int save(const char *folder, size_t i, const char *text, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/seed-%zu", folder, i);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, len, f) != len) {
        perror(path);
        return 1;
    }
    return fclose(f);
}

/* Deeper than the reader goes. */
static int save_deep(const char *folder, size_t i)
{
    char text[2 * 2100];
    memset(text, '[', sizeof text / 2);
    memset(text + sizeof text / 2, ']', sizeof text / 2);
    return save(folder, i, text, sizeof text);
}

int main(int argc, char **argv)
{
    const size_t n = sizeof seeds / sizeof *seeds;
    int failed = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: seeds_json FOLDER\n");
        return 2;
    }
    for (size_t i = 0; i < n && !failed; i++)
        failed = save(argv[1], i, seeds[i], strlen(seeds[i]));
    return failed || save_deep(argv[1], n);
}
