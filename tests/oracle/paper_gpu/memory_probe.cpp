// Asks libllama what it allocates: a question in JSON a line on stdin, the bytes of every buffer
// in JSON a line on stdout. `tests/oracle/probe.py` writes the questions.
#include "ggml-backend.h"
#include "llama-adapter.h"
#include "llama-context.h"
#include "llama-ext.h"
#include "llama.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

using json = nlohmann::ordered_json;

// libllama reads a mapped file ahead. The files of a test are holes of up to hundreds of gigabytes
// that nobody looks into, so these stand in front of the C library's own.
extern "C" void * mmap(void * address, size_t length, int protection, int flags, int file, off_t offset) {
    return reinterpret_cast<void *>(
        syscall(SYS_mmap, address, length, protection, flags & ~MAP_POPULATE, file, offset));
}

extern "C" void * mmap64(void * address, size_t length, int protection, int flags, int file, off64_t offset) {
    return mmap(address, length, protection, flags, file, offset);
}

extern "C" int posix_madvise(void *, size_t, int) { return 0; }

// libllama also clears the caches that it makes. These two keep a cache on the host a hole as well.
extern "C" void * ggml_aligned_malloc(size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void * found = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return found == MAP_FAILED ? nullptr : found;
}

extern "C" void ggml_aligned_free(void * address, size_t size) {
    if (address) {
        munmap(address, size);
    }
}

extern "C" void ggml_backend_buffer_clear(ggml_backend_buffer_t, uint8_t) {}

namespace {

std::string log_text;

void keep_log(ggml_log_level level, const char * text, void *) {
    if (level != GGML_LOG_LEVEL_DEBUG) {
        log_text += text;
    }
}

ggml_type type_named(const std::string & name) {
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        const char * known = ggml_type_name(static_cast<ggml_type>(type));
        if (known && name == known) {
            return static_cast<ggml_type>(type);
        }
    }
    throw std::invalid_argument("unknown type " + name);
}

ggml_backend_buffer_type_t buffer_type_of(const json & gpu) {
    if (gpu.is_null()) {
        return ggml_backend_cpu_buffer_type();
    }
    const std::string name = "CUDA" + std::to_string(gpu.get<int>());
    ggml_backend_dev_t device = ggml_backend_dev_by_name(name.c_str());
    if (!device) {
        throw std::invalid_argument("no device " + name);
    }
    return ggml_backend_dev_buffer_type(device);
}

// The parameters of a model, and what their pointers point to.
struct model_arguments {
    llama_model_params params = llama_model_default_params();
    std::vector<float> tensor_split;
    std::vector<std::string> patterns;
    std::vector<llama_model_tensor_buft_override> overrides;
};

void read_model_arguments(const json & question, bool real, model_arguments & result) {
    llama_model_params & params = result.params;
    params.no_alloc = !real;
    params.load_mtp = !question.at("next_tokens").is_null();
    params.load_mode = real ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    // Without a GPU a load would repack in RAM what it has mapped.
    params.use_extra_bufts = !real || question.at("gpus").get<bool>();
    params.n_gpu_layers = question.at("gpu_layers").get<int>();
    params.main_gpu = question.at("main_gpu").get<int>();
    params.split_mode = question.at("split_mode") == "none" ? LLAMA_SPLIT_MODE_NONE : LLAMA_SPLIT_MODE_LAYER;
    const auto split = question.at("tensor_split").get<std::vector<float>>();
    if (!split.empty()) {
        result.tensor_split.assign(llama_max_devices(), 0.0f);
        std::copy(split.begin(), split.end(), result.tensor_split.begin());
        params.tensor_split = result.tensor_split.data();
    }
    const json & overrides = question.at("overrides");
    if (!overrides.empty()) {
        for (const auto & [pattern, gpu] : overrides.items()) {
            result.patterns.push_back(pattern);
        }
        for (size_t index = 0; const auto & [pattern, gpu] : overrides.items()) {
            result.overrides.push_back({result.patterns[index++].c_str(), buffer_type_of(gpu)});
        }
        result.overrides.push_back({nullptr, nullptr});
        params.tensor_buft_overrides = result.overrides.data();
    }
}

llama_context_params context_params(const json & question) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = question.at("cells").get<uint32_t>();
    params.n_batch = question.at("batch").get<uint32_t>();
    params.n_ubatch = question.at("ubatch").get<uint32_t>();
    params.n_seq_max = question.at("slots").get<uint32_t>();
    params.n_outputs_max = question.at("output_rows").get<uint32_t>();
    params.kv_unified = question.at("unified").get<bool>();
    const std::string flash = question.at("flash_attention");
    params.flash_attn_type = flash == "on"    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                             : flash == "off" ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                              : LLAMA_FLASH_ATTN_TYPE_AUTO;
    params.type_k = type_named(question.at("type_k"));
    params.type_v = type_named(question.at("type_v"));
    params.swa_full = question.at("sliding_full").get<bool>();
    params.embeddings = question.at("embeds").get<bool>();
    params.offload_kqv = question.at("kv_on_gpu").get<bool>();
    params.op_offload = question.at("op_offload").get<bool>();
    if (!question.at("next_tokens").is_null()) {
        params.n_rs_seq = question.at("next_tokens").at("rollbacks").get<uint32_t>();
    }
    if (!question.at("pooling").is_null()) {
        params.pooling_type = static_cast<enum llama_pooling_type>(question.at("pooling").get<int>());
    }
    return params;
}

// Bytes of each buffer: model, context, compute.
using buffer_sizes = std::map<std::string, std::array<size_t, 3>>;

buffer_sizes sizes_of(const llama_context * context) {
    buffer_sizes sizes;
    for (const auto & [type, found] : llama_get_memory_breakdown(context)) {
        auto & size = sizes[ggml_backend_buft_name(type)];
        size[0] += found.model;
        size[1] += found.context;
        size[2] += found.compute;
    }
    return sizes;
}

std::string first_error() {
    std::smatch match;
    for (const char * words : {"error loading model[^\n]*", "failed to initialize[^\n]*", "failed[^\n]*"}) {
        if (std::regex_search(log_text, match, std::regex(words))) {
            return match[0].str();
        }
    }
    return "no message";
}

// Loads the adapters of a question and applies them, and counts their bytes with the weights.
void add_adapters(const json & question, llama_model * model, llama_context * context, buffer_sizes & sizes) {
    std::vector<llama_adapter_lora *> adapters;  // Freed with their model.
    for (const std::string path : question.at("adapters")) {
        adapters.push_back(llama_adapter_lora_init(model, path.c_str()));
        if (!adapters.back()) {
            throw std::runtime_error(first_error());
        }
    }
    if (adapters.empty()) {
        return;
    }
    std::vector<float> scales(adapters.size(), 1.0f);
    llama_set_adapters_lora(context, adapters.data(), adapters.size(), scales.data());
    context->sched_reserve();
    sizes = sizes_of(context);
    for (const llama_adapter_lora * adapter : adapters) {
        for (const auto & buffer : adapter->bufs) {
            sizes[ggml_backend_buffer_name(buffer.get())][0] += ggml_backend_buffer_get_size(buffer.get());
        }
    }
}

// The second context of a model that drafts with its own layers for next tokens, as
// common/speculative.cpp makes it; the weights are those of the model.
json next_tokens(const json & question, llama_model * model, llama_context * first) {
    const json & asked = question.at("next_tokens");
    if (asked.is_null()) {
        return nullptr;
    }
    llama_context_params params = context_params(question);
    params.ctx_type = LLAMA_CONTEXT_TYPE_MTP;
    params.n_ctx = llama_n_ctx(first);
    params.n_rs_seq = 0;
    params.n_outputs_max = params.n_seq_max;
    params.ctx_other = first;
    params.type_k = type_named(asked.at("type_k"));
    params.type_v = type_named(asked.at("type_v"));
    const std::unique_ptr<llama_context, decltype(&llama_free)> second(
        llama_init_from_model(model, params), llama_free);
    if (!second) {
        throw std::runtime_error(first_error());
    }
    buffer_sizes sizes = sizes_of(second.get());
    for (auto & [name, size] : sizes) {
        size[0] = 0;
    }
    return sizes;
}

json load(const json & question, bool real) {
    log_text.clear();
    model_arguments arguments;
    read_model_arguments(question, real, arguments);
    const std::string path = question.at("model");
    const std::unique_ptr<llama_model, decltype(&llama_model_free)> model(
        llama_model_load_from_file(path.c_str(), arguments.params), llama_model_free);
    if (!model) {
        return {{"error", first_error()}};
    }
    const std::unique_ptr<llama_context, decltype(&llama_free)> context(
        llama_init_from_model(model.get(), context_params(question)), llama_free);
    if (!context) {
        return {{"error", first_error()}};
    }
    buffer_sizes sizes = sizes_of(context.get());
    add_adapters(question, model.get(), context.get(), sizes);
    const json next = next_tokens(question, model.get(), context.get());
    std::smatch output;
    std::regex_search(log_text, output, std::regex("output buffer size = +([0-9.]+) MiB"));
    return {
        {"buffers", sizes},
        {"next", next},
        {"output_mib", output.empty() ? 0.0 : std::stod(output[1].str())},
        {"pipeline", log_text.find("pipeline parallelism enabled") != std::string::npos},
        {"flash_attention", log_text.find("Flash Attention not supported") == std::string::npos},
    };
}

// A load places activations as a running server does, and sizes buffers for prompts and for single
// tokens. A simulated one (`no_alloc`) does neither, but it alone can leave files unmapped.
json answer(const json & question) {
    json result = load(question, true);
    if (question.at("mmap").get<bool>() || result.contains("error")) {
        return result;
    }
    buffer_sizes sizes;
    for (const auto & [name, size] : result.at("buffers").get<buffer_sizes>()) {
        sizes[name] = {0, size[1], size[2]};
    }
    for (const auto & [name, size] : load(question, false).at("buffers").get<buffer_sizes>()) {
        sizes[name][0] = size[0];
    }
    result["buffers"] = sizes;
    return result;
}

}  // namespace

int main() {
    llama_log_set(keep_log, nullptr);
    ggml_backend_load_all();
    llama_backend_init();
    for (std::string line; std::getline(std::cin, line);) {
        json result;
        try {
            result = answer(json::parse(line));
        } catch (const std::exception & fault) {
            result = {{"error", fault.what()}};
        }
        std::cout << result.dump() << std::endl;
    }
    return 0;
}
