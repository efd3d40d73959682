// Prints what llama-server's parser understands of a command line, as JSON.
//
//     PROBE_GPUS=2 parser-probe --model m.gguf --ctx-size 4096 ...
//
// It is linked with the `common` library of the llama.cpp that is to judge, whatever its age: a
// field that this llama.cpp does not have is left out. The GPUs are names without memory, so that
// `--device` and `--override-tensor` find them.

#include "arg.h"
#include "common.h"
#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <ranges>
#include <string>
#include <type_traits>
#include <vector>

// Devices

struct paper_device {
    std::string name;
    ggml_backend_buffer_type buffer_type = {};
    ggml_backend_device device = {};
};

static const char * device_name(ggml_backend_dev_t device) {
    return static_cast<paper_device *>(device->context)->name.c_str();
}

static void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = *total = size_t(1) << 40;
}

static enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

static ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t device) {
    return &static_cast<paper_device *>(device->context)->buffer_type;
}

static const char * buffer_type_name(ggml_backend_buffer_type_t type) {
    return static_cast<paper_device *>(type->context)->name.c_str();
}

static const char * registry_name(ggml_backend_reg_t) {
    return "CUDA";
}

static size_t registry_count(ggml_backend_reg_t registry) {
    return static_cast<std::deque<paper_device> *>(registry->context)->size();
}

static ggml_backend_dev_t registry_device(ggml_backend_reg_t registry, size_t index) {
    return &(*static_cast<std::deque<paper_device> *>(registry->context))[index].device;
}

static void register_devices(int count) {
    static std::deque<paper_device> devices;
    static ggml_backend_reg registry = {};
    registry.api_version = GGML_BACKEND_API_VERSION;
    registry.context = &devices;
    registry.iface.get_name = registry_name;
    registry.iface.get_device_count = registry_count;
    registry.iface.get_device = registry_device;
    for (int index = 0; index < count; index++) {
        paper_device & added = devices.emplace_back();
        added.name = "CUDA" + std::to_string(index);
        added.device.reg = &registry;
        added.device.context = &added;
        added.device.iface.get_name = device_name;
        added.device.iface.get_description = device_name;
        added.device.iface.get_memory = device_memory;
        added.device.iface.get_type = device_type;
        added.device.iface.get_buffer_type = device_buffer_type;
        added.buffer_type.device = &added.device;
        added.buffer_type.context = &added;
        added.buffer_type.iface.get_name = buffer_type_name;
    }
    if (count > 0) {
        ggml_backend_register(&registry);
    }
}

// JSON

static std::string quoted(const std::string & text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        result += c;
    }
    return result + "\"";
}

static std::string json(const std::string & value) {
    return quoted(value);
}

static std::string json(bool value) {
    return value ? "true" : "false";
}

static std::string json(ggml_type value) {
    return quoted(ggml_type_name(value));
}

template <typename T>
    requires std::is_enum_v<T>
static std::string json(T value) {
    return std::to_string(static_cast<int>(value));
}

template <typename T>
    requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
static std::string json(T value) {
    return std::to_string(value);
}

template <typename T>
    requires(std::ranges::range<T> && !std::is_same_v<T, std::string>)
static std::string json(const T & values) {
    std::string result = "[";
    for (const auto & value : values) {
        result += (result.size() > 1 ? ", " : "") + json(value);
    }
    return result + "]";
}

static void print(const char * name, const std::string & value) {
    static bool first = true;
    printf("%s\"%s\": %s", first ? "" : ", ", name, value.c_str());
    first = false;
}

// A field under the name that it has in `common_params`, where it has one.
#define PRINT(field)                                                                               \
    if constexpr (requires { params.field; }) {                                                    \
        print(#field, json(params.field));                                                         \
    }

template <typename Params> static void print_parameters(const Params & params) {
    PRINT(n_ctx)
    PRINT(n_parallel)
    PRINT(n_batch)
    PRINT(n_ubatch)
    PRINT(n_gpu_layers)
    PRINT(split_mode)
    PRINT(main_gpu)
    PRINT(flash_attn)
    PRINT(flash_attn_type)
    PRINT(cache_type_k)
    PRINT(cache_type_v)
    PRINT(kv_unified)
    PRINT(swa_full)
    PRINT(no_kv_offload)
    PRINT(no_op_offload)
    PRINT(use_mmap)
    PRINT(use_mlock)
    PRINT(load_mode)
    PRINT(fit_params)
    PRINT(cache_ram_mib)
    PRINT(n_swa_checkpoints)
    PRINT(n_ctx_checkpoints)
    PRINT(embedding)
    PRINT(reranking)
    PRINT(pooling_type)
    PRINT(use_jinja)
    PRINT(warmup)
    PRINT(verbosity)
    PRINT(hostname)
    PRINT(hostnames)
    PRINT(port)
    PRINT(model_alias)
    if constexpr (requires { params.model.path; }) {
        print("model", json(params.model.path));
    } else {
        print("model", json(params.model));
    }
    std::vector<float> shares(params.tensor_split, params.tensor_split + llama_max_devices());
    while (!shares.empty() && shares.back() == 0.0f) {
        shares.pop_back();
    }
    print("tensor_split", json(shares));
    std::vector<std::string> devices;
    for (const ggml_backend_dev_t device : params.devices) {
        devices.push_back(device ? ggml_backend_dev_name(device) : "none");
    }
    print("devices", json(devices));
    if constexpr (requires { params.tensor_buft_overrides; }) {
        std::vector<std::string> overrides;
        for (const auto & rule : params.tensor_buft_overrides) {
            if (rule.pattern != nullptr) {
                overrides.push_back(
                    std::string(rule.pattern) + "=" + ggml_backend_buft_name(rule.buft));
            }
        }
        print("overrides", json(overrides));
    }
}

int main(int argc, char ** argv) {
    const char * gpus = std::getenv("PROBE_GPUS");
    register_devices(gpus ? std::atoi(gpus) : 0);
    common_params params;
    if (!common_params_parse(argc, argv, params, LLAMA_EXAMPLE_SERVER)) {
        return 1;
    }
    printf("{");
    print_parameters(params);
    printf("}\n");
    return 0;
}
