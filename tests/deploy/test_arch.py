"""Which architecture a run is for, and what it makes of the workers' parameters. Nothing of AWS is asked."""

from deploying import arch, options
from deploying.options import host
from deploying.stack import Deployed
from deploying.trouble import Trouble

X86, ARM = "x86_64", "arm64"


def deployed(**parameters) -> Deployed:
    return Deployed("UPDATE_COMPLETE", parameters)


def of_run(*arguments, core=None) -> str:
    # No endpoint of this machine's settings.
    return arch.of_deployment(options.parse(["--endpoint-url", "", *arguments]), core)


def test_a_later_run_keeps_the_architecture_of_the_core(bench):
    there = deployed(FunctionArchitecture=X86)
    assert of_run() == ARM and of_run(core=there) == X86
    assert of_run("--arch", ARM, core=there) == ARM and of_run("--arch", X86) == X86
    assert of_run("--parameter", f"FunctionArchitecture={ARM}", core=there) == ARM
    # A core of before there was such a parameter.
    assert of_run(core=deployed()) == ARM
    on_emulator = options.parse(["--endpoint-url", "http://127.0.0.1:9"])
    assert arch.of_deployment(on_emulator, None) == host() and arch.of_deployment(on_emulator, there) == X86
    try:
        of_run("--arch", ARM, "--parameter", f"FunctionArchitecture={X86}")
    except Trouble as trouble:
        assert "leave out the second" in str(trouble), trouble
    else:
        raise AssertionError("two architectures were taken")


def test_new_workers_are_of_the_deployments_architecture(bench):
    assert arch.of_workers("ecs", X86, None, False) == {"Architecture": "X86_64"}
    for name, families in ((ARM, "c7g.*"), (X86, "c7i.*")):
        found = arch.of_workers("ec2", name, None, False)
        assert found["ImageId"].endswith(f"al2023-ami-kernel-default-{name}") and families in found["InstanceTypes"], found


def test_what_was_chosen_for_workers_stays(bench):
    there = deployed(Architecture="ARM64")
    assert arch.of_workers("ecs", X86, there, False) == {}, "the image may be another than the functions'"
    assert arch.of_workers("ecs", X86, there, True) == {"Architecture": "X86_64"}
    default = deployed(**arch.WORKERS["ec2"][ARM])
    assert arch.of_workers("ec2", X86, default, False) == arch.WORKERS["ec2"][X86]
    chosen = deployed(ImageId="/my/images/with-engines", InstanceTypes="c7i.large")
    for said in (False, True):
        assert arch.of_workers("ec2", X86, chosen, said) == {}
