//! The benchmark's command line.

use std::io;
use std::process::Command;

#[test]
fn regression_help_into_a_closed_pipe_panicked() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_corenexis-bench"))
        .arg("--help")
        .stdout(writer)
        .output()
        .expect("the benchmark runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
