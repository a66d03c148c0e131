//! The binary of the scheduled Lambda (`bootstrap` on `provided.al2023`).

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    stageline_sweeper::serve().await
}
