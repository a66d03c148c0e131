//! Commands and parameters that would be more than they say.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::case::{Case, Ended};

pub fn cases(bench: &Bench) -> Vec<Case> {
    let place = bench.place();
    let pwned = place.join("outside/pwned");
    bench.input("in.run", "run 10\n");
    bench.input("case/system/controlDict", "application icoFoam;\nendTime 1;\ndeltaT 0.1;\n");
    bench.input("coded/system/controlDict", "application icoFoam;\n\
        endTime #codeStream { code #{ system(\"touch pwned\"); #}; };\n#include \"/etc/passwd\"\ndeltaT #calc \"0.1\";\n");
    bench.input("coded-steps/system/controlDict", "application \"sh -c id\";\n");
    bench.input("preload.so", "x");
    let command = |text: &str| json!({"command": text});
    let lammps =
        |name: &str, value: Value| json!({"engine": "lammps", "script": "in.run", "params": {name: value}});
    let foam = |steps: Value| json!({"engine": "openfoam", "script": "case", "params": {"steps": steps}});
    let image = |image: &str| json!({"engine": "container", "params": {"image": image}});
    let refused = |what, record, words| Case::new(what, record, "ENGINE_INPUT_INVALID", words);
    let not_allowed = |what, text: &str| Case::new(what, command(text), "COMMAND_NOT_ALLOWED", "allow");
    let env =
        |name: &str| json!({"engine": "container", "params": {"image": "python:3.12", "env": {name: "x"}}});
    let all_of_a_shell = "true ; touch PWN && touch PWN | touch PWN > PWN `touch PWN` $(touch PWN)";
    let all_of_a_shell = all_of_a_shell.replace("PWN", &pwned.to_string_lossy());
    let nothing = |_: &Ended| -> anyhow::Result<()> { Ok(()) };
    let untouched = move |ended: &Ended| {
        ensure!(!pwned.exists(), "it was run: {:#}", ended.record);
        nothing(ended)
    };
    let playing = |mut record: Value, output: &str| {
        bench.input("play/empty", output);
        bench.input("play/0", "0\n");
        record["inputs"] =
            json!([{"source": "play/empty", "path": "out"}, {"source": "play/0", "path": "code"}]);
        record
    };
    vec![
        not_allowed("a program that is not on the allow-list", "bash -c id"),
        not_allowed("the path of one that is", "/bin/sh -c id"),
        not_allowed("the same program by another way", "./../../../../bin/sh -c id"),
        not_allowed("a variable before the program", "LD_PRELOAD=./preload.so true"),
        not_allowed("`env` before the program", "env LD_PRELOAD=./preload.so true"),
        Case::new("a shell's own characters", command(&all_of_a_shell), "COMPLETED", "exitCode")
            .and(untouched),
        Case::new("an open quote", command("sh -c 'oops"), "COMMAND_INVALID", "quote"),
        Case::new("a NUL in an argument", command("true a\0b"), "COMMAND_INVALID", "NUL"),
        Case::new(
            "an `env` of the record with LD_PRELOAD",
            json!({"command": "sh -c 'test -z \"$LD_PRELOAD\"'", "env": {"LD_PRELOAD": "./preload.so"}, "environment": {"LD_PRELOAD": "./preload.so"}, "inputs": ["preload.so"]}),
            "COMPLETED",
            "exitCode",
        ),
        Case::new(
            "a look for the worker's credentials",
            command("sh -c 'env | grep -c ^AWS_'"),
            "EXIT_NON_ZERO",
            "exit code 1",
        ),
        Case::new(
            "a program of the inputs that is no program",
            json!({"command": "./tool", "inputs": [{"source": "preload.so", "path": "tool"}]}),
            "SPAWN_FAILED",
            "tool",
        ),
        refused(
            "a LAMMPS variable with commands in it",
            lammps("n", json!("1\nshell touch pwned")),
            "params.n",
        ),
        refused("a LAMMPS variable with a second word", lammps("n", json!("1 -in other")), "params.n"),
        refused("a LAMMPS variable that looks like an option", lammps("n", json!("-log")), "params.n"),
        refused("a LAMMPS variable with a variable in it", lammps("n", json!("${HOME}")), "params.n"),
        refused("a LAMMPS variable whose name is an option", lammps("-in", json!("x")), "params"),
        refused("a LAMMPS variable that is a list", lammps("n", json!([1])), "params.n"),
        refused(
            "a shell as step of an OpenFOAM case",
            foam(json!("blockMesh,sh")),
            "is no program of OpenFOAM",
        ),
        refused("a path as step", foam(json!(["../evil/Foam"])), "is no program of OpenFOAM"),
        refused("an option as step", foam(json!(["icoFoam", "-case=/"])), "is no program of OpenFOAM"),
        refused(
            "a parameter that OpenFOAM's engine has not got",
            json!({"engine": "openfoam", "script": "case", "params": {"application": "sh"}}),
            "params.application",
        ),
        refused(
            "a `controlDict` whose `application` is a command",
            json!({"engine": "openfoam", "script": "coded-steps"}),
            "application",
        ),
        Case::new(
            "a `controlDict` with `#codeStream`, `#include` and `#calc`, of which the worker runs none",
            playing(
                json!({"engine": "openfoam", "script": "coded", "params": {"steps": "icoFoam"}}),
                "Time = 0.1\nEnd\n",
            ),
            "COMPLETED",
            "lastTime",
        )
        .and(|ended| {
            ensure!(ended.stages.iter().all(|stage| stage.total_items.is_none()), "{:?}", ended.stages);
            Ok(())
        }),
        Case::new(
            "a Quantum ESPRESSO `outdir` outside, into which the worker writes nothing",
            outdir(bench),
            "SOFT_TIMED_OUT",
            "",
        )
        .and(untouched_outdir(bench)),
        refused("an image that is a flag", image("--privileged"), "image"),
        refused("an image with a flag behind it", image("python:3.12 --privileged"), "image"),
        refused("an image in capitals with a shell in it", image("Python;id"), "image"),
        Case::new(
            "an image that is not on the list",
            image("evil/python:3.12"),
            "IMAGE_NOT_ALLOWED",
            "evil/python:3.12",
        ),
        Case::new(
            "an image whose name only begins as one on the list",
            image("python:3.12-evil"),
            "IMAGE_NOT_ALLOWED",
            "python:3.12-evil",
        ),
        refused("a container's variable that is AWS's", env("AWS_ACCESS_KEY_ID"), "AWS_ACCESS_KEY_ID"),
        refused("a container's variable with an equals sign", env("A=B"), "A=B"),
        refused(
            "a container's `privileged`",
            json!({"engine": "container", "params": {"image": "python:3.12", "privileged": true}}),
            "privileged",
        ),
        refused(
            "a container's mount",
            json!({"engine": "container", "params": {"image": "python:3.12", "volumes": ["/:/host"]}}),
            "volumes",
        ),
    ]
}

fn outdir(bench: &Bench) -> Value {
    let outside = bench.place().join("outside/qe");
    std::fs::create_dir(&outside).unwrap();
    bench.input(
        "outdir.in",
        format!("&control\n calculation='scf'\n prefix='x'\n outdir='{}'\n/\n", outside.display()),
    );
    bench.input(
        "recordings/quantum-espresso/scf.out",
        include_str!("../../../worker/tests/recordings/quantum-espresso/scf.out"),
    );
    bench.input("play/0", "0\n");
    json!({"engine": "quantum-espresso", "script": "outdir.in", "softTimeoutSeconds": 1, "inputs": [
        {"source": "recordings/quantum-espresso/scf.out", "path": "out"}, {"source": "play/0", "path": "code"},
        {"source": "play/0", "path": "wait"}]})
}

fn untouched_outdir(bench: &Bench) -> impl Fn(&Ended) -> anyhow::Result<()> + 'static {
    let outside = bench.place().join("outside/qe");
    move |_| {
        ensure!(outside.read_dir()?.next().is_none(), "something was written into `outdir`");
        Ok(())
    }
}
