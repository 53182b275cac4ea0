#include "train/tree.h"

#include "vit/arena.h"
#include "vit/rows.h"
#include "vit/simd.h"

#include <string.h>

/* Floats that one thread adds at a time in the last sum. */
#define SUM_CHUNK ((size_t)1 << 14)

/* A block is one gradient of the whole model. A leaf needs one while it runs; when it is done, the
 * block waits for its sibling's and the two become one. How many are there to have?
 *
 * Leaves are handed out in increasing order, so when none runs, those done are a prefix 0..k-1 and
 * the waiting blocks are the complete subtrees that make up the prefix: one for each bit set in k,
 * at most log2(L) of them while k < L. With T + log2(L) blocks there are then T free ones. While
 * leaves run, a thread may find none free (the others run far ahead of a slow one); it fetches
 * pictures or waits, and because running leaves need no further block to finish and merge, one
 * comes free. So that number cannot lock up, and no thread waits unless leaves differ much in time.
 *
 * A subtree's sum lies in the block of its first leaf, for every part: right is added into left. */
struct vit_tree {
    vit_tree_config config;
    size_t levels; /* 1 << levels == leaves */
    size_t *cuts;  /* (parts + 1) */
    bool across;   /* several ranks */
    size_t block_count;
    float **blocks; /* (block_count) owned, but for the only one of a rank with one leaf */
    float *grads;

    /* One sum's state; read and written inside the critical section vit_slots. */
    size_t *spare; /* (block_count) stack of those that are free */
    size_t spare_count;
    size_t *parts_left; /* (block_count) that are not yet added to another */
    size_t *waiting;    /* (parts, 2 * leaves) block + 1 by node: the leaves at leaves + i, the
                           parent of n at n / 2; 0: none */
    bool *summed;       /* (parts) over this rank's leaves */
    size_t sent;        /* parts from here on are handed to the comm, the last one first */
};

size_t vit_tree_blocks(const vit_tree_config *config) {
    size_t L = config->leaves, T = (size_t)config->threads, levels = 0;
    if (L == 1 && vit_comm_size(config->comm) > 1) {
        return 0; /* it is computed where the sum will be */
    }
    while ((size_t)1 << levels < L) {
        levels++;
    }
    return T >= L || T + levels > L ? L : T + levels;
}

static vit_status allocate(vit_tree *tree) {
    vit_status status = VIT_OK;
    const vit_tree_config *c = &tree->config;
    size_t owned = vit_tree_blocks(c);
    tree->block_count = owned ? owned : 1;
    VIT_TRY(vit_alloc((void **)&tree->cuts, c->parts + 1, sizeof *tree->cuts, "slots"));
    memcpy(tree->cuts, c->cuts, (c->parts + 1) * sizeof *tree->cuts);
    VIT_TRY(vit_alloc((void **)&tree->blocks, tree->block_count, sizeof(float *), "slots"));
    VIT_TRY(vit_alloc((void **)&tree->spare, tree->block_count, sizeof *tree->spare, "slots"));
    VIT_TRY(vit_alloc((void **)&tree->parts_left, tree->block_count, sizeof *tree->spare, "slots"));
    VIT_TRY(vit_alloc((void **)&tree->waiting, vit_size_times(2 * c->leaves, c->parts),
                      sizeof *tree->waiting, "slots"));
    VIT_TRY(vit_alloc((void **)&tree->summed, c->parts, sizeof *tree->summed, "slots"));
    for (size_t i = 0; i < owned; i++) {
        VIT_TRY(vit_alloc((void **)&tree->blocks[i], c->floats, sizeof(float), "gradient"));
    }
cleanup:
    return status;
}

vit_status vit_tree_create(const vit_tree_config *config, vit_tree **out) {
    vit_status status = VIT_OK;
    vit_tree *tree = NULL;
    *out = NULL;
    VIT_TRY(vit_alloc((void **)&tree, 1, sizeof *tree, "slots"));
    tree->config = *config;
    tree->across = vit_comm_size(config->comm) > 1;
    while ((size_t)1 << tree->levels < config->leaves) {
        tree->levels++;
    }
    VIT_TRY(allocate(tree));
    *out = tree;
    tree = NULL;
cleanup:
    vit_tree_free(tree);
    return status;
}

void vit_tree_free(vit_tree *tree) {
    if (!tree) {
        return;
    }
    size_t owned = vit_tree_blocks(&tree->config);
    for (size_t i = 0; tree->blocks && i < owned; i++) {
        vit_free(tree->blocks[i]);
    }
    vit_free(tree->cuts);
    vit_free(tree->blocks);
    vit_free(tree->spare);
    vit_free(tree->parts_left);
    vit_free(tree->waiting);
    vit_free(tree->summed);
    vit_free(tree);
}

void vit_tree_begin(vit_tree *tree, float *grads) {
    size_t parts = tree->config.parts;
    tree->grads = grads;
    if (vit_tree_blocks(&tree->config) == 0) {
        tree->blocks[0] = grads;
    }
    for (size_t i = 0; i < tree->block_count; i++) {
        tree->spare[i] = i;
        tree->parts_left[i] = parts;
    }
    tree->spare_count = tree->block_count;
    memset(tree->waiting, 0, 2 * tree->config.leaves * parts * sizeof *tree->waiting);
    memset(tree->summed, 0, parts * sizeof *tree->summed);
    tree->sent = parts;
}

bool vit_tree_take(vit_tree *tree, size_t *block) {
    if (tree->spare_count == 0) {
        return false;
    }
    *block = tree->spare[--tree->spare_count];
    return true;
}

float *vit_tree_floats(const vit_tree *tree, size_t block) {
    return tree->blocks[block];
}

VIT_CLONES static void add_to(size_t n, const float *left, const float *right,
                              float *restrict out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = left[i] + right[i];
    }
}

/* Leaves the part of a finished node, or takes its sibling's when that came first: its block + 1.
 * With one rank nodes 2 and 3, the two halves of the batch, stay for the last sum, which all
 * threads share; so does node 1 when there is one slot. */
static size_t meet(vit_tree *tree, size_t part, size_t node, size_t block) {
    size_t *waiting = tree->waiting + part * 2 * tree->config.leaves;
    size_t other = 0;
#pragma omp critical(vit_slots)
    {
        if (node > (tree->across ? 1 : 3)) {
            other = waiting[node ^ 1];
        }
        if (!other) {
            waiting[node] = block + 1;
        }
    }
    return other;
}

/* A part of the block was added to another. */
static void let_go(vit_tree *tree, size_t block) {
#pragma omp critical(vit_slots)
    if (--tree->parts_left[block] == 0) {
        tree->parts_left[block] = tree->config.parts;
        tree->spare[tree->spare_count++] = block;
    }
}

/* The part of this rank's leaves is in grads. Ranks hand their parts over in the same order. */
static void hand_over(vit_tree *tree, size_t part) {
#pragma omp critical(vit_slots)
    {
        tree->summed[part] = true;
        while (tree->sent > 0 && tree->summed[tree->sent - 1]) {
            size_t at = tree->cuts[--tree->sent];
            vit_comm_start_sum(tree->config.comm, tree->grads + at,
                               tree->cuts[tree->sent + 1] - at);
        }
    }
}

/* Whoever comes second adds, always right into left; the last two, of several ranks, into grads. */
void vit_tree_merge(vit_tree *tree, size_t leaf, size_t block, size_t part) {
    size_t node = tree->config.leaves + leaf;
    size_t at = tree->cuts[part], n = tree->cuts[part + 1] - at;
    for (; node > 1; node /= 2) {
        size_t other = meet(tree, part, node, block);
        if (!other) {
            return;
        }
        size_t left = node & 1 ? other - 1 : block, right = node & 1 ? block : other - 1;
        if (node <= 3) {
            add_to(n, tree->blocks[left] + at, tree->blocks[right] + at, tree->grads + at);
            let_go(tree, left);
        } else {
            vit_add(n, tree->blocks[right] + at, tree->blocks[left] + at);
        }
        let_go(tree, right);
        block = left;
    }
    if (tree->across) {
        hand_over(tree, part);
    } else {
        meet(tree, part, node, block);
    }
}

/* grads = node 2 + node 3, or node 1. */
void vit_tree_last_sum(vit_tree *tree) {
    if (tree->across) {
        return;
    }
    size_t n = tree->config.floats;
    size_t chunks = n / SUM_CHUNK + (n % SUM_CHUNK != 0);
    float *grads = tree->grads;
    const float *left = tree->blocks[tree->waiting[tree->levels ? 2 : 1] - 1];
    const float *right = tree->levels ? tree->blocks[tree->waiting[3] - 1] : NULL;
#pragma omp for schedule(static)
    for (size_t c = 0; c < chunks; c++) {
        size_t at = c * SUM_CHUNK, count = n - at < SUM_CHUNK ? n - at : SUM_CHUNK;
        if (right) {
            add_to(count, left + at, right + at, grads + at);
        } else {
            memcpy(grads + at, left + at, count * sizeof *grads);
        }
    }
}

vit_status vit_tree_finish(vit_tree *tree, vit_comm_times *times) {
    return vit_comm_finish(tree->config.comm, times);
}
