use super::*;

#[test]
fn nothing_is_allowed_unless_it_is_listed() {
    let mut config = Config::default();
    assert!(!config.allows("rm"));
    config.allowed_programs = vec!["echo".into()];
    assert!(config.allows("echo") && !config.allows("/bin/echo") && !config.allows("rm"));
    config.allow_any_program = true;
    assert!(config.allows("rm"));
}

#[test]
fn senseless_settings_are_named() {
    let bad = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validated().unwrap_err().to_string()
    };
    assert!(bad(|c| c.slots = 0).contains("`slots`"));
    assert!(bad(|c| c.poll_wait_seconds = 60).contains("`poll_wait_seconds`"));
    assert!(bad(|c| c.pass_environment = vec!["AWS_SECRET_ACCESS_KEY".into()]).contains("AWS"));
    assert!(bad(|c| c.counter_seconds = 1).contains("`counter_seconds`"));
    assert!(bad(|c| c.gpus = vec!["0,1".into()]).contains("`gpus`"));
    assert!(bad(|c| c.gpus = vec!["0".into(), "0".into()]).contains("twice"));
    assert!(bad(|c| c.max_memory_mb = Some(0)).contains("`max_memory_mb`"));
    assert!(bad(|c| c.work_dir = "/dev/null/x".into()).contains("`work_dir`"));
    assert!(bad(|c| c.artifacts_url = Some("gs://x/y".into())).contains("`artifacts_url`"));
    assert!(bad(|c| c.store_patience_seconds = 0).contains("`store_patience_seconds`"));
    assert!(bad(|c| c.keep_job_days = Some(0)).contains("`keep_job_days`"));
    assert!(bad(|c| c.input_roots = vec!["/nowhere/at/all".into()]).contains("`input_roots`"));
    assert!(bad(|c| c.inputs_dir = "/nowhere/at/all".into()).contains("`inputs_dir`"));
}

#[test]
fn a_folder_of_inputs_that_holds_secrets_is_refused_but_for_development() {
    let folder = tempfile::tempdir().unwrap();
    let config = |inputs: &str, any| Config {
        work_dir: folder.path().join("jobs"),
        inputs_dir: folder.path().join(inputs),
        allow_any_program: any,
        ..Config::default()
    };
    std::fs::create_dir(folder.path().join("inputs")).unwrap();
    assert!(config("inputs", false).validated().is_ok());
    let refused = |config: Config| config.validated().unwrap_err().to_string();
    assert!(refused(config(".", false)).contains("`inputs_dir`"), "it holds `work_dir`");
    assert!(refused(config("/", false)).contains("`inputs_dir`"), "it holds everything");
    assert!(config(".", true).validated().is_ok());
}

#[test]
fn an_engine_that_is_not_listed_is_not_run() {
    let mut config = Config::default();
    assert!(config.runs("python"));
    config.engines = Some(vec!["lammps".to_owned()]);
    assert!(config.runs("lammps") && !config.runs("python"));
}
