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

def _python_wheels_impl(ctx):
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
