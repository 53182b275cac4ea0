#include "train/cluster_plan.h"

#include "train/comm_collectives.h"
#include "train/run.h"

#include <math.h>

/* Operations of a training step by those of its forward pass: the backward pass has each product
 * twice, and with --checkpoint-activations the forward pass comes again. */
#define STEP_WORK 3.0
#define BACKWARD_SHARE (2.0 / 3)
#define AGAIN (4.0 / 3)

/* Bytes a second that the optimiser's loops move through memory, and that ranks of one machine
 * exchange. Of any machine; measured values go before them. */
#define MEMORY_SPEED 10e9
#define LOCAL_SPEED 4e9

/* Meetings of the ranks in a batch that wait for the slowest message: what the slots found, which
 * pictures failed, whether to go on. */
#define MEETINGS 3

static vit_status check_number(const char *name, double value, bool above_zero) {
    if (!isfinite(value) || value < 0 || (above_zero && value == 0)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s %g (expected %s)", name, value,
                        above_zero ? "more than 0" : "at least 0");
    }
    return VIT_OK;
}

static vit_status check_ranks(const vit_cluster_request *r, size_t slots) {
    if (r->nodes < 1 || r->node_ranks < 1 || r->cores < 1 || r->cores % r->node_ranks) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%d nodes of %d cores for %d ranks each (expected cores that the "
                        "ranks share evenly)",
                        r->nodes, r->cores, r->node_ranks);
    }
    size_t ranks = (size_t)r->nodes * (size_t)r->node_ranks;
    if (ranks & (ranks - 1) || ranks > slots) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%d nodes with %d ranks each for %zu slots of a batch (expected a "
                        "power of two of ranks, at most the slots; a larger --batch-size has more "
                        "slots)",
                        r->nodes, r->node_ranks, slots);
    }
    return VIT_OK;
}

static vit_status check(const vit_cluster_request *r, size_t slots) {
    vit_status status = VIT_OK;
    int batch = r->recipe->batch_size;
    VIT_TRY(check_ranks(r, slots));
    VIT_TRY(check_number("--gflops", r->gflops, true));
    VIT_TRY(check_number("--bandwidth", r->bandwidth, true));
    VIT_TRY(check_number("--latency", r->latency, false));
    VIT_TRY(check_number("seconds to copy a byte", r->copy_seconds, false));
    VIT_TRY(check_number("seconds to decode", r->decode_seconds, false));
    VIT_TRY(check_number("bytes of a picture", r->image_bytes, false));
    VIT_TRY(check_number("update seconds", r->update_seconds, false));
    if (batch < 1 || (size_t)batch > r->images) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "batches of %d of %zu pictures (expected 1 up to all of them)", batch,
                         r->images));
    }
cleanup:
    return status;
}

static double rank_threads(const vit_cluster_request *r) {
    return (double)r->cores / r->node_ranks;
}

static double slot_seconds(const vit_cluster_request *r, const vit_cluster_plan *p) {
    const vit_recipe *recipe = r->recipe;
    double work = (double)recipe->batch_size / (double)p->slots * p->work;
    return work * (recipe->checkpoint_activations ? AGAIN : 1) * r->cores / (1e9 * r->gflops);
}

/* A thread takes a slot at a time, so a rank is done after as many rounds as it has slots for each
 * thread. Parts of the gradient become complete in the backward pass of a slot's last chunk. */
static void plan_rounds(const vit_cluster_request *r, size_t chunk, vit_cluster_plan *p) {
    double threads = rank_threads(r), rank_slots = (double)p->slots / (double)p->ranks;
    p->rounds = (size_t)ceil(rank_slots / threads);
    p->busy = rank_slots / (threads * (double)p->rounds);
    double slot_pictures = (double)r->recipe->batch_size / (double)p->slots;
    double last_chunk = slot_pictures / ceil(slot_pictures / (double)chunk);
    p->window = BACKWARD_SHARE * last_chunk * p->work * r->cores / (1e9 * r->gflops);
}

/* The halving and doubling of train/comm.h: of 4 P bytes a rank sends and receives, at the level
 * that joins groups of half to groups of twice `half` ranks, 2 * 4 P / (2 half). Levels within a
 * machine go through its memory. What a machine's ranks send at the others together is
 * 2 * 4 P (1 - 1 / nodes), however many they are. One thread of each rank moves and adds all of it,
 * so that a fast link waits for that thread. */
static void plan_exchange(const vit_cluster_request *r, vit_cluster_plan *p) {
    double bytes = 4.0 * (double)r->model->params.total, levels = log2((double)r->nodes);
    double across = 2 * bytes * (1 - 1.0 / r->nodes);
    double within = 2 * bytes * (1 - 1.0 / r->node_ranks);
    double pieces = (double)p->parts *
                    ceil((double)r->model->params.total / (double)p->parts / (double)VIT_SUM_PIECE);
    double copying = across / r->node_ranks * r->copy_seconds;
    p->exchange = fmax(across * 8 / (1e9 * r->bandwidth), copying) + within / LOCAL_SPEED +
                  pieces * 2 * levels * r->latency;
    p->exchange_cpu = copying + within / LOCAL_SPEED;
    p->step_bytes = across * r->recipe->grad_accum_steps;
    /* Parts are complete at even times of the window, the last at its end, and go one by one. */
    double part = p->exchange / (double)p->parts;
    p->exposed =
        p->ranks == 1 ? 0 : fmax(part, p->exchange - (p->window - p->window / (double)p->parts));
    p->hidden = p->exchange > 0 ? 1 - p->exposed / p->exchange : 1;
}

/* Seconds of a batch, of which each rank has an equal part. Threads that have no slot in the last
 * round decode pictures of the next batch, and their cores are free for the exchange; what is left
 * of both takes its time from all threads. What is exchanged after the last slot delays nobody. */
static void plan_computing(const vit_cluster_request *r, vit_cluster_plan *p) {
    const vit_recipe *recipe = r->recipe;
    const vit_mix_options mix = vit_recipe_slots(recipe, (size_t)recipe->batch_size).mix;
    double threads = rank_threads(r), seconds = (double)p->rounds * slot_seconds(r, p);
    double pictures =
        recipe->batch_size / (double)p->ranks * (p->ranks > 1 && vit_mix_is_wanted(&mix) ? 2 : 1);
    double beside = pictures * r->decode_seconds + p->exchange_cpu * p->hidden;
    double idle = (1 - p->busy) * seconds * threads;
    p->compute = seconds + fmax(0, beside - idle) / threads;
    p->read_bytes_per_second = pictures * r->node_ranks * r->image_bytes; /* a batch, until now */
}

/* What an update reads and writes: weights, gradient, moments, and the average of the weights; the
 * norm reads the gradient once more. */
static double update_seconds(const vit_cluster_request *r) {
    const vit_recipe *recipe = r->recipe;
    int moments = vit_optimizer_has_moment2(recipe->opt) ? 2 : 1;
    double passes = 2 + 2 + 2 * moments + (recipe->model_ema ? 2 : 0);
    return r->update_seconds > 0 ? r->update_seconds
                                 : passes * 4 * (double)r->model->params.total / MEMORY_SPEED;
}

static void plan_step(const vit_cluster_request *r, vit_cluster_plan *p) {
    double meetings = r->nodes > 1 ? MEETINGS * r->latency : 0;
    p->update = update_seconds(r);
    p->step = r->recipe->grad_accum_steps * (p->compute + p->exposed + meetings) + p->update;
}

static void plan_training(const vit_cluster_request *r, vit_cluster_plan *p) {
    const vit_recipe *recipe = r->recipe;
    double cores = (double)r->nodes * r->cores;
    double batches = floor((double)r->images / recipe->batch_size);
    double epoch_steps = ceil(batches / recipe->grad_accum_steps);
    double step_images = (double)recipe->batch_size * recipe->grad_accum_steps;
    p->steps = recipe->steps > 0 ? recipe->steps : epoch_steps * recipe->epochs;
    double epochs = ceil(p->steps / epoch_steps);
    double picture = p->work / STEP_WORK / (1e9 * r->gflops / r->cores) + r->decode_seconds;
    p->epoch = epoch_steps * p->step;
    p->evaluation = (double)r->val_images * picture / cores;
    p->total = p->steps * p->step + epochs * p->evaluation;
    p->images_per_second = step_images / p->step;
    p->total_bytes = p->steps * p->step_bytes;
    p->read_bytes_per_second *= recipe->grad_accum_steps / p->step;
}

static vit_status plan(const vit_cluster_request *r, vit_cluster_plan *p) {
    vit_status status = VIT_OK;
    vit_slots_config slots = vit_recipe_slots(r->recipe, (size_t)r->recipe->batch_size);
    size_t chunk;
    *p = (vit_cluster_plan){.slots = slots.slots};
    VIT_TRY(check(r, p->slots));
    p->ranks = (size_t)r->nodes * (size_t)r->node_ranks;
    p->work = STEP_WORK * vit_config_flops(&r->model->config);
    slots.model = r->model;
    slots.threads = r->cores / r->node_ranks;
    slots.ranks = p->ranks;
    VIT_TRY(vit_slots_cut(&slots, &chunk, &p->parts));
    plan_rounds(r, chunk, p);
    plan_exchange(r, p);
    plan_computing(r, p);
    plan_step(r, p);
    plan_training(r, p);
cleanup:
    return status;
}

vit_status vit_plan_cluster(const vit_cluster_request *request, vit_cluster_plan *out) {
    vit_status status = VIT_OK;
    vit_cluster_request alone = *request;
    vit_cluster_plan one;
    alone.nodes = alone.node_ranks = 1;
    VIT_TRY(plan(request, out));
    VIT_TRY(plan(&alone, &one));
    out->efficiency = out->images_per_second / (one.images_per_second * request->nodes);
cleanup:
    return status;
}
