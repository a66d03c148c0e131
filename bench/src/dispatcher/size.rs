//! The zip that is uploaded.

use anyhow::{Context, Result, ensure};

use crate::process::function;
use crate::report::Figure;

const ZIP: &str = "import sys, zipfile
with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as out:
    out.write(sys.argv[1], 'bootstrap')";

pub(super) async fn measure() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let zip = folder.path().join("function.zip");
    let dispatcher = function("stageline-dispatcher")?;
    let status =
        tokio::process::Command::new("python3").args(["-c", ZIP]).args([&dispatcher, &zip]).status().await;
    ensure!(status.context("python3")?.success(), "the zip could not be made");
    Ok(vec![Figure::one("zip", "MB", zip.metadata()?.len() as f64 / 1e6).at_most(3.0)])
}
