//! Harness for scenarios: starts the real processes, waits for readiness with a deadline, and stops what it started.
