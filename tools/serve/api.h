/* JSON that the server answers with; docs/serve.md describes it. All texts are malloc'ed. */
#ifndef ZVIT_SERVE_API_H
#define ZVIT_SERVE_API_H

#include "tools/serve/queue.h"

#include "vit/model_file.h"

/* {"error": message}; NULL: memory ran out. */
char *serve_error_json(const char *message);

/* The answer to a job that is done. *code: 200 when one picture at least was classified; else by
 * the first one's error: 400 when the method does not suit the model, 413 for too many pixels, 422
 * for what is no picture, 500 or 503. */
vit_status serve_answer_json(const vit_model_bundle *bundle, const serve_job *job, unsigned *code,
                             char **out);

/* What the model is and what requests are bounded by. */
typedef struct serve_limits {
    size_t body_bytes, pictures;
    uint64_t pixels;
    double seconds;
} serve_limits;
vit_status serve_model_json(const vit_model_bundle *bundle, const serve_limits *limits, char **out);

/* The class of that name or number; an error names the nearest one. */
vit_status serve_find_class(const vit_model_bundle *bundle, const char *name, int *out);

#endif
