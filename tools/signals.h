/* SIGINT and SIGTERM ask a run to save and stop; so does SIGUSR1, which mpirun hands on without
 * killing anybody soon after, and which batch systems send before the time is up. */
#ifndef ZVIT_SIGNALS_H
#define ZVIT_SIGNALS_H

/* From now on the first of these signals only sets a flag; a second one ends the process at once.
 */
void cli_signals_catch(void);
/* Of a rank: Open MPI's mpirun, told to end, sends SIGCONT, a second later SIGTERM, and after
 * another second SIGKILL. From now on the first of these counts as the second already. */
void cli_signals_expect_mpirun(void);
/* The signal that came, or 0. */
int cli_signals_caught(void);

#endif
