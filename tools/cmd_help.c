#include "tools/cmd.h"
#include "tools/help.h"

#include <stddef.h>

typedef struct help_flags {
    bool man, markdown;
} help_flags;

static const vit_option help_options[] = {
    {.name = "man",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(help_flags, man),
     .help = "as a manual page in roff: zvit.1, or zvit-VERB.1"},
    {.name = "markdown",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(help_flags, markdown),
     .help = "in Markdown: the command reference of all verbs, or the part of VERB"},
};

void cli_print_usage(FILE *stream) {
    fprintf(stream, "Usage: zvit VERB [FLAGS] ARGUMENTS\n%s\n\n", cli_about);
    const cli_verb *verb;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        char call[48];
        snprintf(call, sizeof call, "%s %s", verb->name, verb->arguments);
        fprintf(stream, "  zvit %-30s %s\n", call, verb->summary);
    }
    fprintf(stream,
            "\n  zvit VERB --help        every flag of a verb\n"
            "  zvit --version          the version\n\nExit codes: %s",
            cli_exit_codes);
}

/* Has a verb hand its tables to a describer, which prints them. Returns the exit code. */
static int describe(const cli_verb *verb, cli_describer *describer) {
    char flag[] = "--help";
    char *words[] = {flag, NULL};
    cli_verb described = *verb;
    described.describe = describer;
    return described.run(&described, 1, words);
}

int cli_describe_all(cli_describer *describer) {
    int code = CLI_DONE;
    const cli_verb *verb;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL && code == CLI_DONE; i++) {
        code = describe(verb, describer);
    }
    return code;
}

/* Of zvit as a whole. */
static int overview(const help_flags *flags) {
    if (flags->man) {
        cli_man_overview();
    } else if (flags->markdown) {
        cli_markdown_head();
        return cli_describe_all(cli_markdown_verb);
    } else {
        cli_print_usage(stdout);
    }
    return CLI_DONE;
}

int cmd_help(const cli_verb *verb, int argc, char **argv) {
    help_flags flags;
    cli_common common;
    const vit_option_group groups[] = {
        {"Form", help_options, sizeof help_options / sizeof *help_options, &flags, NULL},
        cli_common_group(&common, false)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    if (words > 1) {
        cli_wrong_arguments(words, "at most one: VERB");
        return cli_fail_usage(verb);
    }
    if (flags.man && flags.markdown) {
        vit_fail(VIT_ERROR_ARGUMENT, "--man and --markdown (expected one of them)");
        return cli_fail_usage(verb);
    }
    if (words == 0) {
        return cli_finish(verb, overview(&flags));
    }
    const cli_verb *subject = cli_find_verb(argv[0]);
    if (subject == NULL) {
        return cli_unknown_verb(argv[0]);
    }
    return describe(subject, flags.man ? cli_man_page : flags.markdown ? cli_markdown_verb : NULL);
}
