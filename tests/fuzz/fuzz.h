/* Fuzzing: each fuzz_NAME.c is one libFuzzer target, and, linked with replay.c in place of
 * libFuzzer, a test that runs the seeds and every earlier finding. */
#ifndef ZVIT_FUZZ_H
#define ZVIT_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vit/zvit.h"

/* The target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as a file, for what reads files only. The path is valid until the next call in this
 * process; the file lies in memory and its name ends in suffix (".zpk"). */
const char *fuzz_file(const uint8_t *data, size_t size, const char *suffix);

/* Ends the process as a finding when the condition, which must hold for any input, does not. */
void fuzz_expect(bool condition, const char *what);

/* A failure must have left a message. */
void fuzz_expect_message(vit_status status);

#endif
