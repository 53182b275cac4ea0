/* Lists of pictures (CSV), and the log of a run. */
#include "tests/fuzz/fuzz.h"

#include "data/folder.h"
#include "eval/run_log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_dataset *dataset = NULL;
    vit_status status =
        vit_dataset_open(fuzz_file(data, size, ".csv"), "train", NULL, 0, &dataset, NULL);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        fuzz_expect(dataset->count > 0 && dataset->class_count > 0, "a data set has pictures");
        for (size_t i = 0; i < dataset->count; i++) {
            fuzz_expect((size_t)dataset->samples[i].label < dataset->class_count,
                        "labels are classes");
        }
    }
    vit_dataset_free(dataset);

    char *text = calloc(size + 1, 1);
    fuzz_expect(text != NULL, "there is memory");
    memcpy(text, data, size);
    vit_run_log log = {0};
    fuzz_expect_message(vit_run_log_parse(text, "input", &log));
    vit_run_log_free(&log);
    free(text);
    return 0;
}
