"""What scripts/deploy and scripts/destroy do. Run with the Python of target/tools/venv."""
