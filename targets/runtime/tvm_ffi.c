/* The model as a module of TVM-FFI (the package apache-tvm-ffi), for `tvm_ffi.load_module` in Python, C++ and Rust:
 *
 *     run(inputs..., outputs..., workspace)   DLPack tensors in the memory of the CPU, contiguous; none is copied
 *     workspace_size(sizes...)                bytes of the workspace, a tensor of uint8; without sizes the most
 *     manifest()                              JSON, with the shapes of inputs and outputs
 *
 * The shapes of the inputs tell the sizes that a model leaves to its runs.
 *
 * The types are those of tvm/ffi/c_api.h and dlpack.h, whose ABI is stable. Nothing is linked: who loads a module has
 * libtvm_ffi. */
#include "sparsec.h"

typedef struct ffi_any {
    int32_t type;
    uint32_t padding;
    union {
        int64_t number;
        const void *pointer;
    };
} ffi_any;

typedef struct ffi_object {
    uint64_t references;
    int32_t type;
    uint32_t padding;
    void (*deleter)(void *, int);
} ffi_object;

typedef struct ffi_bytes {
    const char *data;
    size_t size;
} ffi_bytes;

typedef struct dl_tensor {
    char *data;
    int32_t device, device_id, rank;
    uint8_t code, bits;
    uint16_t lanes;
    const int64_t *shape, *strides;
    uint64_t offset;
} dl_tensor;

enum { FFI_INT = 1, FFI_DL_TENSOR = 7, FFI_TENSOR = 70, DL_CPU = 1 };

extern void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count);
extern int TVMFFIStringFromByteArray(const ffi_bytes *text, ffi_any *result);
#pragma weak TVMFFIErrorSetRaisedFromCStrParts
#pragma weak TVMFFIStringFromByteArray

static int ffi_fail(const char *kind, const char *what, const char *name, const char *why) {
    const char *parts[] = {what, name, why};
    if (TVMFFIErrorSetRaisedFromCStrParts) TVMFFIErrorSetRaisedFromCStrParts(kind, parts, 3);
    return -1;
}

static const dl_tensor *ffi_tensor(const ffi_any *value) {
    if (value->type == FFI_DL_TENSOR) return value->pointer;
    if (value->type == FFI_TENSOR) return (const void *)((const char *)value->pointer + sizeof(ffi_object));
    return NULL;
}

static int64_t elements_of(const int64_t *shape, int32_t rank) {
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) count *= shape[i];
    return count;
}

/* DLPack's code of NumPy's dtype: int, uint, float, bfloat, bool. */
static uint8_t dl_code(const char *dtype) {
    if (dtype[0] == 'b') return dtype[1] == 'f' ? 4 : 6;
    return dtype[0] == 'f' ? 2 : dtype[0] == 'u';
}

static int is_contiguous(const dl_tensor *tensor) {
    int64_t stride = 1;
    for (int32_t i = tensor->rank - 1; tensor->strides && i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != stride) return 0;
        stride *= tensor->shape[i];
    }
    return 1;
}

static int is_for(const dl_tensor *tensor, const port *port, const int64_t *shape) {
    if (tensor->device != DL_CPU || tensor->lanes != 1 || tensor->rank != port->rank) return 0;
    for (int32_t i = 0; i < port->rank; i++)
        if (tensor->shape[i] != shape[i]) return 0;
    if (elements_of(shape, port->rank) == 0) return 1;
    return tensor->code == dl_code(port->dtype) && tensor->bits == 8 * port->item_bytes && is_contiguous(tensor);
}

typedef void dims_function(int32_t index, const int64_t *sizes, int64_t *dims);

/* The addresses of the tensors `values`, which fill `ports`, of the shapes that `dims` tells, if there are sizes. */
static int ffi_take(const ffi_any *values, const port *ports, int32_t count, const char *kind, void **pointers,
                    dims_function *dims, const int64_t *sizes) {
    for (int32_t i = 0; i < count; i++) {
        const dl_tensor *tensor = ffi_tensor(&values[i]);
        int64_t at_sizes[MOST_AXES];
        if (dims) dims(i, sizes, at_sizes);
        if (!tensor) return ffi_fail("TypeError", kind, ports[i].name, " is no tensor");
        if (!is_for(tensor, &ports[i], dims ? at_sizes : ports[i].shape))
            return ffi_fail("ValueError", kind, ports[i].name,
                            " needs a contiguous tensor on the CPU, of the dtype and shape that manifest() tells");
        pointers[i] = tensor->data + tensor->offset;
    }
    return 0;
}

#if SPARSEC_SIZES > 0
/* The sizes that the shapes of the inputs tell. */
static int ffi_sizes(const ffi_any *values, int64_t *sizes) {
    for (int32_t i = 0; i < SPARSEC_SIZES; i++) {
        const port *port = &input_ports[size_sources[i].input];
        const dl_tensor *tensor = ffi_tensor(&values[size_sources[i].input]);
        if (!tensor) return ffi_fail("TypeError", "input ", port->name, " is no tensor");
        if (tensor->rank != port->rank) return ffi_fail("ValueError", "input ", port->name, " has another rank");
        sizes[i] = tensor->shape[size_sources[i].axis];
    }
    return corner_of(sizes) ? 0 : ffi_fail("ValueError", MODEL(error)(SIZE_UNFIT), "", "");
}
#else
#define input_dims NULL
#define output_dims NULL
#endif

/* The workspace, which with sizes may be larger than need be. */
static int ffi_workspace(const ffi_any *value, const int64_t *sizes, void **workspace) {
    const dl_tensor *tensor = ffi_tensor(value);
    int64_t bytes = (int64_t)MODEL(workspace_size)();
    const port space = {"", "uint8", &bytes, 1, (size_t)bytes, 1};
#if SPARSEC_SIZES > 0
    bytes = (int64_t)MODEL(workspace_size_for)(sizes);
    if (tensor && tensor->rank == 1 && tensor->shape[0] > bytes) bytes = tensor->shape[0];
#else
    (void)tensor, (void)sizes;
#endif
    return ffi_take(value, &space, 1, "the workspace, uint8[workspace_size()],", workspace, NULL, NULL);
}

PUBLIC int __tvm_ffi_run(void *self, const ffi_any *values, int32_t count, ffi_any *result) {
    void *inputs[SPARSEC_INPUTS + 1], *outputs[SPARSEC_OUTPUTS + 1], *workspace;
    int64_t sizes[SPARSEC_SIZES + 1];
    (void)self;
    if (count != SPARSEC_INPUTS + SPARSEC_OUTPUTS + 1)
        return ffi_fail("TypeError", "run takes the inputs, the outputs and a workspace", "", "");
#if SPARSEC_SIZES > 0
    if (ffi_sizes(values, sizes) != 0) return -1;
#endif
    if (ffi_take(values, input_ports, SPARSEC_INPUTS, "input ", inputs, input_dims, sizes) != 0) return -1;
    values += SPARSEC_INPUTS;
    if (ffi_take(values, output_ports, SPARSEC_OUTPUTS, "output ", outputs, output_dims, sizes) != 0) return -1;
    if (ffi_workspace(values + SPARSEC_OUTPUTS, sizes, &workspace) != 0) return -1;
#if SPARSEC_SIZES > 0
    int32_t code = MODEL(run_sized)(sizes, (const void *const *)inputs, outputs, workspace, NULL);
#else
    int32_t code = MODEL(run)((const void *const *)inputs, outputs, workspace);
#endif
    *result = (ffi_any){0};
    return code == OK ? 0 : ffi_fail("RuntimeError", MODEL(error)(code), "", "");
}

PUBLIC int __tvm_ffi_workspace_size(void *self, const ffi_any *values, int32_t count, ffi_any *result) {
    int64_t bytes = (int64_t)MODEL(workspace_size)();
    (void)self, (void)values, (void)count;
#if SPARSEC_SIZES > 0
    int64_t sizes[SPARSEC_SIZES];
    if (count == SPARSEC_SIZES) {
        for (int32_t i = 0; i < SPARSEC_SIZES; i++) {
            if (values[i].type != FFI_INT) return ffi_fail("TypeError", "sizes are numbers", "", "");
            sizes[i] = values[i].number;
        }
        if ((bytes = (int64_t)MODEL(workspace_size_for)(sizes)) == 0)
            return ffi_fail("ValueError", MODEL(error)(SIZE_UNFIT), "", "");
    }
#endif
    *result = (ffi_any){.type = FFI_INT, .number = bytes};
    return 0;
}

PUBLIC int __tvm_ffi_manifest(void *self, const ffi_any *values, int32_t count, ffi_any *result) {
    ffi_bytes text = {MODEL(_manifest), 0};
    (void)self, (void)values, (void)count;
    while (text.data[text.size]) text.size++;
    return TVMFFIStringFromByteArray ? TVMFFIStringFromByteArray(&text, result) : -1;
}
