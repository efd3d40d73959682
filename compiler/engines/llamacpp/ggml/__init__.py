"""A toy ggml: tensors, the scheduler, the allocator and CUDA's habits, without any data."""
