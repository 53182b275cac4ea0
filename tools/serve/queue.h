/* The bounded queue between the connections, which fill it, and the one thread that computes. */
#ifndef ZVIT_SERVE_QUEUE_H
#define ZVIT_SERVE_QUEUE_H

#include "tools/serve/settings.h"

#include "eval/explain.h"
#include "vit/file.h"

typedef struct serve_job serve_job;

/* A picture of a request: what came, then what was found out. */
typedef struct serve_picture {
    serve_job *job;
    struct serve_picture *next; /* in the queue */
    char *name;                 /* as the client calls it, or NULL */
    vit_bytes bytes;

    vit_status status;
    char *error;          /* when status says so; NULL: memory ran out */
    float *probabilities; /* (K), vit_alloc'ed */
    double milliseconds;
    vit_heat_map heat; /* when asked for, of a picture of width x height pixels */
    size_t width, height;
    vit_bytes overlay; /* when asked for: a PNG file */
} serve_picture;

/* A request's pictures. Whoever makes it owns it again once done was called. */
struct serve_job {
    serve_query query;
    serve_picture *pictures; /* (count) */
    size_t count;
    size_t remaining;            /* pictures not yet computed; the computing thread's */
    int class_index;             /* of the heat map, or -1 */
    void (*done)(void *context); /* in the computing thread; what it points to may go away in it */
    void *context;
};
/* Releases the pictures and all they hold, not the job itself. */
void serve_job_clear(serve_job *job);

typedef struct serve_queue serve_queue;
vit_status serve_queue_create(size_t capacity, serve_queue **out);
void serve_queue_free(serve_queue *queue);

/* Places for count pictures, to be filled by a push; false when there are not so many, or when the
 * queue is closed. In two steps, so that what has to happen between the promise and the work can.
 */
bool serve_queue_reserve(serve_queue *queue, size_t count);
/* The job's pictures, for which places were reserved. */
void serve_queue_push(serve_queue *queue, serve_job *job);
/* Waits for a picture, then at most wait_ms longer for `most` of them. Returns how many were taken,
 * in order; 0: closed, and nothing is left. */
size_t serve_queue_take(serve_queue *queue, size_t most, double wait_ms, serve_picture **out);
/* No more reservations; what is in it can still be taken. */
void serve_queue_close(serve_queue *queue);
size_t serve_queue_depth(serve_queue *queue);

#endif
