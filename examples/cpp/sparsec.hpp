// Models compiled by sparsec as C++ objects (C++17, this header only).
//
//     #include "model.h"
//     #include "sparsec.hpp"
//
//     sparsec::Session session(SPARSEC_MODEL(model));
//     std::copy(pixels.begin(), pixels.end(), session.input<float>(0).begin());
//     session.run();
//     for (float y : session.output<float>(0)) ...
//
// A session owns the memory of one run: threads that run at the same time have one each. A model is a few pointers.
#ifndef SPARSEC_HPP
#define SPARSEC_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sparsec {

/* The queries of inputs or of outputs. */
struct Ports {
    std::int32_t (*count)();
    const char *(*name)(std::int32_t);
    const char *(*dtype)(std::int32_t);
    std::int32_t (*rank)(std::int32_t);
    const std::int64_t *(*shape)(std::int32_t);
    std::size_t (*bytes)(std::int32_t);
};

/* The functions of a compiled model; SPARSEC_MODEL(name) makes one. */
struct Model {
    std::int32_t (*run)(const void *const *, void *const *, void *, std::int32_t threads);
    std::size_t (*workspace_size)();
    const char *(*error)(std::int32_t);
    const char *(*manifest)();
    Ports inputs, outputs;
};

#define SPARSEC_PORTS(name, kind)                                                                                      \
    sparsec::Ports {                                                                                                   \
        name##_##kind##_count, name##_##kind##_name, name##_##kind##_dtype, name##_##kind##_rank,                      \
            name##_##kind##_shape, name##_##kind##_bytes                                                               \
    }

#define SPARSEC_MODEL(name)                                                                                            \
    sparsec::Model {                                                                                                   \
        [](const void *const *inputs, void *const *outputs, void *workspace, std::int32_t threads) {                   \
            name##_threads limit{nullptr, nullptr, threads};                                                           \
            return name##_run_with(inputs, outputs, workspace, &limit);                                                \
        },                                                                                                             \
            name##_workspace_size, name##_error, name##_manifest, SPARSEC_PORTS(name, input),                          \
            SPARSEC_PORTS(name, output)                                                                                \
    }

/* Elements in memory that a session owns. */
template <typename T> class View {
public:
    View(T *data, std::size_t size) : data_(data), size_(size) {}
    T *begin() const { return data_; }
    T *end() const { return data_ + size_; }
    T *data() const { return data_; }
    std::size_t size() const { return size_; }
    T &operator[](std::size_t index) const { return data_[index]; }

private:
    T *data_;
    std::size_t size_;
};

/* NumPy's name of a C++ type. */
template <typename T> std::string dtype_of() {
    if (std::is_same_v<T, bool>) return "bool";
    const char *kind = std::is_floating_point_v<T> ? "float" : std::is_unsigned_v<T> ? "uint" : "int";
    return kind + std::to_string(8 * sizeof(T));
}

class Session {
public:
    explicit Session(Model model)
        : model_(model), inputs_(buffers(model.inputs)), outputs_(buffers(model.outputs)),
          workspace_(allocate(model.workspace_size())) {}

    /* Runs on the session's own inputs and outputs. `threads` 0 is as many as the model was compiled for. */
    void run(std::int32_t threads = 0) {
        auto inputs = pointers(inputs_), outputs = pointers(outputs_);
        run(inputs.data(), outputs.data(), threads);
    }

    /* Runs on memory of the caller's, in the order of the ports; nothing is copied. */
    void run(const void *const *inputs, void *const *outputs, std::int32_t threads = 0) {
        std::int32_t code = model_.run(inputs, outputs, workspace_.get(), threads);
        if (code != 0) throw std::runtime_error(model_.error(code));
    }

    template <typename T> View<T> input(std::int32_t index) { return view<T>(model_.inputs, inputs_, index); }
    template <typename T> View<T> output(std::int32_t index) { return view<T>(model_.outputs, outputs_, index); }

    const Model &model() const { return model_; }

private:
    struct Free {
        void operator()(void *memory) const { ::operator delete(memory, std::align_val_t{64}); }
    };
    using Buffer = std::unique_ptr<void, Free>;

    static Buffer allocate(std::size_t bytes) { return Buffer(::operator new(bytes + 1, std::align_val_t{64})); }

    static std::vector<Buffer> buffers(const Ports &ports) {
        std::vector<Buffer> made;
        for (std::int32_t i = 0; i < ports.count(); i++) made.push_back(allocate(ports.bytes(i)));
        return made;
    }

    static std::vector<void *> pointers(const std::vector<Buffer> &buffers) {
        std::vector<void *> found;
        for (const Buffer &buffer : buffers) found.push_back(buffer.get());
        return found;
    }

    template <typename T> static View<T> view(const Ports &ports, std::vector<Buffer> &buffers, std::int32_t index) {
        Buffer &buffer = buffers.at(static_cast<std::size_t>(index));
        if (dtype_of<T>() != ports.dtype(index))
            throw std::invalid_argument(std::string(ports.name(index)) + " is " + ports.dtype(index));
        return View<T>(static_cast<T *>(buffer.get()), ports.bytes(index) / sizeof(T));
    }

    Model model_;
    std::vector<Buffer> inputs_, outputs_;
    Buffer workspace_;
};

} // namespace sparsec

#endif
