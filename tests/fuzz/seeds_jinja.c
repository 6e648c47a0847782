/* First inputs for fuzz_jinja: the templates and cases of tests/data/jinja, each with a message.
 * usage: seeds_jinja FOLDER */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MESSAGE[] = "\x1e<|im_end|> Größe, 1 2";

static int save(const char *folder, const char *prefix, size_t i, const char *text, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s-%zu", folder, prefix, i);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, len, f) != len || fputs(MESSAGE, f) < 0) {
        perror(path);
        return 1;
    }
    return fclose(f);
}

static int save_cases(const char *folder)
{
    char *line = NULL;
    size_t room = 0, n = 0;
    int failed = 0;
    FILE *f = fopen("tests/data/jinja/cases.jsonl", "r");
    for (; f && !failed && getline(&line, &room, f) > 0; n++) {
        json_t *record = json_loads(line, JSON_ALLOW_NUL, NULL);
        json_t *source = json_object_get(record, "source");
        failed = save(folder, "case", n, json_string_value(source), json_string_length(source));
        json_decref(record);
    }
    free(line);
    if (f)
        fclose(f);
    return failed || n == 0;
}

static int save_templates(const char *folder)
{
    static const char from[] = "tests/data/jinja/templates";
    char path[512], text[32 * 1024];
    size_t n = 0;
    int failed = 0;
    DIR *dir = opendir(from);
    for (struct dirent *e; dir && !failed && (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        FILE *f = fopen(path, "r");
        size_t len = f ? fread(text, 1, sizeof text, f) : 0;
        failed = !f || fclose(f) || save(folder, "template", n++, text, len);
    }
    if (dir)
        closedir(dir);
    return failed || n == 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds_jinja FOLDER\n");
        return 2;
    }
    return save_cases(argv[1]) || save_templates(argv[1]);
}
