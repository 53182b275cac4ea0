#include "tools/run_report.h"

#include "tools/machine.h"

#include "eval/canvas.h"
#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/model_file.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 8, VERSIONS = 5 };

void cli_report_settings(vit_report *report, const vit_train_settings *settings,
                         const vit_option_group *groups, const vit_dataset *train,
                         vit_samples_config *samples) {
    report->architecture = settings->model.architecture;
    report->flops = vit_config_flops(&settings->model);
    report->epochs = settings->recipe.epochs;
    report->settings = groups;
    report->setting_groups = VIT_SETTING_GROUPS;
    report->decode = vit_data_decode(&settings->data);
    report->train = train;
    *samples = (vit_samples_config){
        .dataset = train,
        .pictures = SAMPLES,
        .versions = VERSIONS,
        .height = (size_t)settings->model.img_size[0],
        .width = (size_t)settings->model.img_size[1],
        .preprocess = settings->preprocess,
        .augment = settings->augment,
        .seed = settings->recipe.seed,
        .decode = report->decode,
        .skip = true,
    };
    report->samples = train ? samples : NULL;
}

vit_status cli_write_report(const vit_report *report, const char *path, const char *folder,
                            const char **left_out) {
    vit_status status = VIT_OK;
    *left_out = NULL;
    VIT_TRY(vit_report_write(report, path));
    if (report->outcome) {
        VIT_TRY(vit_outcome_write(report->outcome, folder));
    }
    if (vit_canvas_available()) {
        VIT_TRY(vit_report_plots(report, folder));
    } else {
        *left_out = "cairo is not there: no PNG and SVG files beside the report";
    }
cleanup:
    return status;
}

/* ---- while training ---- */

static vit_status write_machine(cli_train_report *r) {
    const cli_machine machine = cli_machine_look();
    char path[PATH_MAX];
    char *text = NULL;
    vit_status status = VIT_OK;
    r->machine = cli_machine_json(&machine);
    VIT_TRY(vit_path_join(path, sizeof path, r->run, "machine.json"));
    VIT_TRY(vit_json_print(r->machine, true, &text));
    VIT_TRY(vit_file_replace(path, text, strlen(text)));
cleanup:
    vit_free(text);
    return status;
}

/* Keeps what the best model said; the logits are those of the epoch that just ended. */
static vit_status keep_outcome(cli_train_report *r, const vit_train_look *look) {
    if (!look->row || !look->row->best || !look->logits) {
        return VIT_OK;
    }
    vit_outcome *outcome = NULL;
    vit_status status = vit_outcome_create(look->val, look->train->class_count,
                                           (const char *const *)look->train->class_names,
                                           look->logits, 5, &outcome);
    if (status == VIT_OK) {
        outcome->model = r->run;
        outcome->data = r->data;
        outcome->split = "val";
        vit_outcome_free(r->outcome);
        r->outcome = outcome;
        r->outcome_epoch = look->row->epoch;
    }
    return status;
}

/* At the end of a run that was taken up again after its best epoch, what the best model says is not
 * known yet. */
static vit_status measure_best(cli_train_report *r, const vit_train_look *look) {
    vit_model_bundle *bundle = NULL;
    float *logits = NULL;
    vit_eval_result result;
    vit_status status = VIT_OK;
    if (!look->val || !look->evaluator || r->outcome_epoch == look->best_epoch) {
        return VIT_OK;
    }
    VIT_TRY(vit_model_bundle_load(r->run, &bundle));
    VIT_TRY(vit_evaluator_logits(look->evaluator, &logits));
    VIT_TRY(vit_evaluate(look->evaluator, bundle->params, NULL, NULL, logits, &result));
    const vit_epoch_row row = {.epoch = look->best_epoch, .best = true};
    vit_train_look best = *look;
    best.row = &row;
    best.logits = logits;
    VIT_TRY(keep_outcome(r, &best));
cleanup:
    vit_free(logits);
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status write_now(cli_train_report *r, const vit_train_look *look) {
    char path[PATH_MAX];
    const char *left_out = NULL;
    vit_samples_config samples;
    vit_status status = VIT_OK;
    vit_train_settings settings = *look->settings; /* a group's target is not const */
    vit_option_group groups[VIT_SETTING_GROUPS];
    vit_train_setting_groups(&settings, r->sources, groups);
    vit_report report = {
        .run = r->run,
        .data = r->data,
        .parameters = (double)look->model->params.total,
        .val = look->val,
        .outcome = r->outcome,
        .outcome_epoch = r->outcome_epoch,
        .machine = r->machine,
        .running = look->row != NULL,
    };
    cli_report_settings(&report, &settings, groups, look->train, &samples);
    VIT_TRY(vit_path_join(path, sizeof path, r->run, "report.html"));
    if (look->row) {
        VIT_TRY(vit_report_write(&report, path));
    } else {
        VIT_TRY(cli_write_report(&report, path, r->run, &left_out));
    }
cleanup:
    return status;
}

/* At most a fiftieth of the time goes into the page. */
static bool is_due(const cli_train_report *r, const vit_train_look *look, double now) {
    return !look->row || r->written == 0 || r->cost <= (now - r->written) / 50;
}

void cli_train_report_look(cli_train_report *r, const vit_train_look *look) {
    double start = vit_seconds();
    vit_status status = VIT_OK;
    if (!r->machine) {
        VIT_TRY(write_machine(r));
    }
    VIT_TRY(keep_outcome(r, look));
    if (!look->row && !look->stopped) { /* who stops it does not want to wait */
        VIT_TRY(measure_best(r, look));
    }
    if (is_due(r, look, start)) {
        VIT_TRY(write_now(r, look));
        r->written = vit_seconds();
        r->cost = r->written - start;
    }
cleanup:
    if (status != VIT_OK && !(r->warned && look->row)) { /* once, and at the end */
        vit_fail_context(status, "the report is not written");
        cli_warn(r->verb, "%s", vit_last_error());
        r->warned = true;
    }
}

void cli_train_report_free(cli_train_report *r) {
    vit_outcome_free(r->outcome);
    vit_json_free(r->machine);
    r->outcome = NULL;
    r->machine = NULL;
}
