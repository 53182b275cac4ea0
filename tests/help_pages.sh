#!/bin/bash
# What the program makes from its option tables: the command reference, manual pages, completion.
#   help_pages.sh reference|man|bash|zsh ZVIT SOURCE_FOLDER
# Exit code 77: the tool that judges it is not installed.
set -eu
LC_ALL=C.UTF-8
export LC_ALL
part=$1 zvit=$(realpath "$2") source=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failed=0
fail() {
    echo "help_pages.sh: $*" >&2
    failed=1
}

verbs() {
    # As zvit --help lists them.
    "$zvit" --help | sed -n 's/^  zvit \([a-z][a-z0-9]*\) .*/\1/p' | sort -u
}

reference() {
    "$zvit" help --markdown >"$scratch/commands.md"
    cmp "$scratch/commands.md" "$source/docs/commands.md" ||
        fail "docs/commands.md is not what the tables say; run: zvit help --markdown >docs/commands.md"
    for verb in $(verbs); do
        grep -q "^## zvit $verb\$" "$scratch/commands.md" || fail "no $verb in docs/commands.md"
    done
    # Every flag that --help shows is in the reference and in the manual page.
    for verb in $(verbs); do
        "$zvit" help --markdown "$verb" >"$scratch/part"
        "$zvit" help --man "$verb" | sed 's/\\-/-/g' >"$scratch/page"
        "$zvit" "$verb" --help | sed -n 's/^  \(-.,\|   \) \(--[^ ]*\).*/\2/p' | sort -u >"$scratch/flags"
        [ -s "$scratch/flags" ] || fail "$verb --help shows no flags"
        for form in part page; do
            grep -oE -- '--(\[no-\])?[a-z0-9-]+' "$scratch/$form" | sort -u | comm -23 "$scratch/flags" - >"$scratch/lost"
            [ ! -s "$scratch/lost" ] || fail "$verb: not in its $form: $(tr '\n' ' ' <"$scratch/lost")"
        done
    done
}

man_pages() {
    command -v groff >/dev/null || exit 77
    for verb in "" $(verbs); do
        page=$scratch/zvit${verb:+-$verb}.1
        "$zvit" help --man $verb >"$page"
        groff -k -man -ww -z -Tutf8 "$page" 2>"$scratch/warnings" || fail "$page: groff refuses it"
        [ ! -s "$scratch/warnings" ] || fail "$(cat "$scratch/warnings")"
        if command -v man >/dev/null; then
            MANPAGER=cat MANWIDTH=80 LC_ALL=C.UTF-8 man --warnings=w -l "$page" >"$scratch/text" 2>"$scratch/warnings" ||
                fail "$page: man refuses it"
            [ ! -s "$scratch/warnings" ] || fail "$(cat "$scratch/warnings")"
            # A minimal system's man may be a stub that says so.
            grep -q "minimized" "$scratch/text" || grep -q "^EXIT STATUS" "$scratch/text" || fail "$page: cut short"
        fi
        # A package's index is made with lexgrog.
        if command -v lexgrog >/dev/null; then
            lexgrog "$page" >/dev/null || fail "$page: no name and description"
        fi
    done
}

# complete_is EXPECTED WORD...: the last word is completed.
complete_is() {
    expected=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _zvit 2>/dev/null
    printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ' | sed 's/^ *//; s/ *$//' >"$scratch/got"
    printf '%s' "$expected" >"$scratch/want"
    cmp -s "$scratch/got" "$scratch/want" || fail "$* completes to '$(cat "$scratch/got")', not '$expected'"
}

bash_completion() {
    "$zvit" completion bash >"$scratch/completion"
    bash -n "$scratch/completion"
    set +eu
    . "$scratch/completion"
    mkdir "$scratch/files"
    cd "$scratch/files" || exit 1
    mkdir photos "a folder"
    touch model.safetensors sheet.png table.csv notes.txt
    all="a folder model.safetensors notes.txt photos sheet.png table.csv"
    complete_is "train" zvit tr
    complete_is "--help" zvit --h
    complete_is "explain export" zvit ex
    complete_is "--early-stop --embed-dim --epochs" zvit train --e
    complete_is "--no-report" zvit train --no-rep
    complete_is "vit_micro_patch4_28 vit_mini_patch8_64" zvit train --model vit_mi
    complete_is "vit_micro_patch4_28 vit_mini_patch8_64" zvit train --model = vit_mi
    complete_is "adamw lamb lion sgd" zvit train --opt ""
    complete_is "default deit-tiny finetune large-batch small-data" zvit train --recipe ""
    complete_is "" zvit train --epochs ""
    complete_is "a folder photos" zvit train --out ""
    complete_is "a folder photos" zvit report ""
    complete_is "a folder photos sheet.png" zvit preview --out ""
    complete_is "a folder photos table.csv" zvit eval --results-file ""
    complete_is "a folder model.safetensors photos" zvit info ""
    complete_is "$all" zvit classify ""
    complete_is "$all" zvit train --epochs 3 ""
    complete_is "a folder" zvit train --quiet a
    complete_is "name natural notes.txt" zvit train --class-order n
    complete_is "attention gemm infer loader startup train" zvit bench ""
    complete_is "$all" zvit bench loader ""
    complete_is "bash zsh" zvit completion ""
    complete_is "check classify completion" zvit help c
    complete_is "" zvit nosuch ""
    # Every verb has flags.
    for verb in $(verbs); do
        complete_is "--help" zvit "$verb" --hel
    done
}

zsh_completion() {
    command -v zsh >/dev/null || exit 77
    "$zvit" completion zsh >"$scratch/_zvit"
    zsh -n "$scratch/_zvit" || fail "zsh does not read it"
    # As a user meets it: a shell in a terminal, in which TAB is pressed.
    cat >"$scratch/ask" <<'END'
zmodload zsh/zpty || exit 77
zpty shell zsh -f -i
text=
until_there() { # PATTERN: reads on until it has been printed, or a minute is over
    local line tries
    for ((tries = 0; tries < 600; tries++)); do
        while zpty -r -t shell line; do text+=$line; done
        [[ $text == ${~1} ]] && return
        sleep 0.1
    done
}
zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; zstyle ':completion:*' list-prompt ''; PS1='rea'dy'>'"
until_there '*ready>*'
text=
zpty -n -w shell $'zvit train --model zeros_sm_mini\t --opt ad\t'
until_there '*adamw*'
zpty -d shell
print -r -- $text
END
    (cd "$scratch" && touch file && zsh -f ./ask >"$scratch/answer") || {
        [ $? -eq 77 ] && return
        fail "zsh's terminal"
    }
    tr -d '\r' <"$scratch/answer" | grep -q "zeros_sm_mini_patch8_64.*adamw" ||
        fail "zsh completes to: $(cat -v "$scratch/answer")"
}

# What follows goes through them one by one.
[ "$(verbs | wc -l)" -ge 10 ] || fail "zvit --help: hardly a verb found"

case $part in
reference) reference ;;
man) man_pages ;;
bash) bash_completion ;;
zsh) zsh_completion ;;
*) fail "$part: no such part" ;;
esac
exit $failed
