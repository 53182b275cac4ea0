/* The zvit command: one table of verbs. */
#include "tools/cmd.h"
#include "tools/help.h"
#include "train/comm.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const cli_verb verbs[] = {
    {.name = "train",
     .arguments = "DATA",
     .summary = "train a model on folders of pictures",
     .details =
         "Trains on DATA/train/CLASS/(...)/picture and, when DATA/val is there, measures on it "
         "after\n"
         "every epoch. The run folder receives best.safetensors, last.safetensors, log.csv, "
         "args.json,\n"
         "classes.txt and the files of zvit report. A setting comes from the command line, else "
         "from "
         "--config, else from the\n"
         "recipe, else from the model. SIGINT or SIGTERM: saves, then exits with 130 or 143.\n"
         "mpirun -n R zvit train ... trains with R processes, on one machine or several:\n"
         "docs/cluster.md.\n",
     .run = cmd_train,
     .ranks = true},
    {.name = "eval",
     .arguments = "MODEL... DATA",
     .summary = "measure models on folders of pictures",
     .details = "Measures MODEL (a .safetensors file or a run folder) on the pictures of "
                "DATA/val/CLASS/.\n"
                "Folders are matched with the model's classes by name. Several models are measured "
                "on the\n"
                "same pictures and shown side by side; they may differ in size and in the order of "
                "classes.\n"
                "balanced: mean recall of the classes; ECE: expected calibration error, 0 to 1.\n",
     .run = cmd_eval,
     .ranks = true},
    {.name = "classify",
     .arguments = "MODEL PATH...",
     .summary = "name what pictures show",
     .details =
         "Classifies pictures with MODEL (a .safetensors file or a run folder). A PATH is a "
         "picture, "
         "a\n"
         "folder (searched with its subfolders), - (a picture on standard input) or @LIST (a file "
         "with\n"
         "a path on each line, relative to the current folder; @-: the list on standard input). "
         "What\n"
         "cannot be read is reported, the others are still classified, and the exit code is 1. A\n"
         "picture's result is the same bits whatever the others are; one that comes alone is "
         "computed\n"
         "by all threads together and may differ from that in the seventh digit.\n",
     .run = cmd_classify},
    {.name = "check",
     .arguments = "DATA",
     .summary = "read every picture and report what is wrong",
     .details =
         "Reads every picture of DATA as training would: counts, sizes, formats, what cannot be "
         "read\n"
         "and why, names that say another format, files that are the same (also across train and "
         "val),\n"
         "classes with few pictures or none. The exit code is 1 when something must be put right:\n"
         "unreadable pictures, the same picture in two splits, classes that train does not have "
         "or\n"
         "that have no pictures.\n",
     .run = cmd_check},
    {.name = "preview",
     .arguments = "DATA --out PNG",
     .summary = "draw a sheet of pictures as training sees them",
     .details = "Draws some pictures of DATA, each with its class, as it is and as the network "
                "would get it\n"
                "in the first epochs of a training with the same flags (before mixup and CutMix, "
                "which blend\n"
                "pictures of a batch).\n",
     .run = cmd_preview},
    {.name = "explain",
     .arguments = "MODEL IMAGE --out PNG",
     .summary = "show what in a picture speaks for a class",
     .details = "Draws the picture beside a map of what each of its patches speaks for (orange) or "
                "against\n"
                "(violet) a class, in the model's eyes: see docs/explain.md. The model sees a crop "
                "of the\n"
                "picture, which is framed.\n",
     .run = cmd_explain},
    {.name = "report",
     .arguments = "RUN",
     .summary = "write a page about a training run",
     .details =
         "Writes RUN/report.html, one file that any browser opens without network: curves, "
         "confusion\n"
         "matrix, classes, mistakes with their pictures, calibration, samples, settings. Beside it "
         "the\n"
         "plots as PNG and SVG, eval.json and the tables as CSV. The best model is measured anew "
         "on\n"
         "the run's data; what is not there any more is left out, and the page says so.\n",
     .run = cmd_report},
    {.name = "export",
     .arguments = "MODEL --out DIR|FILE",
     .summary = "write a model for other programs",
     .details = "Writes one file with the weights, under timm's names, for other programs\n"
                "(docs/export.md has each). safetensors and timm: a plain state dict and the\n"
                "config as JSON; the folder of timm is one for\n"
                "timm.create_model('local-dir:DIR', pretrained=True). onnx: graph, weights, class\n"
                "names and preprocessing in one file, for onnxruntime and its like.\n",
     .run = cmd_export},
    {.name = "pack",
     .arguments = "DATA OUT.zpk",
     .summary = "put all pictures into one file, for fast reading",
     .details = "Writes one file with every picture of DATA, its class and split; train, eval and "
                "bench take\n"
                "it in DATA's place, with the same order and the same random draws. Without "
                "--short-side the\n"
                "pictures stay as they are. With it, larger ones are shrunk to that short side and "
                "stored as\n"
                "JPEGs of quality 95: they need less room and are decoded sooner, and are no "
                "longer the same\n"
                "pixels.\n",
     .run = cmd_pack},
    {.name = "serve",
     .arguments = "MODEL",
     .summary = "answer over HTTP: a web page, and JSON for programs",
     .details =
         "Serves MODEL (a .safetensors file or a run folder) on this machine: a page to drop "
         "pictures\n"
         "on at http://127.0.0.1:8080/, and POST /v1/classify, GET /v1/model, /healthz and "
         "/metrics "
         "for\n"
         "programs (docs/serve.md). The address is printed on standard output once the server is "
         "ready.\n"
         "SIGINT or SIGTERM: answers what came in, then exits with 0; a second one ends at once.\n",
     .run = cmd_serve},
    {.name = "info",
     .arguments = "[MODEL]",
     .summary = "describe a model, or this machine",
     .details =
         "With MODEL: its architecture, size, classes and preprocessing. Without: the processor, "
         "the\n"
         "BLAS library and the kernel it chose, and memory. With --plan: what training, eval and\n"
         "classify will take of memory with MODEL, or with the model that --model names.\n",
     .run = cmd_info},
    {.name = "bench",
     .arguments = "WHAT",
     .summary = "measure this machine",
     .details =
         "gemm: the rate of single-precision matrix products on the shapes of a model's training\n"
         "      step, single-threaded side by side in every thread; the share is of the rate of\n"
         "      1024 x 1024 x 1024 products measured the same way.\n"
         "train: training steps (forward, backward, update) on synthetic pictures; the share is "
         "of\n"
         "      what the rate of the model's products allows, counting a step as three forward\n"
         "      passes. The products are measured in turns with the steps.\n"
         "infer: forward passes of one picture, on which all threads work, and of a batch; the "
         "share\n"
         "      is of what the rate of the forward's products allows.\n"
         "attention: time and memory of one layer, forward and backward, of each kind of "
         "attention\n"
         "      with the model's width and heads, one picture on one thread; how the time grows "
         "with\n"
         "      the number of tokens, and the ratio to softmax attention.\n"
         "loader DATA: reading DATA/train/CLASS/pictures: decode, random crop to 224 x 224, "
         "mirror,\n"
         "      normalise; on one thread and on all, in pictures a second and a second of one\n"
         "      processor's time.\n"
         "startup: zvit classify of one 500 x 375 JPEG with a model of random weights, from the "
         "start\n"
         "      of the process to its answer.\n"
         "Figures are medians.\n",
     .run = cmd_bench,
     .word = cmd_bench_word},
    {.name = "plan",
     .arguments = "",
     .summary = "tell what a training on several machines would take",
     .details =
         "Predicts the time, the traffic and the memory of a training on --nodes machines, from "
         "the speed\n"
         "of one (--gflops, or --measure: steps on this machine) and of the network. The formula "
         "and\n"
         "what it assumes: docs/cluster.md. Nothing is read or written.\n",
     .run = cmd_plan},
    {.name = "help",
     .arguments = "[VERB]",
     .summary = "tell about zvit or a verb, also as a manual page",
     .details =
         "Prints what zvit VERB --help prints, or zvit --help without VERB; the verbs' tables of "
         "flags\n"
         "also make the manual pages (--man) and the command reference docs/commands.md "
         "(--markdown).\n",
     .run = cmd_help,
     .word = cli_verb_name},
    {.name = "completion",
     .arguments = "SHELL",
     .summary = "write what completes zvit's words in a shell",
     .details = "Writes a script that completes verbs, flags, their values and files; SHELL is "
                "bash or zsh.\n"
                "The installed package has both. By hand: source <(zvit completion bash) in "
                "~/.bashrc, or\n"
                "zvit completion zsh into a file _zvit in a folder of $fpath.\n",
     .run = cmd_completion,
     .word = cmd_completion_word},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

const cli_verb *cli_verb_at(size_t index) {
    return index < VERBS ? &verbs[index] : NULL;
}

const char *cli_verb_name(size_t index) {
    return index < VERBS ? verbs[index].name : NULL;
}

const cli_verb *cli_find_verb(const char *name) {
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

int cli_unknown_verb(const char *word) {
    const char *names[VERBS];
    for (size_t i = 0; i < VERBS; i++) {
        names[i] = verbs[i].name;
    }
    const char *nearest = cli_nearest(word, names, VERBS);
    fputs("zvit: '", stderr);
    cli_put(stderr, word);
    fprintf(stderr, "' is no verb of zvit");
    if (nearest != NULL) {
        fprintf(stderr, "; did you mean '%s'?", nearest);
    }
    fputs("\nTry 'zvit --help'.\n", stderr);
    return CLI_USAGE;
}

/* Whoever starts a program may have closed its standard streams; then the first file that it opens
 * takes their place, and results are written into it. What is put there instead can be neither read
 * (0) nor written to (1, 2), as if it were closed. A reader that goes away is no reason to be
 * killed: what is being written fails. */
static void guard_streams(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) {
            _exit(CLI_FAILED); /* and nobody to tell */
        }
    }
    signal(SIGPIPE, SIG_IGN);
}

/* Under a launcher that started several processes: only what works on its part of something. *code
 * is for those that end here: a rank that fails before rank 0 has printed would take it along. */
static bool may_run(const cli_verb *verb, int *code) {
    vit_comm_launch launch = vit_comm_look();
    if (verb->ranks || !launch.launched || launch.size < 2) {
        return true;
    }
    if (launch.rank == 0) {
        vit_fail(
            VIT_ERROR_ARGUMENT,
            "started as %zu ranks, each of which would do the same (expected one process; zvit "
            "train and zvit eval run as several)",
            launch.size);
        *code = cli_fail_usage(verb);
    }
    return false;
}

int main(int argc, char **argv) {
    static const cli_verb self = {.name = "", .arguments = "", .summary = "", .details = ""};
    guard_streams();
    if (argc < 2) {
        cli_print_usage(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("zvit %s\n", vit_version());
        return cli_finish(&self, CLI_DONE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_usage(stdout);
        return cli_finish(&self, CLI_DONE);
    }
    const cli_verb *verb = cli_find_verb(argv[1]);
    if (verb == NULL) {
        return cli_unknown_verb(argv[1]);
    }
    cli_verb called = *verb;
    called.log_json = cli_wants_log_json(argc - 2, argv + 2);
    int code = CLI_DONE;
    if (!may_run(&called, &code)) {
        return code;
    }
    return called.run(&called, argc - 2, argv + 2);
}
