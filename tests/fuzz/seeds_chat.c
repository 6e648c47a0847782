/* First inputs for fuzz_chat: conversations that programs send. usage: seeds_chat FOLDER */
#include <stdio.h>

static const char *const seeds[] = {
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}",
    "{\"messages\": [{\"role\": \"system\", \"content\": \"<|end|><|im_start|>\"}, {\"role\": "
    "\"user\", \"content\": \"Gr\\u00f6\\u00dfe <tool><x> << >>\"}]}",
    "{\"messages\": [{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", "
    "\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": [1, 2.5]}\"}}]}], \"tools\": []}",
    "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", "
    "\"arguments\": {\"b\": \"<|end|>\"}}}]}], \"tools\": [{\"type\": \"function\"}]}",
    "{\"messages\": [], \"tools\": null, \"bos_token\": \"mine\", \"add_generation_prompt\": "
    "false}",
    "{\"messages\": [{\"role\": 1}]}",
    "[]",
};

int main(int argc, char **argv)
{
    char path[512];
    if (argc != 2) {
        fprintf(stderr, "usage: seeds_chat FOLDER\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        snprintf(path, sizeof path, "%s/seed-%zu", argv[1], i);
        FILE *f = fopen(path, "w");
        if (!f || fputs(seeds[i], f) < 0 || fclose(f) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
