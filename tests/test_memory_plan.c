/* The memory plan against what is taken, its refusal, and the batch size that it chooses. */
#include "support/allocator.h"
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "eval/evaluate.h"
#include "eval/predict.h"
#include "train/memory_plan.h"
#include "train/run.h"
#include "train/slots.h"
#include "train/trainer.h"
#include "vit/memory.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* AddressSanitizer takes address space of its own. */
#ifdef __SANITIZE_ADDRESS__
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* A little goes to the structures around the memory. */
static void check_near(const char *what, double measured, double planned) {
    ck_assert_msg(measured >= planned && measured <= planned + 10e3,
                  "%s: planned %.0f bytes, took %.0f", what, planned, measured);
}

/* Bytes that the library has asked for so far: what a machine's libraries and threads take beside
 * them is none of these rows'. The models' blocks stay below 4 MiB, from where on sizes are rounded
 * up to huge pages that nobody touches. */
static counting heap;

static double taken(void) {
    return (double)atomic_load(&heap.bytes);
}

static void model_of(const char *name, vit_model *model) {
    vit_config config;
    ck_vit_ok(vit_config_preset(name, &config));
    config.num_classes = 3;
    ck_vit_ok(vit_model_init(model, &config));
}

START_TEST(sizes_are_what_is_taken) {
    vit_model model;
    counting_install(&heap);
    model_of("zeros_micro_patch4_28", &model);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        for (int threads = 1; threads <= 2; threads++) {
            vit_recipe recipe = small_run_settings().recipe;
            recipe.checkpoint_activations = checkpoint;
            recipe.mixup = 0.5;
            recipe.drop_path = 0.1;
            vit_slots_config config = vit_recipe_slots(&recipe, 16);
            config.model = &model;
            config.threads = threads;
            config.chunk = 1;
            vit_slots_memory planned;
            vit_slots *slots;
            ck_vit_ok(vit_slots_bytes(&config, &planned));
            double before = taken();
            ck_vit_ok(vit_slots_create(&config, &slots));
            check_near("slots", taken() - before,
                       (double)planned.gradients + (double)planned.activations);
            vit_slots_free(slots);
        }
    }
    vit_model_free(&model);
    counting_remove(&heap, "slots");
}
END_TEST

static size_t row_bytes(const vit_memory_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->count; i++) {
        if (strcmp(plan->rows[i].name, name) == 0) {
            return plan->rows[i].bytes;
        }
    }
    return 0;
}

/* A rank holds its slots' gradients and its part of each batch; twice that where batches mix. */
START_TEST(a_rank_takes_its_part) {
    vit_model model;
    vit_memory_plan one, four;
    vit_recipe recipe = small_run_settings().recipe;
    size_t row = 3 * 64 * 64 * sizeof(float), gradient;
    model_of("zeros_mini_patch8_64", &model);
    gradient = model.params.total * sizeof(float);
    recipe.batch_size = 64; /* 16 slots */
    recipe.slots = 0;
    for (int mixes = 0; mixes < 2; mixes++) {
        recipe.mixup = 0.5 * mixes;
        vit_plan_request request = {
            .model = &model, .recipe = &recipe, .threads = 8, .train_images = 1000};
        ck_vit_ok(vit_plan_training(&request, &one));
        request.ranks = 4;
        ck_vit_ok(vit_plan_training(&request, &four));
        size_t batches[] = {row_bytes(&one, "two batches of pictures"),
                            row_bytes(&four, "two batches of pictures")};
        check_near("batches", (double)batches[0], 2.0 * 64 * (double)row);
        check_near("a rank's", (double)batches[1], 2.0 * (mixes ? 32 : 16) * (double)row);
        /* as many as there are slots, or threads and levels */
        ck_assert_uint_eq(row_bytes(&one, "gradients of slots"), 12 * gradient);
        ck_assert_uint_eq(row_bytes(&four, "gradients of slots"), 4 * gradient);
        ck_assert_uint_lt(four.total, one.total);
    }
    vit_model_free(&model);
}
END_TEST

START_TEST(evaluator_takes_what_it_says) {
    vit_model model;
    vit_dataset *dataset;
    vit_evaluator *evaluator;
    counting_install(&heap);
    model_of("zeros_micro_patch4_28", &model);
    ck_vit_ok(vit_dataset_open(run_data, "train", NULL, 0, &dataset, NULL));
    const vit_preprocess preprocess = {.crop_pct = 1, .std = {1, 1, 1}};
    for (size_t batch_size = 1; batch_size < 200;
         batch_size += 55) { /* and above the 60 there are */
        size_t planned = vit_evaluator_bytes(&model, dataset->count, 1, batch_size, 2);
        double before = taken();
        ck_vit_ok(
            vit_evaluator_create(&model, &preprocess, dataset, batch_size, 2, NULL, &evaluator));
        check_near("evaluator", taken() - before, (double)planned);
        vit_evaluator_free(evaluator);
    }
    vit_dataset_free(dataset);
    vit_model_free(&model);
    counting_remove(&heap, "evaluator");
}
END_TEST

START_TEST(predictor_takes_what_it_says) {
    vit_train_settings settings = small_run_settings();
    vit_model_bundle *bundle;
    vit_predictor *predictor;
    size_t planned;
    counting_install(&heap);
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &settings.model));
    settings.model.num_classes = 3;
    ck_vit_ok(
        vit_model_bundle_new(&settings.model, &settings.preprocess, small_run_classes, 0, &bundle));
    ck_vit_ok(vit_predictor_bytes(&bundle->model, 8, 2, &planned));
    double before = taken();
    ck_vit_ok(vit_predictor_create(bundle, 8, 2, NULL, &predictor));
    check_near("predictor", taken() - before, (double)planned);
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
    counting_remove(&heap, "predictor");
}
END_TEST

static vit_plan_request request_of(const vit_model *model, const vit_recipe *recipe) {
    return (vit_plan_request){
        .model = model, .recipe = recipe, .threads = 2, .train_images = 1 << 20, .val_images = 100};
}

/* A recipe that needs everything at once: the program itself, the last row, must still be there. */
START_TEST(no_row_is_lost) {
    vit_model model;
    vit_memory_plan plan;
    vit_recipe recipe = small_run_settings().recipe;
    model_of("zeros_micro_patch4_28", &model);
    recipe.opt = VIT_LAMB;
    recipe.model_ema = true;
    recipe.grad_accum_steps = 2;
    recipe.layer_decay = 0.75;
    vit_plan_request request = request_of(&model, &recipe);
    request.looks = true;
    ck_vit_ok(vit_plan_training(&request, &plan));
    ck_assert_str_eq(plan.rows[plan.count - 1].name, "program, libraries, decoding");
    size_t sum = 0, looks = 0;
    for (size_t i = 0; i < plan.count; i++) {
        sum += plan.rows[i].bytes;
        looks +=
            strcmp(plan.rows[i].name, "what the model says of val") == 0 ? plan.rows[i].bytes : 0;
    }
    ck_assert_uint_eq(sum, plan.total);
    ck_assert_uint_eq(looks, 100 * 3 * sizeof(float));
    vit_model_free(&model);
}
END_TEST

/* As many as there are slots, where that is more than a sixteenth of the pictures. */
START_TEST(auto_keeps_to_the_slots) {
    vit_model model;
    int size = 0;
    vit_recipe recipe = small_run_settings().recipe;
    model_of("zeros_micro_patch4_28", &model);
    recipe.slots = 8;
    vit_plan_request request = request_of(&model, &recipe);
    request.train_images = 100;
    ck_vit_ok(vit_plan_batch_size(&request, 0, &size));
    ck_assert_int_eq(size, 8);
    vit_model_free(&model);
}
END_TEST

/* Without what the process itself has, which may have grown. */
static size_t beside_program(const vit_memory_plan *plan) {
    return plan->total - row_bytes(plan, "program, libraries, decoding");
}

START_TEST(rows_add_up_and_follow_the_recipe) {
    vit_model model;
    vit_memory_plan plan, more;
    vit_recipe recipe = small_run_settings().recipe;
    model_of("zeros_micro_patch4_28", &model);
    vit_plan_request request = request_of(&model, &recipe);
    size_t block = model.params.total * sizeof(float);
    ck_vit_ok(vit_plan_training(&request, &plan));
    size_t sum = 0;
    for (size_t i = 0; i < plan.count; i++) {
        sum += plan.rows[i].bytes;
    }
    ck_assert_uint_eq(sum, plan.total);
    recipe.model_ema = true;
    recipe.grad_accum_steps = 2;
    ck_vit_ok(vit_plan_training(&request, &more));
    ck_assert_uint_eq(more.count, plan.count + 2);
    ck_assert_uint_eq(beside_program(&more), beside_program(&plan) + 2 * block);
    recipe.opt = VIT_LION; /* one moment */
    ck_vit_ok(vit_plan_training(&request, &more));
    ck_assert_uint_eq(more.count, plan.count + 1);
    request.val_images = 0;
    ck_vit_ok(vit_plan_training(&request, &more));
    ck_assert_uint_eq(more.count, plan.count);
    vit_model_free(&model);
}
END_TEST

START_TEST(refuses_what_does_not_fit) {
    vit_memory_plan plan = {
        .rows = {{"parameters", 1000}, {"activations", 9000}}, .count = 2, .total = 10000};
    ck_vit_ok(vit_plan_check(&plan, 0));
    ck_vit_ok(vit_plan_check(&plan, 10000));
    ck_vit_fails(vit_plan_check(&plan, 9999), VIT_ERROR_LIMIT, "activations");
    plan.total = SIZE_MAX;
    ck_assert_int_eq(vit_plan_check(&plan, (uint64_t)1 << 50), VIT_ERROR_LIMIT);
}
END_TEST

START_TEST(batch_size_grows_with_the_memory) {
    vit_model model;
    vit_memory_plan plan;
    vit_recipe recipe = small_run_settings().recipe;
    model_of("zeros_micro_patch4_28", &model);
    vit_plan_request request = request_of(&model, &recipe);
    int size, last = 0;
    for (int expected = 1; expected <= 1024; expected *= 2) {
        recipe.batch_size = expected;
        ck_vit_ok(vit_plan_training(&request, &plan));
        ck_vit_ok(vit_plan_batch_size(&request, 2 * plan.total + (4 << 20), &size));
        ck_assert_int_ge(size, expected); /* the next may fit into the margin as well */
        ck_assert_int_ge(size, last);
        ck_assert_int_eq(size & (size - 1), 0);
        last = size;
    }
    ck_assert_int_eq(last, 1024);
    ck_vit_ok(vit_plan_batch_size(&request, 1, &size));
    ck_assert_int_eq(size, 1);
    ck_vit_ok(vit_plan_batch_size(&request, 0, &size)); /* unknown */
    ck_assert_int_eq(size, 1024);
    request.train_images = 160;
    ck_vit_ok(vit_plan_batch_size(&request, 0, &size));
    ck_assert_int_eq(size, 8); /* of at most 160 / 16 */
    recipe.slots = 4;
    request.train_images = 60;
    ck_vit_ok(vit_plan_batch_size(&request, 0, &size));
    ck_assert_int_ge(size, 1);
    vit_model_free(&model);
}
END_TEST

/* ---- through a run ---- */

static vit_status run(vit_train_settings *settings, const char *name, uint64_t memory,
                      char out[1024]) {
    vit_train_result result;
    temp_path(out, run_base, "%s", name);
    const vit_train_request request = {
        .settings = settings, .data = run_data, .out = out, .memory = memory};
    return vit_train(&request, &(vit_train_callbacks){0}, &result);
}

START_TEST(a_run_that_does_not_fit_leaves_nothing) {
    char out[1024];
    vit_train_settings settings = small_run_settings();
    ck_vit_fails(run(&settings, "refused", 1 << 20, out), VIT_ERROR_LIMIT, "training takes 0.");
    check_message("--batch-size");
    ck_assert_int_ne(access(out, F_OK), 0);
}
END_TEST

START_TEST(the_chosen_batch_size_is_kept) {
    char out[1024], path[1024];
    vit_json *args = NULL;
    vit_train_settings settings = small_run_settings();
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.batch_size = 0; /* auto */
    ck_vit_ok(run(&settings, "auto", 0, out));
    ck_vit_ok(vit_json_read(temp_path(path, out, "args.json"), 1 << 20, &args));
    ck_assert_double_eq(vit_json_number(vit_json_get(args, "batch_size"), 0), 2); /* 60 / 16 */
    vit_json_free(args);
}
END_TEST

START_TEST(the_address_space_is_a_limit) {
    struct rlimit space = {.rlim_cur = (rlim_t)3 << 40, .rlim_max = RLIM_INFINITY};
    uint64_t before = vit_memory_limit();
    ck_assert_uint_gt(before, vit_memory_used());
    ck_assert_uint_gt(vit_memory_used(), 1 << 20);
    getrlimit(RLIMIT_AS, &space);
    space.rlim_cur = (rlim_t)before / 2;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &space), 0);
    ck_assert_uint_eq(vit_memory_limit(), before / 2);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("memory_plan");
    TCase *tc = tcase_create("plan");
    tcase_add_unchecked_fixture(tc, run_base_make, run_base_remove);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, sizes_are_what_is_taken);
    tcase_add_test(tc, evaluator_takes_what_it_says);
    tcase_add_test(tc, predictor_takes_what_it_says);
    tcase_add_test(tc, a_rank_takes_its_part);
    tcase_add_test(tc, no_row_is_lost);
    tcase_add_test(tc, auto_keeps_to_the_slots);
    tcase_add_test(tc, rows_add_up_and_follow_the_recipe);
    tcase_add_test(tc, refuses_what_does_not_fit);
    tcase_add_test(tc, batch_size_grows_with_the_memory);
    tcase_add_test(tc, a_run_that_does_not_fit_leaves_nothing);
    tcase_add_test(tc, the_chosen_batch_size_is_kept);
    if (!sanitized) {
        tcase_add_test(tc, the_address_space_is_a_limit);
    }
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
