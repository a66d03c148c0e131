"""What scripts/check-infra checks: each function that a module offers is one check, and yields what is wrong."""
