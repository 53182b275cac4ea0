#include "tools/serve/queue.h"

#include "vit/arena.h"
#include "vit/clock.h"

#include <pthread.h>
#include <stdlib.h>

struct serve_queue {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    size_t capacity, reserved /* not yet pushed */, count;
    serve_picture *first, **end;
    bool closed;
};

void serve_job_clear(serve_job *job) {
    for (size_t i = 0; i < job->count; i++) {
        serve_picture *picture = &job->pictures[i];
        free(picture->name);
        free(picture->error);
        vit_bytes_free(&picture->bytes);
        vit_free(picture->probabilities);
        vit_heat_map_free(&picture->heat);
        vit_bytes_free(&picture->overlay);
    }
    free(job->pictures);
    job->pictures = NULL;
    job->count = 0;
}

vit_status serve_queue_create(size_t capacity, serve_queue **out) {
    vit_status status = vit_alloc((void **)out, 1, sizeof **out, "queue");
    if (status != VIT_OK) {
        return status;
    }
    (*out)->capacity = capacity;
    (*out)->end = &(*out)->first;
    pthread_mutex_init(&(*out)->lock, NULL);
    pthread_cond_init(&(*out)->arrived, NULL);
    return VIT_OK;
}

void serve_queue_free(serve_queue *queue) {
    if (queue) {
        pthread_cond_destroy(&queue->arrived);
        pthread_mutex_destroy(&queue->lock);
        vit_free(queue);
    }
}

bool serve_queue_reserve(serve_queue *queue, size_t count) {
    pthread_mutex_lock(&queue->lock);
    bool room = !queue->closed && count <= queue->capacity - queue->count - queue->reserved;
    queue->reserved += room ? count : 0;
    pthread_mutex_unlock(&queue->lock);
    return room;
}

void serve_queue_push(serve_queue *queue, serve_job *job) {
    pthread_mutex_lock(&queue->lock);
    job->remaining = job->count;
    for (size_t i = 0; i < job->count; i++) {
        job->pictures[i].job = job;
        job->pictures[i].next = NULL;
        *queue->end = &job->pictures[i];
        queue->end = &job->pictures[i].next;
    }
    queue->reserved -= job->count;
    queue->count += job->count;
    pthread_cond_signal(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
}

size_t serve_queue_take(serve_queue *queue, size_t most, double wait_ms, serve_picture **out) {
    pthread_mutex_lock(&queue->lock);
    /* A reservation is a promise: its picture is about to come, also after closing. */
    while (queue->count == 0 && (!queue->closed || queue->reserved > 0)) {
        pthread_cond_wait(&queue->arrived, &queue->lock);
    }
    if (queue->count > 0 && queue->count < most && wait_ms > 0) {
        const struct timespec until = vit_seconds_from_now(1e-3 * wait_ms);
        int late = 0;
        while (queue->count < most && !queue->closed && late == 0) {
            late = pthread_cond_clockwait(&queue->arrived, &queue->lock, CLOCK_MONOTONIC, &until);
        }
    }
    size_t taken = 0;
    for (; taken < most && queue->first; taken++) {
        out[taken] = queue->first;
        queue->first = queue->first->next;
    }
    queue->end = queue->first ? queue->end : &queue->first;
    queue->count -= taken;
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

void serve_queue_close(serve_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
}

size_t serve_queue_depth(serve_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
