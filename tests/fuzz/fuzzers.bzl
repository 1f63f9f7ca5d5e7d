"""One fuzzer as two targets."""

def fuzzer(name, srcs, deps, data = []):
    """Makes NAME_fuzz, by libFuzzer, and NAME_corpus_test, which tries each file of corpus/NAME once.

    NAME_fuzz needs clang (`--config=fuzz`), so that `//...` leaves it out; `tools/test --fuzz` runs
    it. The test is built by any compiler and belongs to every run.

    Args:
      name: without _fuzz.
      srcs: define LLVMFuzzerTestOneInput.
      deps: must not lead to LibTorch; libraries_test sees to that.
      data: read at run time, by paths from the checkout's root.
    """
    native.cc_binary(
        name = name + "_fuzz",
        testonly = True,
        srcs = srcs,
        data = data,
        linkopts = ["-fsanitize=fuzzer"],
        tags = [
            "fuzz",
            "manual",
        ],
        deps = deps,
    )
    native.cc_test(
        name = name + "_corpus_test",
        srcs = srcs + ["replay_main.cc"],
        args = ["tests/fuzz/corpus/" + name],
        data = data + native.glob(["corpus/%s/**" % name]),
        deps = deps,
    )
