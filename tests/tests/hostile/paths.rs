//! Paths that lead elsewhere, and inputs that are not what they were.

use std::os::unix::fs::symlink;

use anyhow::ensure;
use serde_json::json;
use stageline::Clock;

use crate::bench::Bench;
use crate::case::Case;

pub fn cases(bench: &Bench) -> Vec<Case> {
    let place = bench.place();
    std::fs::write(place.join("outside/secret"), "top-secret").unwrap();
    symlink(place.join("outside/secret"), place.join("inputs/link")).unwrap();
    symlink(place.join("outside"), place.join("inputs/folder-link")).unwrap();
    bench.input("cases/linked/system/controlDict", "application icoFoam;\n");
    symlink(place.join("outside/secret"), place.join("inputs/cases/linked/secret")).unwrap();
    bench.input("folder/file", "x");
    let vanishing = bench.input("vanishing", "x");
    let unsafe_path = |what, record| Case::new(what, record, "PATH_UNSAFE", "");
    let input = |path: &str| json!({"command": "cat x", "inputs": [{"source": path, "path": "x"}]});
    let soon = Clock::system().now().plus(std::time::Duration::from_secs(3));
    let secret = place.join("outside/secret");
    let folder_link = "cd .. && rm -rf \"$STAGELINE_JOB_DIR\" && ln -s OUT \"$STAGELINE_JOB_DIR\"; echo hello; echo >&2 x\n";
    let folder_link = folder_link.replace("OUT", &place.join("outside").to_string_lossy());
    vec![
        unsafe_path("a `script` that climbs", json!({"engine": "lammps", "script": "../outside/secret"})),
        unsafe_path("an absolute `script`", json!({"engine": "quantum-espresso", "script": "/etc/passwd"})),
        unsafe_path("an input that climbs", input("a/../../outside/secret")),
        unsafe_path("an absolute input", input("/etc/passwd")),
        unsafe_path("an input that is a link out of the inputs", input("link")),
        unsafe_path("an input below a folder that is such a link", input("folder-link/secret")),
        unsafe_path(
            "an OpenFOAM case with such a link in it",
            json!({"engine": "openfoam", "script": "cases/linked"}),
        ),
        unsafe_path("an input as `file://` elsewhere", input(&format!("file://{}", secret.display()))),
        unsafe_path(
            "an input as `file://` with `..`",
            input(&format!("file://{}/inputs/../outside/secret", place.display())),
        ),
        unsafe_path("an input from a bucket that is not allowed", input("s3://somebody/secret")),
        unsafe_path("an input from the metadata service", input("http://169.254.169.254/latest/meta-data/")),
        unsafe_path(
            "an input that would be put elsewhere",
            json!({"command": "true", "inputs": [{"source": "folder/file", "path": "../../x"}]}),
        ),
        unsafe_path("`outputs` that climb", json!({"command": "true", "outputs": ["../../*"]})),
        Case::new("an input that is a folder", input("folder"), "INPUT_MISSING", "is not a file"),
        Case::new(
            "an input that vanishes before its task begins",
            json!({"command": "true", "inputs": ["vanishing"], "notBefore": soon}),
            "INPUT_MISSING",
            "vanishing",
        )
        .vanishing(vanishing),
        Case::new(
            "inputs that are a file and a folder of one name",
            json!({"command": "true", "inputs": [{"source": "folder/file", "path": "a"}, {"source": "folder/file", "path": "a/b"}]}),
            "ENGINE_INPUT_INVALID",
            "",
        ),
        Case::new(
            "an input with another content than its `sha256`",
            json!({"command": "true", "inputs": [{"source": "folder/file", "sha256": "0".repeat(64)}]}),
            "INPUT_HASH_MISMATCH",
            "folder/file",
        ),
        Case::new(
            "an output that is a link to somebody's file",
            with_outputs(bench.script("output-link", &format!("ln -s {} kept\n", secret.display())), "kept"),
            "OUTPUT_MISSING",
            "kept",
        )
        .and(|ended| {
            ensure!(!ended.record.to_string().contains("top-secret"));
            Ok(())
        }),
        Case::new(
            "a log that became a link to somebody's file",
            bench.script(
                "log-link",
                &format!(
                    "rm -f stdout.log; ln -s {} stdout.log; echo hello\n",
                    place.join("outside/log").display()
                ),
            ),
            "COMPLETED",
            "exitCode",
        )
        .and(untouched(&place.join("outside/log"))),
        Case::new(
            "a job folder that became a link elsewhere",
            bench.script("folder-link", &folder_link),
            "COMPLETED",
            "exitCode",
        )
        .and(untouched(&place.join("outside/stdout.log"))),
        Case::new(
            "a checkpoint elsewhere",
            bench.script("checkpoint", "echo '::stageline {\"checkpoint\": \"../../../outside/secret\"}'\n"),
            "COMPLETED",
            "exitCode",
        ),
    ]
}

fn with_outputs(mut record: serde_json::Value, pattern: &str) -> serde_json::Value {
    record["outputs"] = json!([pattern]);
    record
}

/// Nothing was written there.
fn untouched(path: &std::path::Path) -> impl Fn(&crate::case::Ended) -> anyhow::Result<()> + 'static {
    let path = path.to_path_buf();
    move |_| {
        ensure!(!path.exists(), "{} was written", path.display());
        Ok(())
    }
}
