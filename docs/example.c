/* example.c - asks a model one question and prints the answer as it comes.
 *
 *     cc example.c $(pkg-config --cflags --libs akvifer) -o example
 *     ./example models/SmolLM2-135M-Instruct.Q4_1.gguf 'What is an aquifer?' */
#include <akvifer.h>
#include <stdio.h>
#include <string.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != AKV_OK) {                                                                    \
            fprintf(stderr, "%s\n", why.text);                                                     \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

int main(int argc, char **argv)
{
    struct akv_note why = { "" };
    akv_model *model = NULL;
    akv_engine *engine = NULL;
    char chat[4096];
    int32_t ids[4096];
    size_t n_id = sizeof ids / sizeof *ids;
    uint64_t id;
    int failed = 1;

    if (argc != 3 || strpbrk(argv[2], "\"\\")) { // a real program would escape them
        fprintf(stderr, "usage: %s MODEL.gguf QUESTION\n", argv[0]);
        return 2;
    }
    CHECK(akv_model_open(&model, &(struct akv_model_params){ .path = argv[1] }, &why));
    CHECK(akv_engine_new(&engine, model, &(struct akv_limits){ .n_ctx = 2048 }, &why));

    int len = snprintf(chat, sizeof chat,
                       "{\"messages\": [{\"role\": \"user\", \"content\": \"%.2000s\"}]}", argv[2]);
    CHECK(akv_render_chat(model, chat, (size_t)len, ids, &n_id, &why));

    struct akv_request request = { .ids = ids, .n_id = n_id, .n_predict = 128 };
    request.sampling = akv_sampling_default();
    CHECK(akv_submit(engine, &request, &id, &why));

    struct akv_event event;
    do {
        CHECK(akv_next_event(engine, &event, -1));
        fwrite(event.text, 1, event.text_len, stdout);
        fflush(stdout);
    } while (event.kind != AKV_EVENT_DONE);
    printf("\n[%u tokens]\n", event.usage.n_generated);
    failed = event.stop == AKV_STOP_ERROR;
done:
    akv_engine_free(engine);
    akv_model_close(model);
    return failed;
}
