"""C++ code from .proto files, made by the distribution's protoc."""

_GRPC_PLUGIN = "$$(command -v grpc_cpp_plugin)"

def cc_grpc_library(name, srcs, deps = [], services = False, **kwargs):
    """Messages, and with services = True gRPC stubs, of `srcs`.

    Imports are spelled from the root of the tree (`unlearn/v1/x.proto` lives in
    proto/, which protoc gets as its include path).
    """
    for src in srcs:
        if not src.endswith(".proto"):
            fail("%s: not a .proto file" % src)
    stems = [src[:-len(".proto")] for src in srcs]
    headers = [stem + ".pb.h" for stem in stems]
    sources = [stem + ".pb.cc" for stem in stems]
    plugin = ""
    if services:
        headers += [stem + ".grpc.pb.h" for stem in stems]
        sources += [stem + ".grpc.pb.cc" for stem in stems]
        plugin = " --plugin=protoc-gen-grpc=%s --grpc_out=$(RULEDIR)" % _GRPC_PLUGIN
    native.genrule(
        name = name + "_generated",
        srcs = srcs + [dep + "_sources" for dep in deps],
        outs = headers + sources,
        cmd = "protoc -Iproto --cpp_out=$(RULEDIR)" + plugin + "".join([
            " $(location %s)" % src
            for src in srcs
        ]),
        message = "Generating C++ from " + ", ".join(srcs),
    )
    native.filegroup(
        name = name + "_sources",
        srcs = srcs + [dep + "_sources" for dep in deps],
        visibility = ["//visibility:public"],
    )
    native.cc_library(
        name = name,
        srcs = sources,
        hdrs = headers,
        copts = ["-w"],
        includes = ["."],
        deps = deps + (["//tools/bazel:grpc"] if services else ["//tools/bazel:protobuf"]),
        **kwargs
    )
