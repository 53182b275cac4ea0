#include "data/share.h"

vit_range vit_slot_range(size_t slots, size_t slot, size_t count) {
    return (vit_range){slot * count / slots, (slot + 1) * count / slots};
}

vit_range vit_share_range(const vit_share *share, size_t count) {
    if (share->ranks <= 1) {
        return (vit_range){0, count};
    }
    size_t each = share->slots / share->ranks, slot = share->rank * each;
    return (vit_range){vit_slot_range(share->slots, slot, count).first,
                       vit_slot_range(share->slots, slot + each, count).first};
}

vit_range vit_range_partners(vit_range range, size_t count) {
    return (vit_range){count - range.end, count - range.first};
}

size_t vit_share_most(const vit_share *share, size_t count, bool partners) {
    if (share->ranks <= 1) {
        return count;
    }
    size_t own = count / share->ranks + (count % share->ranks != 0);
    return !partners ? own : own < count - own ? 2 * own : count;
}

vit_range vit_share_of_list(size_t rank, size_t ranks, size_t count, size_t unit) {
    size_t units = count / unit + (count % unit != 0);
    size_t first = rank * units / ranks * unit, end = (rank + 1) * units / ranks * unit;
    return (vit_range){first < count ? first : count, end < count ? end : count};
}
