// Runs the toy model, a module of TVM-FFI, on ones; prints the last number of its output.
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdio>
#include <vector>

static DLTensor tensor(std::vector<int64_t> &shape, void *data, DLDataType dtype) {
    return {data, {kDLCPU, 0}, static_cast<int32_t>(shape.size()), dtype, shape.data(), nullptr, 0};
}

int main(int, char **arguments) {
    namespace ffi = tvm::ffi;
    ffi::Module module = ffi::Module::LoadFromFile(arguments[1]);
    std::vector<int64_t> shape = {67, 50}, bytes = {module->GetFunction("workspace_size").value()().cast<int64_t>()};
    std::vector<float> x(67 * 50, 1), y(67 * 50);
    std::vector<char> workspace(static_cast<std::size_t>(bytes[0]));
    DLTensor input = tensor(shape, x.data(), {kDLFloat, 32, 1}), output = tensor(shape, y.data(), {kDLFloat, 32, 1});
    DLTensor space = tensor(bytes, workspace.data(), {kDLUInt, 8, 1});
    module->GetFunction("run").value()(&input, &output, &space);
    std::printf("%.9g\n", y.back());
}
