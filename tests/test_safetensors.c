/* safetensors against the format as its authors describe it, by files made here byte by byte, and
 * against files that another implementation wrote (golden). */
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/file.h"
#include "vit/json.h"
#include "vit/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- files in memory ---- */

typedef struct blob {
    unsigned char *data;
    size_t size;
} blob;

/* The 8 length bytes, the header, and data_size bytes 0, 1, 2, ...; exactly as large as it says,
 * so that ASan sees a read past its end. */
static blob make_blob(const char *header, size_t data_size) {
    uint64_t length = strlen(header);
    blob b = {.size = 8 + (size_t)length + data_size};
    b.data = malloc(b.size);
    memcpy(b.data, &length, 8);
    memcpy(b.data + 8, header, (size_t)length);
    for (size_t i = 0; i < data_size; i++) {
        b.data[8 + length + i] = (unsigned char)i;
    }
    return b;
}

static vit_status open_blob(blob b, vit_safetensors **file) {
    return vit_safetensors_open_memory(b.data, b.size, "some.safetensors", file);
}

static const char small_header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"a\":\"1\"},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[24,24]},"
    "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[24,25]}}   ";

START_TEST(reads_a_small_file) {
    blob b = make_blob(small_header, 25);
    vit_safetensors *file;
    ck_vit_ok(open_blob(b, &file));
    ck_assert_uint_eq(vit_safetensors_count(file), 3);
    const vit_tensor *w = vit_safetensors_find(file, "w");
    ck_assert_ptr_eq(w, vit_safetensors_at(file, 0));
    ck_assert_int_eq(w->dtype, VIT_F32);
    ck_assert_int_eq(w->ndim, 2);
    ck_assert_uint_eq(w->shape[0], 2);
    ck_assert_uint_eq(w->shape[1], 3);
    ck_assert_uint_eq(w->count, 6);
    ck_assert_ptr_eq(w->data, b.data + b.size - 25);
    const vit_tensor *scalar = vit_safetensors_find(file, "b");
    ck_assert_int_eq(scalar->ndim, 0);
    ck_assert_uint_eq(scalar->count, 1);
    ck_assert_ptr_eq(scalar->data, b.data + b.size - 1);
    ck_assert_uint_eq(vit_safetensors_find(file, "empty")->count, 0);
    ck_assert_ptr_null(vit_safetensors_find(file, "W"));
    ck_assert_ptr_null(vit_safetensors_find(file, "__metadata__"));
    ck_assert_ptr_null(vit_safetensors_at(file, 3));
    ck_assert_str_eq(vit_safetensors_metadata(file, "a"), "1");
    ck_assert_ptr_null(vit_safetensors_metadata(file, "absent"));
    vit_safetensors_close(file);
    free(b.data);
}
END_TEST

START_TEST(reads_no_tensors) {
    blob b = make_blob("{}", 0);
    vit_safetensors *file;
    ck_vit_ok(open_blob(b, &file));
    ck_assert_uint_eq(vit_safetensors_count(file), 0);
    ck_assert_ptr_null(vit_safetensors_find(file, "w"));
    ck_assert_ptr_null(vit_safetensors_metadata(file, "format"));
    vit_safetensors_close(file);
    free(b.data);
}
END_TEST

#define TENSOR(dtype, shape, offsets)                                                              \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                         \
    "{\"v\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first                               \
    "},\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

static const struct {
    const char *header;
    size_t data_size;
    vit_status status;
    const char *word; /* that the message must hold */
} malformed[] = {
    {"", 0, VIT_ERROR_FORMAT, "begin with '{'"},
    {" {}", 0, VIT_ERROR_FORMAT, "begin with '{'"},
    {"[]", 0, VIT_ERROR_FORMAT, "begin with '{'"},
    {"{", 0, VIT_ERROR_FORMAT, "not valid JSON"},
    {"{} x", 0, VIT_ERROR_FORMAT, "after the value"},
    {"{}", 1, VIT_ERROR_FORMAT, "1 bytes of data (expected 0"},
    {"{\"__metadata__\":[]}", 0, VIT_ERROR_FORMAT, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"epoch\":1}}", 0, VIT_ERROR_FORMAT, "metadata epoch is not a string"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, VIT_ERROR_FORMAT, "twice"},
    {"{\"w\":3}", 0, VIT_ERROR_FORMAT, "tensor w: its entry is not an object"},
    {"{\"w\":{}}", 0, VIT_ERROR_FORMAT, "tensor w: no \"dtype\""},
    {TENSOR("1", "[1]", "[0,4]"), 4, VIT_ERROR_FORMAT, "no \"dtype\""},
    {TENSOR("\"F8_E4M3\"", "[1]", "[0,1]"), 1, VIT_ERROR_UNSUPPORTED, "dtype F8_E4M3 (expected"},
    {TENSOR("\"f32\"", "[1]", "[0,4]"), 4, VIT_ERROR_UNSUPPORTED, "dtype f32"},
    {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, VIT_ERROR_FORMAT, "no \"shape\""},
    {TENSOR("\"F32\"", "1", "[0,4]"), 4, VIT_ERROR_FORMAT, "no \"shape\""},
    {TENSOR("\"F32\"", "[-1]", "[0,4]"), 4, VIT_ERROR_FORMAT, "dimension 0 of its shape is -1"},
    {TENSOR("\"F32\"", "[1,1.5]", "[0,4]"), 4, VIT_ERROR_FORMAT, "dimension 1 of its shape is 1.5"},
    {TENSOR("\"F32\"", "[\"1\"]", "[0,4]"), 4, VIT_ERROR_FORMAT, "dimension 0"},
    {TENSOR("\"F32\"", "[true]", "[0,4]"), 4, VIT_ERROR_FORMAT, "dimension 0"},
    {TENSOR("\"F32\"", "[1e300]", "[0,4]"), 4, VIT_ERROR_FORMAT, "dimension 0"},
    {TENSOR("\"F32\"", "[9007199254740992]", "[0,4]"), 4, VIT_ERROR_FORMAT, "2^53"},
    {TENSOR("\"F32\"", "[1e999]", "[0,4]"), 4, VIT_ERROR_FORMAT, "too large"},
    {TENSOR("\"F32\"", "[4503599627370496,4503599627370496]", "[0,4]"), 4, VIT_ERROR_LIMIT,
     "does not fit"},
    {TENSOR("\"F64\"", "[4503599627370496,1024]", "[0,8]"), 8, VIT_ERROR_LIMIT, "does not fit"},
    /* 2^32 * 2^32 wraps to 0 in 64 bits: must not pass for an empty tensor. */
    {TENSOR("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, VIT_ERROR_LIMIT, "does not fit"},
    {TENSOR("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, VIT_ERROR_UNSUPPORTED,
     "more dimensions than 8 (shape has 9)"},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "4"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0]"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0,4,8]"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "{\"a\":0,\"b\":4}"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0,\"4\"]"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[-4,0]"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0.5,4.5]"), 8, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0,18446744073709551620]"), 4, VIT_ERROR_FORMAT, "data_offsets"},
    {TENSOR("\"F32\"", "[1]", "[0,8]"), 4, VIT_ERROR_FORMAT,
     "outside of the data (expected 0 to 4"},
    {TENSOR("\"F32\"", "[1]", "[4,0]"), 4, VIT_ERROR_FORMAT, "outside of the data"},
    {TENSOR("\"F32\"", "[1]", "[9007199254740984,9007199254740988]"), 4, VIT_ERROR_FORMAT,
     "outside of the data"},
    {TENSOR("\"F32\"", "[1]", "[0,5]"), 5, VIT_ERROR_FORMAT, "hold 5 bytes (expected 4"},
    {TENSOR("\"F32\"", "[2]", "[0,4]"), 4, VIT_ERROR_FORMAT, "hold 4 bytes (expected 8"},
    {TENSOR("\"F32\"", "[0]", "[0,4]"), 4, VIT_ERROR_FORMAT, "hold 4 bytes (expected 0"},
    {TENSOR("\"F32\"", "[1]", "[4,8]"), 8, VIT_ERROR_FORMAT, "begins at 4 (expected 0"},
    {TENSOR("\"F32\"", "[1]", "[0,4]"), 5, VIT_ERROR_FORMAT, "5 bytes of data (expected 4"},
    {TWO("[0,4]", "[2,6]"), 6, VIT_ERROR_FORMAT, "tensor w: its data begins at 2 (expected 4"},
    {TWO("[0,4]", "[0,4]"), 4, VIT_ERROR_FORMAT, "begins at 0 (expected 4"},
    {TWO("[0,4]", "[5,9]"), 9, VIT_ERROR_FORMAT, "begins at 5 (expected 4"},
    {TWO("[0,4]", "[4,8]"), 7, VIT_ERROR_FORMAT, "cut short"},
    {"{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, VIT_ERROR_FORMAT, "\"w\" is there twice"},
    {"{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     VIT_ERROR_FORMAT, "\"dtype\" is there twice"},
    {"{\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
     "\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, VIT_ERROR_FORMAT, "tensor e: its data begins at 2 (expected 4"},
    /* A name from outside must not break the line that names it. */
    {"{\"a\\nb\\u001b[31m\":3}", 0, VIT_ERROR_FORMAT, "tensor a?b?[31m:"},
};

START_TEST(refuses_malformed) {
    blob b = make_blob(malformed[_i].header, malformed[_i].data_size);
    vit_safetensors *file = NULL;
    vit_status status = open_blob(b, &file);
    ck_assert_ptr_null(file);
    free(b.data);
    const char *message = vit_last_error();
    ck_assert_msg(status == malformed[_i].status, "%s: status %d, %s", malformed[_i].header,
                  (int)status, message);
    ck_assert_msg(strstr(message, malformed[_i].word), "%s: %s", malformed[_i].header, message);
    ck_assert_msg(strncmp(message, "some.safetensors: ", 18) == 0, "%s", message);
}
END_TEST

START_TEST(tensors_may_lie_in_any_order) {
    blob b = make_blob(TWO("[4,8]", "[0,4]"), 8);
    vit_safetensors *file;
    ck_vit_ok(open_blob(b, &file));
    ck_assert_str_eq(vit_safetensors_at(file, 0)->name, "v");
    ck_assert_int_eq(*(const unsigned char *)vit_safetensors_find(file, "v")->data, 4);
    ck_assert_int_eq(*(const unsigned char *)vit_safetensors_find(file, "w")->data, 0);
    vit_safetensors_close(file);
    free(b.data);
}
END_TEST

START_TEST(header_length_is_bounded) {
    vit_safetensors *file;
    unsigned char bytes[16] = {0};
    for (size_t size = 0; size < 8; size++) {
        ck_vit_fails(vit_safetensors_open_memory(bytes, size, "x", &file), VIT_ERROR_FORMAT,
                     "cut short");
    }
    uint64_t lengths[] = {VIT_SAFETENSORS_MAX_HEADER + 1u, 1ull << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < 4; i++) {
        memcpy(bytes, &lengths[i], 8);
        ck_vit_fails(vit_safetensors_open_memory(bytes, 16, "x", &file), VIT_ERROR_LIMIT,
                     "at most 100000000");
    }
    uint64_t length = 9;
    memcpy(bytes, &length, 8);
    ck_vit_fails(vit_safetensors_open_memory(bytes, 16, "x", &file), VIT_ERROR_FORMAT,
                 "header of 9 bytes, 8 are there");
}
END_TEST

START_TEST(truncation_at_every_length_is_an_error) {
    blob b = make_blob(small_header, 25);
    for (size_t size = 0; size < b.size; size++) {
        unsigned char *copy = malloc(size ? size : 1);
        memcpy(copy, b.data, size);
        vit_safetensors *file;
        vit_status status = vit_safetensors_open_memory(copy, size, "x", &file);
        ck_assert_msg(status == VIT_ERROR_FORMAT, "%zu bytes: status %d", size, (int)status);
        free(copy);
    }
    free(b.data);
}
END_TEST

/* Reads whatever opened, so that ASan sees every byte that the header claims. */
static double sum_everything(const vit_safetensors *file) {
    double sum = 0;
    for (size_t i = 0; i < vit_safetensors_count(file); i++) {
        const vit_tensor *tensor = vit_safetensors_at(file, i);
        float *values = malloc((tensor->count ? tensor->count : 1) * sizeof *values);
        vit_tensor_to_f32(tensor, values);
        for (size_t j = 0; j < tensor->count; j++) {
            sum += isfinite(values[j]) ? values[j] : 0;
        }
        free(values);
    }
    return sum;
}

START_TEST(flipped_bytes_never_crash) {
    blob b = make_blob(small_header, 25);
    size_t opened = 0;
    for (uint64_t trial = 0; trial < 4000; trial++) {
        vit_rng rng = vit_rng_make(1, 0, trial, VIT_RNG_TEST);
        unsigned char *copy = malloc(b.size);
        memcpy(copy, b.data, b.size);
        uint32_t flips = 1 + vit_rng_below(&rng, 3);
        for (uint32_t i = 0; i < flips; i++) {
            copy[vit_rng_below(&rng, (uint32_t)b.size)] ^= (unsigned char)(1u << (trial % 8));
        }
        vit_safetensors *file;
        if (vit_safetensors_open_memory(copy, b.size, "x", &file) == VIT_OK) {
            opened++;
            ck_assert(isfinite(sum_everything(file)));
            vit_safetensors_close(file);
        } else {
            ck_assert_ptr_null(file);
            ck_assert_uint_gt(strlen(vit_last_error()), 3);
        }
        free(copy);
    }
    /* Some flips hit data or metadata text and must open, most hit the header. */
    ck_assert_uint_gt(opened, 100);
    ck_assert_uint_lt(opened, 3000);
    free(b.data);
}
END_TEST

/* ---- conversion ---- */

START_TEST(converts_every_dtype) {
    static const double doubles[] = {0.1, -1e300, 0};
    static const float floats[] = {0.1f, -3e38f};
    static const double float_values[] = {(double)0.1f, (double)-3e38f};
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x3555, 0x0001, 0x03ff, 0x8000,
                                      0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x0400};
    static const double half_values[] = {1,       -2,       0x1.554p-2, 0x1p-24, 0x1.ff8p-15, -0.0,
                                         65504.0, INFINITY, -INFINITY,  NAN,     0x1p-14};
    static const uint16_t brains[] = {0x3f80, 0xc040, 0x7f80, 0x0001};
    static const double brain_values[] = {1, -3, INFINITY, 0x1p-133};
    static const int64_t longs[] = {-1, 16777217, INT64_MIN};
    static const double long_values[] = {-1, 16777217, -0x1p63};
    static const int32_t ints[] = {-5, 2147483647};
    static const double int_values[] = {-5, 2147483647};
    static const int16_t shorts[] = {-32768, 7};
    static const double short_values[] = {-32768, 7};
    static const int8_t chars[] = {-128, 127};
    static const double char_values[] = {-128, 127};
    static const uint8_t bytes[] = {0, 255};
    static const double byte_values[] = {0, 255};
    static const double bool_values[] = {0, 1};
    const struct {
        vit_dtype dtype;
        size_t count;
        const void *data;
        const double *expected;
    } rows[] = {{VIT_F32, 2, floats, float_values}, {VIT_F64, 3, doubles, doubles},
                {VIT_F16, 11, halves, half_values}, {VIT_BF16, 4, brains, brain_values},
                {VIT_I64, 3, longs, long_values},   {VIT_I32, 2, ints, int_values},
                {VIT_I16, 2, shorts, short_values}, {VIT_I8, 2, chars, char_values},
                {VIT_U8, 2, bytes, byte_values},    {VIT_BOOL, 2, bytes, bool_values}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        unsigned char unaligned[1 + 64];
        size_t size = rows[r].count * vit_dtype_size(rows[r].dtype);
        memcpy(unaligned + 1, rows[r].data, size);
        vit_tensor tensor = {
            .name = "t", .dtype = rows[r].dtype, .count = rows[r].count, .data = unaligned + 1};
        float narrow[16];
        vit_tensor_to_f32(&tensor, narrow);
        for (size_t i = 0; i < rows[r].count; i++) {
            double expected = rows[r].expected[i];
            float rounded = (float)expected;
            ck_assert_msg(isnan(expected) ? isnan(narrow[i])
                                          : memcmp(&narrow[i], &rounded, sizeof rounded) == 0,
                          "%s %zu: %g", vit_dtype_name(rows[r].dtype), i, (double)narrow[i]);
        }
    }
}
END_TEST

/* ---- golden files: written by another implementation ---- */

START_TEST(golden_files_read_right) {
    vit_safetensors *file = golden_open("zeros_encoder.safetensors");
    ck_assert_str_eq(vit_safetensors_metadata(file, "heads"), "3");
    const vit_tensor *x = vit_safetensors_find(file, "x");
    const vit_tensor *y = vit_safetensors_find(file, "y");
    ck_assert_int_eq(x->dtype, VIT_F32);
    ck_assert_int_eq(y->dtype, VIT_F64);
    ck_assert_int_eq(x->ndim, 3);
    ck_assert_uint_eq(x->count, y->count);
    ck_assert_ptr_nonnull(vit_safetensors_find(file, "param.prior_mu"));
    /* The grad of the output bias is the sum of the cotangent over images and tokens: only right
     * when names, offsets and types are. */
    size_t count, D = x->shape[2];
    float *cotangent = golden_f32(file, "grad_out", &count);
    double *grad = golden_f64(file, "grad.out_proj.bias", NULL);
    for (size_t j = 0; j < D; j++) {
        double sum = 0;
        for (size_t i = j; i < count; i += D) {
            sum += (double)cotangent[i];
        }
        ck_assert_double_eq_tol(sum, grad[j], 1e-9);
    }
    free(cotangent);
    free(grad);
    vit_safetensors_close(file);
}
END_TEST

/* ---- writing ---- */

static char path[1024];

static void setup(void) {
    make_folder();
    temp_path(path, folder, "out.safetensors");
}

static const float weights[] = {1.5f, -2, 0x1p-149f, 3e38f, 0, 6};
static const double moments[] = {0.1, 0.2};
static const uint8_t flags[] = {1, 2, 3};

static vit_status save_five(void) {
    vit_tensor tensors[] = {
        {.name = "blocks.0.w \"\\\n\xc3\xa9",
         .dtype = VIT_F32,
         .ndim = 2,
         .shape = {2, 3},
         .data = weights},
        {.name = "flags", .dtype = VIT_U8, .ndim = 1, .shape = {3}, .data = flags},
        {.name = "none", .dtype = VIT_F32, .ndim = 2, .shape = {4, 0}, .data = NULL},
        {.name = "scalar", .dtype = VIT_F64, .ndim = 0, .data = moments},
        {.name = "moments", .dtype = VIT_F64, .ndim = 1, .shape = {2}, .data = moments},
    };
    vit_metadata metadata[] = {{"format", "pt"}, {"config", "{\"a\": \"\\\"\x01\n\"}"}};
    return vit_safetensors_save(path, tensors, 5, metadata, 2);
}

START_TEST(writes_what_it_reads) {
    ck_vit_ok(save_five());
    ck_assert_uint_eq(count_entries(folder), 1);
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(path, &file));
    ck_assert_uint_eq(vit_safetensors_count(file), 5);
    const vit_tensor *w = vit_safetensors_find(file, "blocks.0.w \"\\\n\xc3\xa9");
    ck_assert_ptr_eq(w, vit_safetensors_at(file, 0));
    ck_assert_mem_eq(w->data, weights, sizeof weights);
    ck_assert_uint_eq(w->shape[1], 3);
    ck_assert_mem_eq(vit_safetensors_find(file, "flags")->data, flags, sizeof flags);
    ck_assert_mem_eq(vit_safetensors_find(file, "moments")->data, moments, sizeof moments);
    ck_assert_mem_eq(vit_safetensors_find(file, "scalar")->data, moments, sizeof *moments);
    ck_assert_int_eq(vit_safetensors_find(file, "scalar")->ndim, 0);
    ck_assert_uint_eq(vit_safetensors_find(file, "none")->shape[0], 4);
    ck_assert_str_eq(vit_safetensors_metadata(file, "config"), "{\"a\": \"\\\"\x01\n\"}");
    vit_safetensors_close(file);
}
END_TEST

/* Byte for byte as the format says, without our reader. */
START_TEST(writes_the_format) {
    vit_tensor tensor = {
        .name = "w", .dtype = VIT_F32, .ndim = 2, .shape = {2, 3}, .data = weights};
    vit_metadata metadata = {"k", "v"};
    ck_vit_ok(vit_safetensors_save(path, &tensor, 1, &metadata, 1));
    static const char header[] =
        "{\"__metadata__\":{\"k\":\"v\"},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
    size_t padded = (sizeof header - 1 + 7) / 8 * 8;
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, 1000, &bytes));
    ck_assert_uint_eq(bytes.size, 8 + padded + sizeof weights);
    for (size_t i = 0; i < 8; i++) {
        ck_assert_uint_eq(bytes.data[i], i == 0 ? padded : 0);
    }
    ck_assert_mem_eq(bytes.data + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++) {
        ck_assert_int_eq(bytes.data[8 + i], ' ');
    }
    ck_assert_mem_eq(bytes.data + 8 + padded, weights, sizeof weights);
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(refuses_to_write_nonsense) {
    vit_tensor good = {.name = "a", .dtype = VIT_U8, .ndim = 1, .shape = {3}, .data = flags};
    vit_tensor pair[2] = {good, good};
    vit_metadata keys[2] = {{"k", "1"}, {"k", "2"}};
    vit_metadata bad = {"k", "caf\xe9"};
    ck_vit_fails(vit_safetensors_save(path, pair, 2, NULL, 0), VIT_ERROR_ARGUMENT,
                 "tensor a is there twice");
    ck_vit_fails(vit_safetensors_save(path, &good, 1, keys, 2), VIT_ERROR_ARGUMENT,
                 "metadata k is there twice");
    ck_assert_int_eq(vit_safetensors_save(path, &good, 1, &bad, 1), VIT_ERROR_ARGUMENT);
    pair[0].name = "\xff";
    ck_assert_int_eq(vit_safetensors_save(path, pair, 2, NULL, 0), VIT_ERROR_ARGUMENT);
    pair[0].name = "__metadata__";
    ck_assert_int_eq(vit_safetensors_save(path, pair, 2, NULL, 0), VIT_ERROR_ARGUMENT);
    pair[0] = good;
    pair[0].ndim = 9;
    ck_assert_int_eq(vit_safetensors_save(path, pair, 1, NULL, 0), VIT_ERROR_ARGUMENT);
    pair[0] = good;
    pair[0].dtype = (vit_dtype)99;
    ck_assert_int_eq(vit_safetensors_save(path, pair, 1, NULL, 0), VIT_ERROR_ARGUMENT);
    pair[0] = good;
    pair[0].ndim = 2;
    pair[0].shape[0] = pair[0].shape[1] = (size_t)1 << 40;
    ck_assert_int_eq(vit_safetensors_save(path, pair, 1, NULL, 0), VIT_ERROR_LIMIT);
    ck_assert_uint_eq(count_entries(folder), 0);
}
END_TEST

START_TEST(a_missing_file_is_named) {
    vit_safetensors *file;
    ck_vit_fails(safetensors_load("/nowhere/model.safetensors", &file), VIT_ERROR_IO,
                 "/nowhere/model.safetensors: cannot open: No");
    ck_vit_fails(safetensors_load(folder, &file), VIT_ERROR_IO, "is a folder (expected a file)");
    ck_vit_ok(vit_file_replace(path, "", 0));
    ck_vit_fails(safetensors_load(path, &file), VIT_ERROR_FORMAT, "cut short: 0 bytes");
    ck_vit_ok(vit_file_replace(path, "\x89PNG\r\n\x1a\n....", 12));
    ck_vit_fails(safetensors_load(path, &file), VIT_ERROR_FORMAT, "is a picture (expected a model");
    ck_vit_ok(vit_file_replace(path, "\xff\xd8\xff\xe0....", 8));
    ck_vit_fails(safetensors_load(path, &file), VIT_ERROR_FORMAT, "is a picture (expected a model");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("safetensors");
    TCase *read = tcase_create("read");
    tcase_set_timeout(read, 60);
    tcase_add_test(read, reads_a_small_file);
    tcase_add_test(read, reads_no_tensors);
    tcase_add_loop_test(read, refuses_malformed, 0, sizeof malformed / sizeof *malformed);
    tcase_add_test(read, tensors_may_lie_in_any_order);
    tcase_add_test(read, header_length_is_bounded);
    tcase_add_test(read, truncation_at_every_length_is_an_error);
    tcase_add_test(read, flipped_bytes_never_crash);
    tcase_add_test(read, converts_every_dtype);
    tcase_add_test(read, golden_files_read_right);
    suite_add_tcase(s, read);
    TCase *write = tcase_create("write");
    tcase_add_checked_fixture(write, setup, remove_folder);
    tcase_add_test(write, writes_what_it_reads);
    tcase_add_test(write, writes_the_format);
    tcase_add_test(write, refuses_to_write_nonsense);
    tcase_add_test(write, a_missing_file_is_named);
    suite_add_tcase(s, write);
    return s;
}

int main(void) {
    return test_run(suite());
}
