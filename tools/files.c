#include "tools/files.h"

#include "data/folder.h"
#include "data/image.h"
#include "vit/file.h"

_Static_assert(CLI_MAX_PICTURE_BYTES == VIT_MAX_FILE_BYTES, "the library's own limit");

vit_status cli_content_read(cli_content *content, const char *path, size_t limit) {
    vit_bytes bytes = {.data = content->data, .size = content->size, .capacity = content->capacity};
    vit_status status = vit_file_read(path, limit, &bytes);
    *content = (cli_content){bytes.data, bytes.size, bytes.capacity};
    return status;
}

void cli_content_free(cli_content *content) {
    vit_bytes bytes = {.data = content->data};
    vit_bytes_free(&bytes);
    *content = (cli_content){0};
}

vit_status cli_write_new(const char *path, const void *bytes, size_t size, bool *taken) {
    vit_file_writer *writer = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_file_begin(path, &writer));
    VIT_TRY(vit_file_write(writer, bytes, size));
    status = vit_file_commit_new(writer, taken);
    writer = NULL;
cleanup:
    vit_file_abort(writer);
    return status;
}

vit_status cli_folder_make(const char *path) {
    return vit_folder_make(path);
}

vit_status cli_folder_flush(const char *path) {
    return vit_folder_flush(path);
}

void cli_announce(const char *path) {
    vit_sample_announce(&(vit_sample){.path = (char *)(uintptr_t)path});
}
