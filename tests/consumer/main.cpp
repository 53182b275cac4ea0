// The same as main.c in C++: handles owned by std::unique_ptr.
#include <zvit.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace {

void check(vit_status status) {
    if (status != VIT_OK) {
        throw std::runtime_error(vit_last_error());
    }
}

struct deleter {
    void operator()(vit_model *model) const { vit_model_close(model); }
    void operator()(vit_classifier *classifier) const { vit_classifier_free(classifier); }
};

template <typename T, typename Make> std::unique_ptr<T, deleter> made(Make make) {
    T *handle = nullptr;
    check(make(&handle));
    return std::unique_ptr<T, deleter>(handle);
}

void classify(const char *model_path, const char *picture) {
    auto model = made<vit_model>(
        [&](vit_model **out) { return vit_model_open(out, model_path, nullptr); });
    auto classifier = made<vit_classifier>(
        [&](vit_classifier **out) { return vit_classifier_create(out, model.get(), nullptr); });
    check(vit_classify_files(classifier.get(), &picture, 1));
    const vit_result *result = vit_classifier_get_result(classifier.get(), 0);
    if (result->status != VIT_OK) {
        throw std::runtime_error(result->message);
    }
    int best = result->top[0];
    std::printf("%s %.4f\n", vit_model_get_info(model.get())->class_names[best],
                static_cast<double>(result->probabilities[best]));
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: consumer MODEL PICTURE\n");
        return 2;
    }
    try {
        classify(argv[1], argv[2]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "consumer: %s\n", error.what());
        return 1;
    }
    return 0;
}
