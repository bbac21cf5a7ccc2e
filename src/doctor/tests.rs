use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

#[test]
fn only_regular_files_are_opened() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("file");
    fs::write(&file, "text").expect("written");
    assert_eq!(read_file(&file).expect("read"), "text");
    let fifo = root.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("created");
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&fifo, &link).expect("linked");
    for path in [&*fifo, &*link, root.path(), Path::new("/dev/zero")] {
        let error = read_file(path).expect_err("refused");
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidInput,
            "{}",
            path.display()
        );
    }
    let missing = read_file(&root.path().join("no")).expect_err("missing");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_worst_verdict_counts() {
    let checks = [
        Check::ok("a", ""),
        Check::warn("b", "", ""),
        Check::skip("c", ""),
    ];
    assert_eq!(worst(&checks), Verdict::Warn);
    assert_eq!(worst(&[]), Verdict::Ok);
}
