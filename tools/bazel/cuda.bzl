"""Kernels in .cu files, compiled by nvcc on any machine."""

# Ampere and Hopper as machine code; what comes later compiles the PTX of the last when it is loaded.
_TARGETS = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
]

def cuda_library(name, src, hdrs = [], deps = [], **kwargs):
    """One .cu file as a cc_library.

    hdrs: all headers of this repository that the file includes, directly or not: nvcc runs in a
    genrule, which hands it no headers of `deps`. Those it includes by their path from the root.
    """
    object = name + ".pic.o"
    native.genrule(
        name = name + "_object",
        srcs = [src] + hdrs,
        outs = [object],
        cmd = " ".join([
            "$(location @cuda_toolkit//:nvidia/cu13/bin/nvcc) -c $(location %s) -o $@" % src,
            "-std=c++17 -O3 -I. -Xcompiler=-fPIC,-Wall,-Wno-unknown-pragmas",
        ] + _TARGETS),
        message = "Compiling for GPUs:",
        tools = [
            "@cuda_toolkit//:nvidia/cu13/bin/nvcc",
            "@cuda_toolkit//:toolkit",
        ],
    )
    native.cc_library(
        name = name,
        srcs = [object],
        hdrs = hdrs,
        deps = deps + ["@cuda_toolkit//:headers"],
        **kwargs
    )
