#include "tools/cmd.h"
#include "tools/completion.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    int (*print)(void);
} shells[] = {{"bash", cli_complete_bash}, {"zsh", cli_complete_zsh}};
enum { SHELLS = sizeof shells / sizeof *shells };

const char *cmd_completion_word(size_t index) {
    return index < SHELLS ? shells[index].name : NULL;
}

int cmd_completion(const cli_verb *verb, int argc, char **argv) {
    cli_common common;
    const vit_option_group groups[] = {cli_common_group(&common, false)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 1, argc, argv, &words, &code)) {
        return code;
    }
    for (size_t i = 0; i < SHELLS && words == 1; i++) {
        if (strcmp(argv[0], shells[i].name) == 0) {
            return cli_finish(verb, shells[i].print());
        }
    }
    if (words == 1) {
        vit_fail(VIT_ERROR_ARGUMENT, "%s: no shell that zvit knows (expected bash or zsh)",
                 argv[0]);
    } else {
        cli_wrong_arguments(words, "one: bash or zsh");
    }
    return cli_fail_usage(verb);
}
