// Asks libmtmd what a projector allocates: a question in JSON a line on stdin, the bytes of each
// device in JSON a line on stdout. `tests/oracle/projectors.py` writes the questions.
#include "clip-impl.h"
#include "clip.h"
#include "ggml-backend.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>
#include <vector>

using json = nlohmann::ordered_json;

namespace {

json answer(const json & question) {
    clip_context_params params{};
    params.use_gpu = question.at("gpu");
    params.flash_attn_type = question.at("flash_attention") ? CLIP_FLASH_ATTN_TYPE_ENABLED
                                                            : CLIP_FLASH_ATTN_TYPE_DISABLED;
    params.no_alloc = true;  // Files of a test are holes that nobody reads.
    const clip_init_result found = clip_init(question.at("path").get<std::string>().c_str(), params);
    if (!found.ctx_v) {
        return {{"error", "libmtmd refuses the file"}};
    }
    // Nothing was reserved at start, so that the buffers are made for this very picture.
    clip_image_f32_batch pictures;
    for (int index = 0; index < question.at("count").get<int>(); index++) {
        clip_image_f32 picture;
        picture.set_size({question.at("width").get<int>(), question.at("height").get<int>()}, false, false);
        pictures.entries.push_back(picture);
    }
    std::vector<float> embeddings;
    clip_encode_params encode;
    encode.imgs = &pictures;
    encode.out_embd = &embeddings;
    clip_encode(found.ctx_v, &encode);
    json sizes;
    for (const auto & [device, bytes] : clip_get_mem_usage(found.ctx_v)) {
        sizes[ggml_backend_dev_name(device)] = bytes;
    }
    clip_free(found.ctx_v);
    return {{"bytes", sizes}};
}

}  // namespace

int main() {
    ggml_backend_load_all();
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
