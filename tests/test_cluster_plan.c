/* The plan of a training on several machines against cases worked out by hand, its limits, and bad
 * input. */
#include "support/support.h"
#include "train/cluster_plan.h"

#include <math.h>
#include <string.h>

typedef struct fixture {
    vit_model model;
    vit_recipe recipe;
    vit_cluster_request request;
} fixture;

/* DeiT-Tiny's shape on 4 machines of 16 cores at 400 GFLOP/s: 25 for each thread. */
static void set_up(fixture *f) {
    vit_config config;
    vit_option_group group = {
        .options = vit_recipe_options, .count = vit_recipe_option_count, .target = &f->recipe};
    ck_vit_ok(vit_options_defaults(&group));
    f->recipe.batch_size = 512;
    f->recipe.epochs = 10;
    f->recipe.mixup = f->recipe.cutmix = 0;
    ck_vit_ok(vit_config_preset("zeros_tiny_patch16_224", &config));
    config.num_classes = 1000;
    ck_vit_ok(vit_model_init(&f->model, &config));
    f->request = (vit_cluster_request){.model = &f->model,
                                       .recipe = &f->recipe,
                                       .images = 100000,
                                       .val_images = 5000,
                                       .nodes = 4,
                                       .node_ranks = 1,
                                       .cores = 16,
                                       .gflops = 400,
                                       .bandwidth = 10,
                                       .latency = 0,
                                       .update_seconds = 0.01};
}

static void tear_down(fixture *f) {
    vit_model_free(&f->model);
}

static vit_cluster_plan plan(const fixture *f) {
    vit_cluster_plan p;
    ck_vit_ok(vit_plan_cluster(&f->request, &p));
    return p;
}

static void near(const char *what, double value, double expected) {
    ck_assert_msg(fabs(value - expected) <= 1e-9 * fabs(expected), "%s: %.12g (expected %.12g)",
                  what, value, expected);
}

/* 512 pictures in 128 slots of 4: 32 on each rank, two for each thread. */
START_TEST(a_step_by_hand) {
    fixture f;
    set_up(&f);
    vit_cluster_plan p = plan(&f);
    double work = 3 * vit_config_flops(&f.model.config), bytes = 4.0 * (double)f.model.params.total;
    near("work", p.work, work);
    ck_assert_uint_eq(p.ranks, 4);
    ck_assert_uint_eq(p.slots, 128);
    ck_assert_uint_eq(p.rounds, 2);
    near("busy", p.busy, 1);
    near("compute", p.compute, 2 * 4 * work / 25e9);
    /* 197 or 196 tokens: two pictures at a time, of which the backward is two thirds */
    near("window", p.window, 2 * work / 25e9 * 2 / 3);
    /* twice three quarters of the gradient, each way, at 1.25 GB/s */
    near("bytes", p.step_bytes, 2 * bytes * 3 / 4);
    near("exchange", p.exchange, 2 * bytes * 3 / 4 / 1.25e9);
    /* far longer than the exchange: only the last part is left over */
    ck_assert_double_gt(p.window, 2 * p.exchange);
    near("exposed", p.exposed, p.exchange / (double)p.parts);
    near("hidden", p.hidden, 1 - 1 / (double)p.parts);
    near("step", p.step, p.compute + p.exposed + 0.01);
    tear_down(&f);
}
END_TEST

START_TEST(a_training_by_hand) {
    fixture f;
    set_up(&f);
    f.request.image_bytes = 1000;
    vit_cluster_plan p = plan(&f);
    near("steps", p.steps, 195 * 10); /* 100000 / 512 = 195.3 */
    near("epoch", p.epoch, 195 * p.step);
    near("evaluation", p.evaluation, 5000 * vit_config_flops(&f.model.config) / (4 * 400e9));
    near("total", p.total, 10 * (p.epoch + p.evaluation));
    near("speed", p.images_per_second, 512 / p.step);
    near("bytes", p.total_bytes, 1950 * p.step_bytes);
    near("reading", p.read_bytes_per_second, 128 * 1000 / p.step);
    f.recipe.steps = 400; /* two epochs and a bit, measured three times */
    vit_cluster_plan q = plan(&f);
    near("steps", q.steps, 400);
    near("total", q.total, 400 * q.step + 3 * q.evaluation);
    tear_down(&f);
}
END_TEST

/* A slow network shows all but what the window hides, and its share is all of a long exchange. */
START_TEST(what_computing_does_not_hide) {
    fixture f;
    set_up(&f);
    f.request.bandwidth = 0.05;
    vit_cluster_plan p = plan(&f);
    ck_assert_double_gt(p.exchange, 2 * p.window);
    near("exposed", p.exposed, p.exchange - p.window * (1 - 1 / (double)p.parts));
    near("hidden", p.hidden, 1 - p.exposed / p.exchange);
    f.request.latency = 1e-3; /* two levels there and back in each part, and three meetings */
    vit_cluster_plan q = plan(&f);
    ck_assert_uint_ge(p.parts, 2);
    near("exchange", q.exchange, p.exchange + (double)p.parts * 2 * 2 * 1e-3);
    near("step", q.step, q.compute + q.exposed + 3e-3 + 0.01);
    tear_down(&f);
}
END_TEST

/* The thread that exchanges needs a core while the others compute, and cannot be faster than it. */
START_TEST(what_the_exchange_takes_of_the_cores) {
    fixture f;
    set_up(&f);
    vit_cluster_plan free_of_charge = plan(&f);
    double sent = 2 * 4.0 * (double)f.model.params.total * 3 / 4; /* 0.8 ns a byte at 10 Gbit/s */
    f.request.copy_seconds = 0.5e-9;
    vit_cluster_plan p = plan(&f);
    near("cpu", p.exchange_cpu, sent * 0.5e-9);
    near("exchange", p.exchange, free_of_charge.exchange);
    near("compute", p.compute, free_of_charge.compute + p.hidden * sent * 0.5e-9 / 16);
    f.request.copy_seconds = 2e-9; /* slower than the link */
    p = plan(&f);
    near("exchange", p.exchange, sent * 2e-9);
    near("exposed", p.exposed, p.exchange / (double)p.parts);
    f.request.node_ranks = 2; /* two of them, and the half that both have goes through memory */
    p = plan(&f);
    double within = 2 * 4.0 * (double)f.model.params.total / 2 / 4e9;
    near("cpu", p.exchange_cpu, sent / 2 * 2e-9 + within);
    near("exchange", p.exchange, sent / 2 * 2e-9 + within);
    f.request.node_ranks = 1;
    f.request.cores = 64; /* 32 of them have no slot */
    p = plan(&f);
    near("compute", p.compute, 4 * p.work / (400e9 / 64));
    tear_down(&f);
}
END_TEST

START_TEST(threads_without_a_slot) {
    fixture f;
    set_up(&f);
    f.request.cores = 64; /* 32 slots for 64 threads: half of them compute, none twice */
    vit_cluster_plan p = plan(&f);
    double slot = 4 * p.work / (400e9 / 64);
    ck_assert_uint_eq(p.rounds, 1);
    near("busy", p.busy, 0.5);
    near("compute", p.compute, slot);
    /* the others decode 128 pictures meanwhile, for nothing; 32 more seconds are shared by all */
    f.request.decode_seconds = 32 * slot / 128;
    near("compute", plan(&f).compute, slot);
    f.request.decode_seconds *= 2;
    near("compute", plan(&f).compute, slot + 32 * slot / 64);
    f.request.cores = 12; /* 32 slots in three rounds of 12 */
    p = plan(&f);
    ck_assert_uint_eq(p.rounds, 3);
    near("busy", p.busy, 32.0 / 36);
    tear_down(&f);
}
END_TEST

START_TEST(what_the_settings_change) {
    fixture f;
    set_up(&f);
    f.request.decode_seconds = 1e-3;
    vit_cluster_plan plain = plan(&f);
    f.recipe.checkpoint_activations = true;
    near("checkpointed", plan(&f).compute, plain.compute + 2 * 4 * plain.work / 25e9 / 3);
    f.recipe.checkpoint_activations = false;
    f.recipe.cutmix = 1; /* a picture is read where it is, and where it is mixed in */
    near("mixed", plan(&f).compute, plain.compute + 128e-3 / 16);
    f.recipe.cutmix = 0;
    f.recipe.grad_accum_steps = 3;
    vit_cluster_plan p = plan(&f);
    near("accumulated", p.step, 3 * (plain.compute + plain.exposed) + 0.01);
    near("accumulated bytes", p.step_bytes, 3 * plain.step_bytes);
    near("accumulated steps", p.steps, 65 * 10);
    f.recipe.grad_accum_steps = 1;
    f.request.update_seconds = 0; /* by bytes: adamw 8 passes, with the average 10, sgd 6 */
    double pass = 4.0 * (double)f.model.params.total / 10e9;
    near("update", plan(&f).update, 8 * pass);
    f.recipe.model_ema = true;
    near("update", plan(&f).update, 10 * pass);
    f.recipe.model_ema = false;
    f.recipe.opt = VIT_SGD;
    near("update", plan(&f).update, 6 * pass);
    tear_down(&f);
}
END_TEST

START_TEST(one_machine_exchanges_nothing) {
    fixture f;
    set_up(&f);
    f.request.nodes = 1;
    vit_cluster_plan p = plan(&f);
    ck_assert(p.exchange == 0 && p.exposed == 0 && p.step_bytes == 0 && p.total_bytes == 0);
    near("hidden", p.hidden, 1);
    near("efficiency", p.efficiency, 1);
    near("step", p.step, p.compute + 0.01);
    f.request.node_ranks = 4; /* through memory, at 4 GB/s */
    p = plan(&f);
    near("exchange", p.exchange, 2 * 4.0 * (double)f.model.params.total * 3 / 4 / 4e9);
    ck_assert(p.step_bytes == 0);
    tear_down(&f);
}
END_TEST

/* Ranks of a machine share its link: what goes over it does not depend on how many they are. */
START_TEST(ranks_of_a_machine_share_its_link) {
    fixture f;
    set_up(&f);
    vit_cluster_plan one = plan(&f);
    for (int ranks = 2; ranks <= 16; ranks *= 2) {
        f.request.node_ranks = ranks;
        vit_cluster_plan p = plan(&f);
        near("bytes", p.step_bytes, one.step_bytes);
        ck_assert_double_gt(p.exchange, one.exchange);
    }
    tear_down(&f);
}
END_TEST

START_TEST(more_machines_and_a_faster_network_are_no_slower) {
    fixture f;
    set_up(&f);
    double before = 0;
    for (int nodes = 1; nodes <= 8; nodes *= 2) {
        f.request.nodes = nodes;
        vit_cluster_plan p = plan(&f);
        ck_assert_double_gt(p.images_per_second, before);
        ck_assert(p.efficiency > 0 && p.efficiency <= 1 + 1e-12);
        ck_assert(p.hidden >= 0 && p.hidden <= 1);
        before = p.images_per_second;
    }
    before = INFINITY;
    for (double bandwidth = 0.01; bandwidth < 1000; bandwidth *= 3) {
        f.request.bandwidth = bandwidth;
        double seconds = plan(&f).total;
        ck_assert_double_le(seconds, before);
        before = seconds;
    }
    tear_down(&f);
}
END_TEST

static void check_refused(const vit_cluster_request *request, const char *word) {
    vit_cluster_plan p;
    ck_vit_fails(vit_plan_cluster(request, &p), VIT_ERROR_ARGUMENT, word);
}

START_TEST(bad_input_is_refused) {
    fixture f;
    set_up(&f);
    vit_cluster_request r = f.request;
    r.nodes = 3;
    check_refused(&r, "power of two");
    r.nodes = 256; /* 128 slots */
    check_refused(&r, "128 slots");
    r.nodes = 0;
    check_refused(&r, "evenly");
    r.nodes = 2;
    r.node_ranks = 32; /* 16 cores */
    check_refused(&r, "evenly");
    double *const numbers[] = {&r.gflops,      &r.bandwidth,      &r.latency,     &r.decode_seconds,
                               &r.image_bytes, &r.update_seconds, &r.copy_seconds};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        for (int bad = 0; bad < 3; bad++) {
            r = f.request;
            *numbers[i] = bad == 0 ? -1 : bad == 1 ? NAN : INFINITY;
            check_refused(&r, "expected");
        }
    }
    r = f.request;
    r.gflops = 0;
    check_refused(&r, "--gflops");
    r = f.request;
    r.bandwidth = 0;
    check_refused(&r, "--bandwidth");
    r = f.request;
    r.images = 511;
    check_refused(&r, "batches of 512");
    tear_down(&f);
}
END_TEST

int main(void) {
    Suite *s = suite_create("cluster_plan");
    TCase *c = tcase_create("cluster_plan");
    tcase_add_test(c, a_step_by_hand);
    tcase_add_test(c, a_training_by_hand);
    tcase_add_test(c, what_computing_does_not_hide);
    tcase_add_test(c, what_the_exchange_takes_of_the_cores);
    tcase_add_test(c, threads_without_a_slot);
    tcase_add_test(c, what_the_settings_change);
    tcase_add_test(c, one_machine_exchanges_nothing);
    tcase_add_test(c, ranks_of_a_machine_share_its_link);
    tcase_add_test(c, more_machines_and_a_faster_network_are_no_slower);
    tcase_add_test(c, bad_input_is_refused);
    suite_add_tcase(s, c);
    return test_run(s);
}
