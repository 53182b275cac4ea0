#include "tools/signals.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void note_signal(int number) {
    caught = number;
    /* Any of them the second time takes its default course. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
}

void cli_signals_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

/* mpirun, or its daemon on this machine, is the parent. Nobody else's SIGCONT says anything. */
static void note_continue(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    if (info->si_code == SI_USER && info->si_pid == getppid() && caught == 0) {
        caught = SIGTERM;
    }
}

void cli_signals_expect_mpirun(void) {
    struct sigaction action;
    /* With this parameter it also sends SIGCONT when a suspended job is to go on. */
    if (!getenv("OMPI_COMM_WORLD_SIZE") || getenv("OMPI_MCA_orte_forward_job_control")) {
        return;
    }
    memset(&action, 0, sizeof action);
    action.sa_sigaction = note_continue;
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGCONT, &action, NULL);
}

int cli_signals_caught(void) {
    return caught;
}
