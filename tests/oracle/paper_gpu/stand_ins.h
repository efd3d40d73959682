// What the functions that extract.py takes out of ggml-cuda expect around them, answered for one
// kind of NVIDIA GPU. No CUDA is needed: they only decide, they launch nothing.
#pragma once

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-impl.h"
#include "ggml.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

// As an ordinary build of ggml-cuda defines them (ggml-cuda/common.cuh, ggml-cuda/CMakeLists.txt).
#define FLASH_ATTN_AVAILABLE
#define GGML_CUDA_USE_CUB
#define FATTN_KQ_STRIDE 256
#define MATRIX_ROW_PADDING 512
#define GGML_CUDA_CC_ADA_LOVELACE 890
#ifndef QK_K
#define QK_K 256
#endif

constexpr int MAX_GPUS = 16;

// Compute capability times 100, the same for every paper GPU of a process.
inline int compute_capability = 890;

struct stand_in_device {
    int cc;
};

struct stand_in_info {
    std::vector<stand_in_device> devices;
};

inline const stand_in_info & ggml_cuda_info() {
    static const stand_in_info info{std::vector<stand_in_device>(MAX_GPUS, stand_in_device{compute_capability})};
    return info;
}

inline int ggml_cuda_get_device() { return 0; }
inline bool turing_mma_available(int cc) { return cc >= 750; }
inline bool volta_mma_available(int cc) { return cc == 700; }
inline bool amd_mfma_available(int) { return false; }
inline bool amd_wmma_available(int) { return false; }

// ggml-cuda/fattn-mma-f16.cuh: the pairs of head sizes and columns with a kernel for sparse masks.
inline bool ggml_cuda_flash_attn_ext_mma_f16_may_use_sparse(int head_k, int head_v, int columns_1, int columns_2) {
    return (head_k == 512 && head_v == 512 && columns_1 == 1 && columns_2 == 8) ||
           (head_k == 576 && head_v == 512 && columns_1 == 1 && columns_2 == 16) ||
           (head_k == 256 && head_v == 256 && (columns_1 == 1 || columns_1 == 8) && columns_2 == 8);
}

// Decided by the values of the mask, which a paper GPU does not have.
inline bool ggml_cuda_flash_attn_ext_mma_f16_shall_use_sparse(int, const ggml_tensor *, int, int) { return false; }

// ggml-cuda/fwht.cu: a product with a Hadamard matrix has a kernel of its own.
inline bool ggml_cuda_op_mul_mat_use_fwht(const ggml_tensor * op) {
    const ggml_tensor * matrix = op->src[0];
    const ggml_tensor * rows = op->src[1];
    return op->op == GGML_OP_MUL_MAT && ggml_get_op_params_i32(op, 1) == GGML_HINT_SRC0_IS_HADAMARD &&
           matrix->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32 &&
           (rows->type == GGML_TYPE_F32 || rows->type == GGML_TYPE_F16) && ggml_is_contiguous(rows) &&
           ggml_is_contiguous(op) && ggml_are_same_shape(rows, op);
}

// ggml-cuda/fattn.cu: a build without GGML_CUDA_FA_ALL_QUANTS has vector kernels for these pairs.
using fattn_vec_case_t = const void *;
inline fattn_vec_case_t ggml_cuda_get_fattn_vec_case(int64_t, ggml_type type_k, ggml_type type_v) {
    static const char kernel = 0;
    const bool known = type_k == GGML_TYPE_F16 || type_k == GGML_TYPE_Q4_0 || type_k == GGML_TYPE_Q8_0 ||
                       type_k == GGML_TYPE_BF16;
    return known && type_k == type_v ? &kernel : nullptr;
}

struct ggml_backend_cuda_context {
    int device;
};

struct ggml_backend_cuda_device_context {
    int device;
    std::string name;
    size_t memory_bytes;
    int op_offload_min_batch_size = 32;  // GGML_OP_OFFLOAD_MIN_BATCH's default
};

struct ggml_backend_cuda_buffer_type_context {
    int device;
    std::string name;
};

const char * buffer_type_name(ggml_backend_buffer_type_t type);

inline bool ggml_backend_buft_is_cuda(ggml_backend_buffer_type_t type) {
    return type->iface.get_name == buffer_type_name;
}
