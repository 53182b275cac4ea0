/* A command line: words separated by zero bytes. */
#include "tests/fuzz/fuzz.h"

#include "train/recipe.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = 64 };

/* A value is printed as text that sets it again. */
static void expect_round_trip(const vit_option_group *group) {
    char text[8192], again[8192];
    for (size_t i = 0; i < group->count; i++) {
        const vit_option *option = &group->options[i];
        vit_option_format(option, group->target, text, sizeof text);
        if (*text == 0) {
            continue;
        }
        fuzz_expect(vit_option_set(group, i, text, "--", VIT_FROM_USER) == VIT_OK,
                    "a value that was set can be set again");
        vit_option_format(option, group->target, again, sizeof again);
        fuzz_expect(strcmp(text, again) == 0, "a value is read as it is printed");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = calloc(size + 1, 1), *words[WORDS];
    int count = 0, positional = 0;
    fuzz_expect(copy != NULL, "there is memory");
    memcpy(copy, data, size);
    for (size_t at = 0; at < size && count < WORDS; at += strlen(copy + at) + 1) {
        words[count++] = copy + at;
    }
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t group_count = vit_train_setting_groups(&settings, NULL, groups);
    for (size_t i = 0; i < group_count; i++) {
        vit_options_defaults(&groups[i]);
    }
    vit_status status = vit_options_parse(groups, group_count, count, words, &positional);
    fuzz_expect_message(status);
    fuzz_expect(positional >= 0 && positional <= count, "words are counted");
    if (status == VIT_OK) {
        for (size_t i = 0; i < group_count; i++) {
            expect_round_trip(&groups[i]);
        }
    }
    free(copy);
    return 0;
}
