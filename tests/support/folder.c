#include "folder.h"

#include "pictures.h"

char *folder;

void make_folder(void) {
    folder = temp_folder();
}

void remove_folder(void) {
    temp_folder_remove(folder);
    folder = NULL;
}
