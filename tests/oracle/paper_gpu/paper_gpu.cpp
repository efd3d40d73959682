// A ggml backend that answers every question as ggml-cuda does (names, alignment, sizes, supported
// operations, fusions) and owns no memory, so that libllama computes what it would allocate on
// NVIDIA GPUs where there are none. Nothing is computed: results are zeros.
//
//   LD_PRELOAD=.../libggml-paper-gpu.so PAPER_GPU_MIB=24564,24564 PAPER_GPU_CC=890 llama-server ...
#include "stand_ins.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

#include "extract.inc"

const char * buffer_type_name(ggml_backend_buffer_type_t type) {
    return static_cast<ggml_backend_cuda_buffer_type_context *>(type->context)->name.c_str();
}

namespace {

// ---- buffers: addresses that nobody may touch

struct reservation {
    void * base;
    size_t bytes;
};

reservation * reserved(ggml_backend_buffer_t buffer) { return static_cast<reservation *>(buffer->context); }

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    const size_t length = bytes ? bytes : 4096;
    void * base = mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return nullptr;
    }
    ggml_backend_buffer_i calls{};
    calls.free_buffer = [](ggml_backend_buffer_t buffer) {
        munmap(reserved(buffer)->base, reserved(buffer)->bytes);
        delete reserved(buffer);
    };
    calls.get_base = [](ggml_backend_buffer_t buffer) { return reserved(buffer)->base; };
    calls.memset_tensor = [](ggml_backend_buffer_t, ggml_tensor *, uint8_t, size_t, size_t) {};
    calls.set_tensor = [](ggml_backend_buffer_t, ggml_tensor *, const void *, size_t, size_t) {};
    calls.get_tensor = [](ggml_backend_buffer_t, const ggml_tensor *, void * data, size_t, size_t size) {
        memset(data, 0, size);
    };
    calls.cpy_tensor = [](ggml_backend_buffer_t, const ggml_tensor *, ggml_tensor *) { return true; };
    calls.clear = [](ggml_backend_buffer_t, uint8_t) {};
    return ggml_backend_buffer_init(type, calls, new reservation{base, length}, bytes);
}

// ggml-cuda.cu `ggml_backend_cuda_buffer_type_get_alloc_size`.
size_t allocated_bytes(ggml_backend_buffer_type_t type, const ggml_tensor * tensor) {
    const int device = static_cast<ggml_backend_cuda_buffer_type_context *>(type->context)->device;
    size_t bytes = tensor->op == GGML_OP_FLASH_ATTN_EXT ? ggml_cuda_flash_attn_ext_get_alloc_size(device, tensor)
                                                        : ggml_nbytes(tensor);
    const int64_t beyond = tensor->ne[0] % MATRIX_ROW_PADDING;
    if (ggml_is_quantized(tensor->type) && beyond != 0) {
        bytes += ggml_row_size(tensor->type, MATRIX_ROW_PADDING - beyond);
    }
    return bytes;
}

// ---- the registry, filled once by ggml_backend_init

struct registry {
    ggml_backend_reg reg{};
    std::vector<ggml_backend_device> devices;
    std::vector<ggml_backend_buffer_type> buffer_types;
    ggml_backend_buffer_type host_buffer_type{};
};

registry & paper() {
    static registry instance;
    return instance;
}

ggml_backend_cuda_device_context * context_of(ggml_backend_dev_t device) {
    return static_cast<ggml_backend_cuda_device_context *>(device->context);
}

ggml_backend_buffer_t allocate_on_host(ggml_backend_buffer_type_t type, size_t bytes) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
    if (buffer) {
        buffer->buft = type;
    }
    return buffer;
}

// ---- a backend: takes every call, computes nothing

ggml_backend_i backend_calls() {
    ggml_backend_i calls{};
    calls.get_name = [](ggml_backend_t backend) { return context_of(backend->device)->name.c_str(); };
    calls.free = [](ggml_backend_t backend) {
        delete static_cast<ggml_backend_cuda_context *>(backend->context);
        delete backend;
    };
    calls.set_tensor_async = [](ggml_backend_t, ggml_tensor *, const void *, size_t, size_t) {};
    calls.get_tensor_async = [](ggml_backend_t, const ggml_tensor *, void * data, size_t, size_t size) {
        memset(data, 0, size);
    };
    calls.cpy_tensor_async = [](ggml_backend_t, ggml_backend_t, const ggml_tensor *, ggml_tensor *) { return true; };
    calls.synchronize = [](ggml_backend_t) {};
    calls.graph_compute = [](ggml_backend_t, ggml_cgraph *) { return GGML_STATUS_SUCCESS; };
    calls.event_record = [](ggml_backend_t, ggml_backend_event_t) {};
    calls.event_wait = [](ggml_backend_t, ggml_backend_event_t) {};
    calls.graph_optimize = ggml_backend_cuda_graph_optimize;
    return calls;
}

ggml_backend_t start_backend(ggml_backend_dev_t device, const char *) {
    static ggml_guid guid = {0x70, 0x61, 0x70, 0x65, 0x72, 0x20, 0x67, 0x70, 0x75, 0, 0, 0, 0, 0, 0, 1};
    return new ggml_backend{&guid, backend_calls(), device, new ggml_backend_cuda_context{context_of(device)->device}};
}

// ---- a device

void memory(ggml_backend_dev_t device, size_t * free, size_t * total) {
    *free = *total = context_of(device)->memory_bytes;
}

const char * device_name(ggml_backend_dev_t device) { return context_of(device)->name.c_str(); }
const char * device_description(ggml_backend_dev_t) { return "paper GPU"; }
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }

// ggml-cuda.cu `ggml_backend_cuda_device_get_props`.
void properties(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    *props = {};
    props->name = device_name(device);
    props->description = device_description(device);
    props->type = device_type(device);
    memory(device, &props->memory_free, &props->memory_total);
    props->caps.async = true;
    props->caps.host_buffer = true;
    props->caps.buffer_from_host_ptr = false;
    props->caps.events = true;
    props->caps.mmap_support = true;
}

ggml_backend_device_i device_calls() {
    ggml_backend_device_i calls{};
    calls.get_name = device_name;
    calls.get_description = device_description;
    calls.get_memory = memory;
    calls.get_type = device_type;
    calls.get_props = properties;
    calls.init_backend = start_backend;
    calls.get_buffer_type = [](ggml_backend_dev_t device) { return &paper().buffer_types[context_of(device)->device]; };
    calls.get_host_buffer_type = [](ggml_backend_dev_t) { return &paper().host_buffer_type; };
    calls.supports_op = ggml_backend_cuda_device_supports_op;
    calls.supports_buft = [](ggml_backend_dev_t device, ggml_backend_buffer_type_t type) {
        return ggml_backend_buft_is_cuda(type) && type->device == device;
    };
    calls.offload_op = [](ggml_backend_dev_t device, const ggml_tensor * op) {
        return get_op_batch_size(op) >= context_of(device)->op_offload_min_batch_size;
    };
    calls.event_new = [](ggml_backend_dev_t device) { return new ggml_backend_event{device, nullptr}; };
    calls.event_free = [](ggml_backend_dev_t, ggml_backend_event_t event) { delete event; };
    calls.event_synchronize = [](ggml_backend_dev_t, ggml_backend_event_t) {};
    return calls;
}

std::vector<size_t> numbers_in(const char * name, const char * otherwise) {
    const char * text = getenv(name);
    std::vector<size_t> found;
    for (const char * at = text ? text : otherwise; at && *at;) {
        char * end = nullptr;
        found.push_back(strtoull(at, &end, 10));
        at = *end == ',' ? end + 1 : nullptr;
    }
    return found;
}

// MiB of the GPUs that this process may see; CUDA_VISIBLE_DEVICES names them by number here.
std::vector<size_t> visible_mib() {
    const std::vector<size_t> all = numbers_in("PAPER_GPU_MIB", "81920");
    if (!getenv("CUDA_VISIBLE_DEVICES")) {
        return all;
    }
    std::vector<size_t> visible;
    for (const size_t index : numbers_in("CUDA_VISIBLE_DEVICES", "")) {
        if (index < all.size() && visible.size() < MAX_GPUS) {
            visible.push_back(all[index]);
        }
    }
    return visible;
}

void fill(registry & all) {
    all.reg.api_version = GGML_BACKEND_API_VERSION;
    all.reg.iface.get_name = [](ggml_backend_reg_t) { return "CUDA"; };
    all.reg.iface.get_device_count = [](ggml_backend_reg_t) { return paper().devices.size(); };
    all.reg.iface.get_device = [](ggml_backend_reg_t, size_t index) { return &paper().devices[index]; };
    all.reg.iface.get_proc_address = [](ggml_backend_reg_t, const char *) -> void * { return nullptr; };
    const std::vector<size_t> sizes = visible_mib();
    all.devices.resize(sizes.size());
    all.buffer_types.resize(sizes.size());
    for (size_t index = 0; index < sizes.size(); index++) {
        const int device = static_cast<int>(index);
        const std::string name = "CUDA" + std::to_string(index);
        auto * context = new ggml_backend_cuda_device_context{device, name, sizes[index] << 20};
        all.devices[index] = {device_calls(), &all.reg, context};
        ggml_backend_buffer_type & type = all.buffer_types[index];
        type.iface.get_name = buffer_type_name;
        type.iface.alloc_buffer = allocate;
        type.iface.get_alignment = [](ggml_backend_buffer_type_t) -> size_t { return 128; };
        type.iface.get_alloc_size = allocated_bytes;
        type.device = &all.devices[index];
        type.context = new ggml_backend_cuda_buffer_type_context{device, name};
    }
    const ggml_backend_buffer_type * cpu = ggml_backend_cpu_buffer_type();
    all.host_buffer_type.iface = cpu->iface;
    all.host_buffer_type.iface.get_name = [](ggml_backend_buffer_type_t) { return "CUDA_Host"; };
    all.host_buffer_type.iface.alloc_buffer = allocate_on_host;
    all.host_buffer_type.iface.get_max_size = nullptr;
    all.host_buffer_type.device = all.devices.empty() ? nullptr : &all.devices[0];
}

// Before main: a llama-server with a built-in backend looks for no others (GGML_BACKEND_PATH).
__attribute__((constructor)) void add_to_ggml() {
    if (const char * asked = getenv("PAPER_GPU_CC")) {
        compute_capability = atoi(asked);
    }
    fill(paper());
    ggml_backend_register(&paper().reg);
}

}  // namespace
