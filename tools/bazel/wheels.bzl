"""A repository made of hash-checked PyPI wheels."""

_PLATFORMS = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
]

def _unpack_wheels(ctx):
    """Downloads the wheels of ctx.attr.wheels and unpacks them into one tree."""
    requirements = "".join([
        "%s --hash=sha256:%s\n" % (pin, digest)
        for pin, digest in ctx.attr.wheels.items()
    ])
    ctx.file("requirements.txt", requirements)
    python = ctx.os.environ.get("UNLEARN_PYTHON", "python3")
    command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version=3.11", "--dest=wheels", "--requirement=requirements.txt"]
    for platform in _PLATFORMS:
        command.append("--platform=" + platform)
    ctx.report_progress("downloading " + ", ".join(ctx.attr.wheels.keys()))
    result = ctx.execute(command, timeout = 1800)
    if result.return_code:
        fail("could not download %s with pip (does %s have pip, and can it reach PyPI?):\n%s" %
             (", ".join(ctx.attr.wheels.keys()), python, result.stderr))
    for wheel in ctx.path("wheels").readdir():
        ctx.report_progress("unpacking " + wheel.basename)
        result = ctx.execute([python, "-m", "zipfile", "-e", str(wheel), "."], timeout = 600)
        if result.return_code:
            fail("could not unpack %s:\n%s" % (wheel.basename, result.stderr))
        ctx.delete(wheel)

def _python_wheels_impl(ctx):
    _unpack_wheels(ctx)
    for path in ctx.attr.remove:
        ctx.delete(path)
    ctx.file("BUILD", ctx.read(ctx.attr.build_file))

python_wheels = repository_rule(
    implementation = _python_wheels_impl,
    attrs = {
        "wheels": attr.string_dict(mandatory = True, doc = "name==version -> SHA-256 of the wheel"),
        "remove": attr.string_list(doc = "folders left out of the unpacked tree"),
        "build_file": attr.label(mandatory = True, allow_single_file = True),
    },
    environ = ["UNLEARN_PYTHON"],
)

def _cuda_toolkit_impl(ctx):
    # A toolkit of the same release that the machine has is as good, and nothing is downloaded.
    home = ctx.os.environ.get("UNLEARN_CUDA_HOME", "/usr/local/cuda")
    nvcc = ctx.path(home + "/bin/nvcc")
    local = home != "" and nvcc.exists and ctx.path(home + "/include/cuda_runtime.h").exists and \
            ctx.path(home + "/nvvm/bin/cicc").exists
    if local:
        local = ("release %s," % ctx.attr.release) in ctx.execute([nvcc, "--version"]).stdout
    if local:
        for part in ["bin", "include", "nvvm"]:
            ctx.symlink(home + "/" + part, "nvidia/cu13/" + part)
    else:
        _unpack_wheels(ctx)
        # The zip module forgets which files are programs.
        result = ctx.execute(["chmod", "-R", "u+x", "nvidia/cu13/bin", "nvidia/cu13/nvvm/bin"])
        if result.return_code:
            fail("could not make nvcc executable:\n" + result.stderr)
    ctx.file("BUILD", ctx.read(ctx.attr.build_file))

# nvcc and the headers that kernels need: from UNLEARN_CUDA_HOME (/usr/local/cuda where it is not
# set) if that is a CUDA toolkit of this release, else from wheels. Empty: always from wheels.
cuda_toolkit = repository_rule(
    implementation = _cuda_toolkit_impl,
    attrs = {
        "release": attr.string(mandatory = True, doc = "as `nvcc --version` prints it"),
        "wheels": attr.string_dict(mandatory = True, doc = "name==version -> SHA-256 of the wheel"),
        "build_file": attr.label(mandatory = True, allow_single_file = True),
    },
    environ = ["UNLEARN_CUDA_HOME", "UNLEARN_PYTHON"],
)
