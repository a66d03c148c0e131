//! The zip that is uploaded.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::process::function;
use crate::report::Figure;

const ZIP: &str = "import sys, zipfile
with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as out:
    out.write(sys.argv[1], 'bootstrap')";

pub(super) async fn measure() -> Result<Vec<Figure>> {
    Ok(vec![Figure::one("zip", "MB", zip_mb(&function("stageline-dispatcher")?).await?).at_most(3.0)])
}

/// The size of a function's zip, MB.
///
/// # Errors
/// There is no Python to make it, or no program.
pub async fn zip_mb(program: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let zip = folder.path().join("function.zip");
    let status =
        tokio::process::Command::new("python3").args(["-c", ZIP]).arg(program).arg(&zip).status().await;
    ensure!(status.context("python3")?.success(), "the zip could not be made");
    Ok(zip.metadata()?.len() as f64 / 1e6)
}
