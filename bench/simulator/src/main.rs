//! The command `stageline-simulator`. See `docs/scale.md`.

fn main() -> anyhow::Result<()> {
    stageline_simulator::command::main()
}
