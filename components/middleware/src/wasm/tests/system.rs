//! What modules of ordinary compilers ask a system for.
//!
//! Must never depend on this machine's clock.

use super::*;

const SYSTEM: &str = r#"
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "sock_send" (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
"#;

fn with_system(text: &str) -> String {
    text.replacen("(memory", &format!("{SYSTEM} (memory"), 1)
}

/// What a call answers, then so many bytes from 8 on.
async fn asked(call: &str, bytes: usize, more: &[(&str, &str)]) -> (i32, Vec<u8>) {
    let text = format!(
        "(i32.store (i32.const 0) {call}) (call $write_body (i32.const 1) (i32.const 0) (i32.const {}))",
        8 + bytes
    );
    let answer = told(&with_system(&asking(&text)), more).await;
    let (number, rest) = answer.body().split_at(8);
    (i32::from_le_bytes(number[..4].try_into().unwrap()), rest.to_vec())
}

#[tokio::test]
async fn there_are_no_files_no_arguments_and_no_environment() {
    for (call, bytes, expected) in [
        ("(call $fd_prestat_get (i32.const 3) (i32.const 8))", vec![], 8),
        (
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 8))",
            vec![],
            8,
        ),
        (
            "(call $sock_send (i32.const 3) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 8))",
            vec![],
            8,
        ),
        ("(call $fd_fdstat_get (i32.const 3) (i32.const 8))", vec![], 8),
        ("(call $fd_fdstat_get (i32.const 1) (i32.const 8))", vec![2, 0], 0),
        (
            "(call $fd_read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 8))",
            vec![0; 4],
            0,
        ),
        (
            "(call $fd_read (i32.const 3) (i32.const 32) (i32.const 1) (i32.const 8))",
            vec![],
            8,
        ),
        ("(call $args_sizes_get (i32.const 8) (i32.const 12))", vec![0; 8], 0),
        ("(call $environ_sizes_get (i32.const 8) (i32.const 12))", vec![0; 8], 0),
        ("(call $environ_get (i32.const 8) (i32.const 12))", vec![], 0),
        (
            "(call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 8))",
            vec![],
            28,
        ),
        ("(call $random_get (i32.const 8) (i32.const -1))", vec![], 28),
        ("(call $sched_yield)", vec![], 0),
        // Whose it is comes back; nobody waits.
        (
            "(call $poll_oneoff (i32.const 512) (i32.const 16) (i32.const 1) (i32.const 8))",
            vec![1, 0, 0, 0],
            0,
        ),
        (
            "(call $poll_oneoff (i32.const 512) (i32.const 16) (i32.const 0) (i32.const 8))",
            vec![],
            28,
        ),
    ] {
        assert_eq!(asked(call, bytes.len(), &[]).await, (expected, bytes), "{call}");
    }
}

#[tokio::test]
async fn time_and_chance_are_real_or_the_same_each_time() {
    let strict = [("strictSandbox", "true")];
    let twice = "(i32.add (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 8)) (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))";
    let (_, bytes) = asked(twice, 16, &strict).await;
    let times: Vec<u64> = bytes
        .chunks(8)
        .map(|eight| u64::from_le_bytes(eight.try_into().unwrap()))
        .collect();
    assert_eq!(times, [1_000_000, 2_000_000]);
    let (_, wall) = asked(
        "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8))",
        8,
        &[],
    )
    .await;
    assert!(
        u64::from_le_bytes(wall.try_into().unwrap()) > 1_700_000_000_000_000_000,
        "nobody's clock is older"
    );
    let (_, resolution) = asked("(call $clock_res_get (i32.const 0) (i32.const 8))", 8, &[]).await;
    assert_ne!(resolution, [0; 8]);
    let chance = "(call $random_get (i32.const 8) (i32.const 16))";
    let (first, second) = (asked(chance, 16, &strict).await, asked(chance, 16, &strict).await);
    assert_eq!(first, second);
    assert_ne!(asked(chance, 16, &[]).await, asked(chance, 16, &[]).await);
}

#[tokio::test]
async fn what_is_written_is_taken_and_counted() {
    let pieces = "(i32.store (i32.const 32) (i32.const 64)) (i32.store (i32.const 36) (i32.const 3)) (i32.store (i32.const 40) (i32.const 64)) (i32.store (i32.const 44) (i32.const 2))";
    let call = format!(
        "(block (result i32) {pieces} (call $fd_write (i32.const 1) (i32.const 32) (i32.const 2) (i32.const 8)))"
    );
    assert_eq!(asked(&call, 4, &[]).await, (0, vec![5, 0, 0, 0]));
    assert_eq!(
        asked(
            "(call $fd_write (i32.const 3) (i32.const 32) (i32.const 2) (i32.const 8))",
            0,
            &[]
        )
        .await
        .0,
        8
    );
    assert_eq!(
        asked(
            "(call $fd_write (i32.const 1) (i32.const 32) (i32.const -1) (i32.const 8))",
            0,
            &[]
        )
        .await
        .0,
        28
    );
}

#[tokio::test]
async fn a_command_may_end_well_before_its_first_request() {
    for (status, starts) in [(0, true), (1, false)] {
        let text =
            format!(r#"(func (export "_start") (call $proc_exit (i32.const {status}))) {GOES_ON} {NOTHING_BACK}"#);
        let opened = opened(&with_system(&module(&text)), &[]).await;
        assert_eq!(
            opened.is_ok(),
            starts,
            "{status}: {:?}",
            opened.err().map(|error| error.to_string())
        );
    }
}
