/* A folder of the test's or the suite's own, as a fixture. */
#ifndef VIT_TEST_FOLDER_H
#define VIT_TEST_FOLDER_H

/* Between these two; NULL beside. In an unchecked fixture it goes away even when a test fails. */
extern char *folder;
void make_folder(void);
void remove_folder(void);

#endif
