// The kernels' own sources, compiled for the emulation.
#include "offset/cuda/attention_kernels.cu"
#include "offset/cuda/draw_kernels.cu"
#include "offset/cuda/lora_kernels.cu"
#include "offset/cuda/row_kernels.cu"
