/* The completion of bash: needs bash 4 and nothing else. Each verb becomes a case that sets what
 * the flag before the cursor is completed with, and otherwise the verb's flags and arguments. */
#include "tools/completion.h"
#include "tools/help.h"

/* Ends a branch: which files may stand there. */
static void put_files(const cli_completion *paths) {
    switch (paths->kind) {
    case CLI_NO_PATH:
        break;
    case CLI_ANY_FILE:
        fputs(" files='*'", stdout);
        break;
    case CLI_FOLDER:
        fputs(" files=/", stdout);
        break;
    case CLI_FILE_LIKE:
        printf(" files='%s'", paths->pattern);
        break;
    }
    puts(" ;;");
}

static void put_flag_value(const vit_option *option, const void *target) {
    cli_flag_text text;
    cli_completion paths;
    const char *name, *help;
    if (option->type == VIT_OPT_BOOL) {
        return;
    }
    cli_flag_describe(option, target, &text);
    cli_complete_metavar(text.variable, &paths);
    printf("        --%s", option->name);
    if (option->letter != 0) {
        printf(" | -%c", option->letter);
    }
    printf(") value=yes");
    if (option->choices != NULL || option->names != NULL || *paths.words) {
        printf(" words='");
        for (size_t i = 0; option->choices != NULL && option->choices[i] != NULL; i++) {
            printf("%s ", option->choices[i]);
        }
        for (size_t i = 0; option->names != NULL && (name = option->names(i, &help)) != NULL; i++) {
            printf("%s ", name);
        }
        printf("%s'", paths.words);
    }
    put_files(&paths);
}

static void put_verb(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    cli_completion paths;
    const char *word;
    printf("    %s)\n        flags='", verb->name);
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            const vit_option *option = &groups[i].options[j];
            printf("--%s%s ", cli_is_negated(option, groups[i].target) ? "no-" : "", option->name);
        }
    }
    puts("'\n        case $previous in");
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            put_flag_value(&groups[i].options[j], groups[i].target);
        }
    }
    printf("        *)");
    if (verb->word != NULL) {
        /* Once one of the words stands there, what follows is a path. */
        printf(" first='");
        for (size_t i = 0; (word = verb->word(i)) != NULL; i++) {
            printf("%s ", word);
        }
        puts("' ;;");
    } else {
        cli_complete_metavar(verb->arguments, &paths);
        put_files(&paths);
    }
    puts("        esac\n        ;;");
}

int cli_complete_bash(void) {
    fputs("# bash completion for zvit, made by: zvit completion bash\n"
          "_zvit() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word\n"
          "    local verb=${COMP_WORDS[1]} flags= words= files= first= value= IFS=$' \\t\\n'\n"
          "    COMPREPLY=()\n"
          "    # --flag=value is three words to bash\n"
          "    if [[ $cur == = ]]; then\n"
          "        cur=\n"
          "    elif [[ $previous == = && $COMP_CWORD -ge 3 ]]; then\n"
          "        previous=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n"
          "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
          "        COMPREPLY=($(compgen -W '",
          stdout);
    const char *name;
    for (size_t i = 0; (name = cli_verb_name(i)) != NULL; i++) {
        printf("%s ", name);
    }
    puts("--help --version' -- \"$cur\"))\n"
         "        return\n"
         "    fi\n"
         "    case $verb in");
    int code = cli_describe_all(put_verb);
    puts("    *) return ;;\n"
         "    esac\n"
         "    if [[ -n $first ]]; then\n"
         "        words=$first\n"
         "        for word in \"${COMP_WORDS[@]:2:COMP_CWORD-2}\"; do\n"
         "            if [[ \" $first \" == *\" $word \"* ]]; then\n"
         "                words= files='*'\n"
         "            fi\n"
         "        done\n"
         "    fi\n"
         "    if [[ $cur == -* && -z $value ]]; then\n"
         "        words=$flags files=\n"
         "    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "    if [[ -n $files ]]; then\n"
         "        local IFS=$'\\n'\n"
         "        compopt -o filenames 2>/dev/null\n"
         "        case $files in\n"
         "        '*') COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
         "        /) COMPREPLY+=($(compgen -d -- \"$cur\")) ;;\n"
         "        *) COMPREPLY+=($(compgen -d -- \"$cur\") $(compgen -f -X \"!$files\" -- "
         "\"$cur\")) "
         ";;\n"
         "        esac\n"
         "    fi\n"
         "}\n"
         "complete -F _zvit zvit");
    return code;
}
