/* What a client sends to zvit serve, as the HTTP library hands it on: query, headers, the parts of
 * a form in pieces of any size. The input is a list of calls: a byte says which, two say how long
 * its text is. */
#include "tests/fuzz/fuzz.h"

#include "tools/serve/api.h"
#include "tools/serve/guard.h"
#include "tools/serve/request.h"
#include "vit/arena.h"

#include <stdlib.h>
#include <string.h>

typedef struct script {
    const uint8_t *at;
    size_t left;
} script;

static uint8_t next_byte(script *s) {
    if (s->left == 0) {
        return 0;
    }
    s->left--;
    return *s->at++;
}

/* The next text, zero-terminated, in memory of its own so that its end is guarded. */
static char *next_text(script *s, size_t *size) {
    size_t wanted = next_byte(s);
    wanted |= (size_t)next_byte(s) << 8;
    *size = wanted < s->left ? wanted : s->left;
    char *text = malloc(*size + 1);
    fuzz_expect(text != NULL, "there is memory");
    memcpy(text, s->at, *size);
    text[*size] = 0;
    s->at += *size;
    s->left -= *size;
    return text;
}

/* Host, Origin and Sec-Fetch-Site. */
static void check_guard(const char *name, const char *value, uint8_t what) {
    bool named = serve_host_allowed(name, "", "machine");
    fuzz_expect(!named || serve_host_allowed(name, value, "machine"),
                "a list allows no less than none");
    fuzz_expect(serve_host_allowed(name, "*", NULL) || !named, "* allows every host");
    serve_origin_allowed(what & 8 ? name : NULL, what & 16 ? value : NULL, what & 32 ? name : NULL,
                         what & 64 ? "a.example, b.example" : "");
}

/* What is answered is JSON, whatever the pictures were called. */
static void expect_answer(const vit_model_bundle *bundle, serve_job *job) {
    static float probabilities[] = {0.25f, 0.75f};
    char *text = NULL;
    unsigned code;
    for (size_t i = 0; i < job->count; i++) {
        serve_picture *picture = &job->pictures[i];
        picture->status = i % 2 ? VIT_ERROR_FORMAT : VIT_OK;
        picture->probabilities = probabilities;
    }
    vit_status status = serve_answer_json(bundle, job, &code, &text);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        vit_json *root = NULL;
        fuzz_expect(vit_json_parse(text, strlen(text), "answer", &root) == VIT_OK,
                    "an answer is JSON");
        vit_json_free(root);
    }
    free(text);
    for (size_t i = 0; i < job->count; i++) {
        job->pictures[i].probabilities = NULL;
    }
}

static void call(script *s, serve_request *request) {
    uint8_t what = next_byte(s);
    size_t name_size, value_size, file_size;
    char *name = next_text(s, &name_size), *value = next_text(s, &value_size);
    switch (what % 8) {
    case 0:
        serve_request_parameter(request, name, name_size, value, value_size);
        break;
    case 1:
        serve_request_type(request, what & 8 ? name : NULL, what & 16 ? value : NULL);
        break;
    case 2:
        serve_request_announce(request, (unsigned long long)name_size << (what / 8 % 32));
        break;
    case 3:
        serve_request_raw(request);
        serve_request_append(request, value, value_size);
        serve_request_count(request, value_size);
        break;
    case 4:
        serve_request_part(request, name, NULL, value, what & 64, value_size);
        serve_request_count(request, value_size);
        break;
    case 6:
        check_guard(name, value, what);
        break;
    default: {
        char *file = next_text(s, &file_size);
        serve_request_part(request, name, file, value, what & 64, value_size);
        serve_request_count(request, value_size);
        free(file);
    }
    }
    fuzz_expect(serve_request_patience(request) <= SIZE_MAX / 2, "patience has an end");
    free(name);
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char first[] = "cat", second[] = "dog";
    static char *names[] = {first, second};
    vit_model_bundle bundle = {.class_names = names};
    bundle.model.config.num_classes = 2;
    bundle.model.head_shape.classes = 2;
    serve_settings settings;
    vit_option_group group = serve_group(&settings);
    vit_options_defaults(&group);
    settings.max_body = 1;
    settings.queue = 4;
    serve_budget budget = {.limit = 3 * SERVE_MIB / 2};
    script s = {data, size};
    serve_request request;
    serve_request_init(&request, &settings, &budget);
    while (s.left > 0) {
        call(&s, &request);
        fuzz_expect(budget.held <= budget.limit, "requests hold no more than they may");
    }
    serve_request_end(&request, &bundle);
    fuzz_expect(request.code == 0 || (request.code >= 400 && request.code < 600 && *request.error),
                "a refusal has a code and a reason");
    fuzz_expect(request.code != 0 || request.job.count > 0, "an accepted request has a picture");
    if (request.code == 0) {
        expect_answer(&bundle, &request.job);
    }
    serve_request_clear(&request);
    fuzz_expect(budget.held == 0, "the budget is given back");
    return 0;
}
