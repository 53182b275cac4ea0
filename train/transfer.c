#include "train/transfer.h"

#define FIELD(member) offsetof(vit_transfer, member)

const vit_option vit_transfer_options[] = {
    {.name = "init",
     .type = VIT_OPT_STRING,
     .offset = FIELD(init),
     .count = sizeof((vit_transfer *)0)->init,
     .metavar = "FILE",
     .help = "start from the weights of a model file, or of a ViT or DeiT as timm saves it "
             "(.safetensors); --model says the shape"},
    {.name = "distill",
     .type = VIT_OPT_STRING,
     .offset = FIELD(distill),
     .count = sizeof((vit_transfer *)0)->distill,
     .metavar = "MODEL",
     .help = "also learn from the probabilities that this model gives the same pictures"},
    {.name = "distill-alpha",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(distill_alpha),
     .min = 0,
     .max = 1,
     .value = "0.5",
     .help = "share of the teacher in the loss; the rest is the labels'"},
    {.name = "distill-temperature",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(distill_temperature),
     .min = 0.1,
     .max = 100,
     .value = "2",
     .help = "divides the logits of teacher and student before they are compared"},
};
const size_t vit_transfer_option_count = sizeof vit_transfer_options / sizeof *vit_transfer_options;
