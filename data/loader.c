#include "data/loader.h"

#include "data/cache.h"
#include "vit/arena.h"

#include <omp.h>
#include <string.h>

struct vit_loader {
    vit_loader_config config;
    vit_augment augment;     /* a copy of *config.augment; config.augment points here, or is NULL */
    vit_auto_augment policy; /* what augment.aa says */
    size_t batches;
    size_t picture_floats; /* 3 * height * width */
    uint32_t epoch;
    uint32_t *order;   /* (dataset->count) */
    uint32_t *repeats; /* (dataset->count) how often the order had the sample before */
    uint32_t *work;    /* (dataset->count) of the balanced sampler, else NULL */
    int threads;
    vit_transform_scratch *scratch; /* (threads) */
    vit_cache *cache;               /* with config.cache, else NULL */
};

static vit_status check_config(const vit_loader_config *c, int threads) {
    const vit_dataset *d = c->dataset;
    if (d->count == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: no pictures", d->root);
    }
    if (c->batch_size == 0 || c->batch_size > UINT32_MAX || threads < 1 || c->height == 0 ||
        c->width == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "loader: batches of %zu pictures of %zu x %zu pixels on %d threads "
                        "(expected 1 or more of each)",
                        c->batch_size, c->width, c->height, threads);
    }
    const vit_share *share = &c->share;
    if (share->ranks > 1 && (share->rank >= share->ranks || share->slots < 1 ||
                             share->slots % share->ranks || share->slots > c->batch_size)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "loader: rank %zu of %zu with %zu slots for %zu pictures (expected slots "
                        "that the ranks divide, at most one a picture)",
                        share->rank, share->ranks, share->slots, c->batch_size);
    }
    if (c->drop_last && d->count < c->batch_size) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: %zu pictures do not fill one batch of %zu (expected a smaller batch "
                        "size)",
                        d->root, d->count, c->batch_size);
    }
    return VIT_OK;
}

static void identity_order(vit_loader *loader) {
    for (size_t i = 0; i < loader->config.dataset->count; i++) {
        loader->order[i] = (uint32_t)i;
    }
}

/* The only rank reads every picture in each epoch, so all are to fit. One of several reads other
 * ones in each epoch, in the end nearly all; it keeps the first that it reads, while they fit. */
static vit_status create_cache(vit_loader *loader) {
    const vit_loader_config *c = &loader->config;
    size_t ranks = c->cache_ranks > 0 ? c->cache_ranks : 1;
    return c->share.ranks > 1
               ? vit_cache_create_partial(c->dataset, &c->decode, ranks, 0, &loader->cache)
               : vit_cache_create(c->dataset, &c->decode, loader->threads, 0, &loader->cache);
}

vit_status vit_loader_create(const vit_loader_config *config, int threads, vit_loader **out) {
    void *block = NULL;
    vit_loader *loader = NULL;
    vit_status status;
    *out = NULL;
    VIT_TRY(check_config(config, threads));
    VIT_TRY(vit_alloc(&block, 1, sizeof *loader, "loader"));
    loader = block;
    loader->config = *config;
    if (config->augment) {
        loader->augment = *config->augment;
        loader->config.augment = &loader->augment;
        VIT_TRY(vit_augment_check(&loader->augment, &loader->policy));
    }
    size_t count = config->dataset->count;
    loader->batches = count / config->batch_size;
    if (!config->drop_last && count % config->batch_size) {
        loader->batches++;
    }
    if (__builtin_mul_overflow(config->height, config->width, &loader->picture_floats) ||
        __builtin_mul_overflow(loader->picture_floats, (size_t)3, &loader->picture_floats)) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "loader: pictures of %zu x %zu pixels do not fit",
                         config->width, config->height));
    }
    loader->threads = threads;
    VIT_TRY(vit_alloc(&block, count, sizeof *loader->order, "order of the pictures"));
    loader->order = block;
    VIT_TRY(vit_alloc(&block, count, sizeof *loader->repeats, "order of the pictures"));
    loader->repeats = block;
    if (config->sampler == VIT_SAMPLER_BALANCED) {
        VIT_TRY(vit_alloc(&block, count, sizeof *loader->work, "order of the pictures"));
        loader->work = block;
    }
    VIT_TRY(vit_alloc(&block, (size_t)threads, sizeof *loader->scratch, "loader scratch"));
    loader->scratch = block;
    if (config->cache) {
        VIT_TRY(create_cache(loader));
    }
    vit_loader_start_epoch(loader, 0);
    *out = loader;
    loader = NULL;
cleanup:
    vit_loader_free(loader);
    return status;
}

void vit_loader_free(vit_loader *loader) {
    if (!loader) {
        return;
    }
    for (int i = 0; loader->scratch && i < loader->threads; i++) {
        vit_transform_scratch_free(&loader->scratch[i]);
    }
    vit_cache_free(loader->cache);
    vit_free(loader->scratch);
    vit_free(loader->order);
    vit_free(loader->repeats);
    vit_free(loader->work);
    vit_free(loader);
}

size_t vit_loader_batches(const vit_loader *loader) {
    return loader->batches;
}

static void plan_batch(vit_arena *arena, size_t capacity, size_t rows, size_t picture_floats,
                       vit_batch *batch) {
    batch->indices = vit_arena_take(arena, capacity, sizeof *batch->indices);
    batch->repeats = vit_arena_take(arena, capacity, sizeof *batch->repeats);
    batch->rows = vit_arena_take(arena, capacity, sizeof *batch->rows);
    batch->wanted = vit_arena_take(arena, rows, sizeof *batch->wanted);
    batch->failed = vit_arena_take(arena, capacity, sizeof *batch->failed);
    batch->labels = vit_arena_take(arena, capacity, sizeof *batch->labels);
    batch->images = vit_arena_floats(arena, vit_size_times(rows, picture_floats));
}

size_t vit_batch_bytes(size_t batch_size, size_t rows, size_t height, size_t width) {
    vit_arena arena = {0};
    vit_batch batch;
    plan_batch(&arena, batch_size, rows, vit_size_times(3, vit_size_times(height, width)), &batch);
    return arena.overflow ? SIZE_MAX : arena.used;
}

vit_status vit_batch_create(const vit_loader *loader, vit_batch **out) {
    const vit_loader_config *c = &loader->config;
    size_t capacity = c->batch_size,
           rows = vit_share_most(&c->share, capacity, vit_mix_is_wanted(&c->mix));
    void *block = NULL;
    vit_batch *batch = NULL;
    vit_status status;
    *out = NULL;
    VIT_TRY(vit_alloc(&block, 1, sizeof *batch, "batch"));
    batch = block;
    batch->capacity = capacity;
    plan_batch(&batch->memory, capacity, rows, loader->picture_floats, batch);
    if (batch->memory.overflow) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "a batch of %zu pictures of %zu x %zu does not fit",
                         rows, c->width, c->height));
    }
    VIT_TRY(vit_arena_allocate(&batch->memory, "batch pictures"));
    plan_batch(&batch->memory, capacity, rows, loader->picture_floats, batch);
    *out = batch;
    batch = NULL;
cleanup:
    vit_batch_free(batch);
    return status;
}

void vit_batch_free(vit_batch *batch) {
    if (batch) {
        vit_arena_free(&batch->memory);
        vit_free(batch);
    }
}

void vit_loader_start_epoch(vit_loader *loader, uint32_t epoch) {
    loader->epoch = epoch;
    if (loader->work) {
        vit_sample_balanced(loader->config.dataset, loader->config.seed, epoch, loader->work,
                            loader->order, loader->repeats);
    } else if (loader->config.shuffle) {
        vit_shuffle(loader->config.seed, epoch, loader->order, loader->config.dataset->count);
    } else {
        identity_order(loader);
    }
}

/* The positions in the order that make up batch `number`: the first and how many. */
static size_t batch_range(const vit_loader *loader, size_t number, size_t *first) {
    if (number >= loader->batches) {
        *first = 0;
        return 0;
    }
    size_t size = loader->config.batch_size;
    *first = number * size;
    size_t left = loader->config.dataset->count - *first;
    return left < size ? left : size;
}

/* The sample at a position of the epoch. */
static uint32_t sample_at(const vit_loader *loader, size_t position) {
    size_t repeats = loader->config.repeats;
    return loader->order[repeats > 1 ? position / repeats : position];
}

/* How often the epoch had it before: by the order, and by repeated augmentation. */
static uint32_t repeat_at(const vit_loader *loader, size_t position) {
    uint32_t repeats = (uint32_t)loader->config.repeats;
    return repeats > 1
               ? loader->repeats[position / repeats] * repeats + (uint32_t)(position % repeats)
               : loader->repeats[position];
}

/* What this rank computes a batch with: its own pictures, and those that they are mixed with. */
typedef struct holding {
    vit_range own, partners;
} holding;

static holding held_of(const vit_loader *loader, size_t number, uint32_t epoch, size_t count) {
    const vit_loader_config *c = &loader->config;
    holding held = {.own = vit_share_range(&c->share, count)};
    if (c->share.ranks > 1 && vit_mix_is_wanted(&c->mix)) {
        vit_mix mix = vit_mix_draw(&c->mix, c->seed, epoch, number, c->height, c->width);
        if (vit_mix_is_on(&mix)) {
            held.partners = vit_range_partners(held.own, count);
        }
    }
    return held;
}

static bool is_held(const holding *held, size_t j) {
    return vit_range_has(held->own, j) || vit_range_has(held->partners, j);
}

/* Rows for a batch that holds nothing yet. */
static void deal_rows(const holding *held, vit_batch *batch) {
    uint32_t row = (uint32_t)(held->own.end - held->own.first);
    for (size_t j = 0; j < batch->count; j++) {
        batch->rows[j] = vit_range_has(held->own, j) ? (uint32_t)(j - held->own.first)
                         : is_held(held, j)          ? row++
                                                     : VIT_NO_ROW;
    }
}

/* Tells the kernel which pictures come next, so that the disk works while the processor does. */
static void read_ahead(const vit_loader *loader, size_t number) {
    size_t first, count = batch_range(loader, number, &first);
    const holding held = held_of(loader, number, loader->epoch, count);
    for (size_t j = 0; j < count && !loader->cache; j++) {
        if (is_held(&held, j)) {
            vit_sample_announce(&loader->config.dataset->samples[sample_at(loader, first + j)]);
        }
    }
}

void vit_loader_prepare(vit_loader *loader, size_t number, vit_batch *batch) {
    size_t first;
    batch->count = batch_range(loader, number, &first);
    batch->number = number;
    batch->epoch = loader->epoch;
    batch->error = batch->skipped = (vit_first_error){0};
    batch->settled = false;
    batch->wanted_count = 0;
    const holding held = held_of(loader, number, batch->epoch, batch->count);
    deal_rows(&held, batch);
    for (size_t j = 0; j < batch->count; j++) {
        batch->indices[j] = sample_at(loader, first + j);
        batch->repeats[j] = repeat_at(loader, first + j);
        batch->failed[j] = false;
        batch->labels[j] = loader->config.dataset->samples[batch->indices[j]].label;
        if (batch->rows[j] != VIT_NO_ROW) {
            batch->wanted[batch->wanted_count++] = (uint32_t)j;
        }
    }
    if (number == 0) {
        read_ahead(loader, 0);
    }
    read_ahead(loader, number + 1);
}

/* Decodes no more of the picture than its random crop. */
static vit_status load_crop(const vit_loader *loader, const void *bytes, size_t size,
                            const char *path, const vit_sample_key *key,
                            vit_transform_scratch *scratch, float *out) {
    const vit_loader_config *c = &loader->config;
    vit_crop_request request = {c->augment, key, c->height, c->width};
    vit_part crop;
    vit_status status;
    VIT_TRY(vit_image_decode_part(bytes, size, path, &c->decode, vit_request_crop, &request,
                                  &scratch->decoded, &crop));
    status = vit_transform_crop(&c->preprocess, c->augment, &loader->policy, c->height, c->width,
                                &crop, key, scratch, out);
    if (status != VIT_OK) {
        vit_fail_context(status, "%s", path);
    }
cleanup:
    return status;
}

static vit_status transform(const vit_loader *loader, const vit_image *image, const char *path,
                            const vit_sample_key *key, vit_transform_scratch *scratch, float *out) {
    const vit_loader_config *c = &loader->config;
    vit_status status =
        c->augment ? vit_transform_train(&c->preprocess, c->augment, &loader->policy, c->height,
                                         c->width, image, key, scratch, out)
                   : vit_transform_eval(&c->preprocess, c->height, c->width, image, scratch, out);
    return status == VIT_OK ? status : vit_fail_context(status, "%s", path);
}

static vit_status load(const vit_loader *loader, const vit_batch *batch, size_t j,
                       vit_transform_scratch *scratch) {
    const vit_loader_config *c = &loader->config;
    const vit_sample *sample = &c->dataset->samples[batch->indices[j]];
    const vit_sample_key key = {c->seed, batch->epoch, vit_batch_key(batch, j)};
    float *out = vit_batch_image(batch, j, loader->picture_floats);
    const vit_image *image = &scratch->decoded;
    const void *bytes;
    size_t size;
    vit_status status;
    if (loader->cache) {
        VIT_TRY(vit_cache_get(loader->cache, batch->indices[j], &scratch->file, &scratch->decoded,
                              &image));
        return transform(loader, image, sample->path, &key, scratch, out);
    }
    VIT_TRY(vit_sample_read(sample, &scratch->file, &bytes, &size));
    if (c->augment && !c->augment->no_aug) {
        return load_crop(loader, bytes, size, sample->path, &key, scratch, out);
    }
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &c->decode, &scratch->decoded));
    status = transform(loader, image, sample->path, &key, scratch, out);
cleanup:
    return status;
}

void vit_loader_fetch(vit_loader *loader, vit_batch *batch, size_t i) {
    int thread = omp_get_thread_num();
    size_t j = batch->wanted[i];
    vit_status status;
    if (thread < loader->threads) {
        status = load(loader, batch, j, &loader->scratch[thread]);
    } else {
        status = vit_fail(VIT_ERROR_ARGUMENT, "loader: thread %d fetches (made for %d threads)",
                          thread, loader->threads);
    }
    if (status != VIT_OK && loader->config.skip && !batch->settled &&
        vit_is_pictures_fault(status)) {
        batch->failed[j] = true;
        vit_first_error_note(&batch->skipped, (long)j, status);
    } else if (status != VIT_OK) {
        vit_first_error_note(&batch->error, (long)j, status);
    }
}

/* Takes the failed ones out of the lists; the others' rows stay. */
static size_t close_gaps(vit_batch *batch) {
    size_t kept = 0;
    for (size_t j = 0; j < batch->count; j++) {
        if (batch->failed[j]) {
            continue;
        }
        batch->indices[kept] = batch->indices[j];
        batch->repeats[kept] = batch->repeats[j];
        batch->labels[kept] = batch->labels[j];
        batch->rows[kept] = batch->rows[j];
        batch->failed[kept++] = false;
    }
    size_t dropped = batch->count - kept;
    batch->count = kept;
    return dropped;
}

/* Brings picture j into a row. The one that lies there goes where it came from. */
static void bring(vit_batch *batch, size_t j, uint32_t row, size_t floats) {
    uint32_t from = batch->rows[j];
    float *a = batch->images + row * floats, *b = batch->images + from * floats;
    for (size_t i = 0; from != row && i < floats; i++) {
        float t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
    for (size_t k = 0; k < batch->count; k++) {
        if (batch->rows[k] == row) {
            batch->rows[k] = from;
        }
    }
    batch->rows[j] = row;
}

/* The layout of deal_rows for what is left: what is there is brought to its row, the rest is
 * wanted. Seldom done, so it need not be quick. */
static void deal_again(const holding *held, vit_batch *batch, size_t floats) {
    uint32_t row = 0;
    for (int partners = 0; partners < 2; partners++) {
        for (size_t j = 0; j < batch->count; j++) {
            if (!is_held(held, j) || vit_range_has(held->own, j) == (partners == 1)) {
                continue;
            }
            if (batch->rows[j] == VIT_NO_ROW) {
                batch->wanted[batch->wanted_count++] = (uint32_t)j;
            } else {
                bring(batch, j, row, floats);
            }
            row++;
        }
    }
    deal_rows(held, batch);
}

size_t vit_loader_drop_failed(const vit_loader *loader, vit_batch *batch) {
    size_t dropped = close_gaps(batch);
    batch->settled = true;
    batch->wanted_count = 0;
    if (dropped > 0) {
        const holding held = held_of(loader, batch->number, batch->epoch, batch->count);
        deal_again(&held, batch, loader->picture_floats);
    }
    return dropped;
}
