/* The one thread that computes. It alone opens parallel regions, so there is one team of OpenMP
 * threads however many clients there are. */
#ifndef ZVIT_SERVE_ENGINE_H
#define ZVIT_SERVE_ENGINE_H

#include "tools/serve/metrics.h"
#include "tools/serve/queue.h"

#include "data/data_options.h"
#include "vit/model_file.h"

typedef struct serve_engine serve_engine;
/* threads: to compute with. All that is given outlives the engine. Returns when it is ready. */
vit_status serve_engine_start(const vit_model_bundle *bundle, const serve_settings *settings,
                              const vit_data_options *reading, int threads, serve_metrics *metrics,
                              serve_engine **out);
serve_queue *serve_engine_queue(serve_engine *engine);
/* Computes what is in the queue, answers it, and ends. From then on the queue takes nothing. NULL
 * is fine, also below. */
void serve_engine_stop(serve_engine *engine);
void serve_engine_free(serve_engine *engine);

#endif
