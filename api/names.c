/* What the library can be asked for before anything is opened. */
#include "vit/config.h"

const char *vit_architecture_name(size_t index) {
    return vit_config_preset_name(index);
}
