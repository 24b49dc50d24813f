//! Files and folders as others find them, at any moment and after any accident.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn written_files_and_folders_are_private_and_leave_no_temporary() {
    let folder = tempfile::tempdir().expect("temp folder");
    let inner = folder.path().join("a/b");
    private_folder(&inner).expect("created");
    let file = inner.join("key");
    write_private(&file, b"one").expect("written");
    write_private(&file, b"two").expect("replaced");
    assert_eq!(fs::read(&file).expect("readable"), b"two");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&inner).expect("there").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&inner).expect("listed").count(), 1);
}

#[test]
fn sec_147_a_failed_write_keeps_the_old_content_and_says_what_failed() {
    let folder = tempfile::tempdir().expect("temp folder");
    // A folder of that name stops root too, unlike permissions.
    let taken = folder.path().join("ledger.json");
    let inside = taken.join("old");
    private_folder(&taken).expect("created");
    write_private(&inside, b"old").expect("written");
    let error = write_private(&taken, b"new").expect_err("a folder").to_string();
    assert!(
        error.contains("cannot write") && error.contains("ledger.json"),
        "{error}"
    );
    assert_eq!(fs::read(&inside).expect("readable"), b"old");
    assert_eq!(
        fs::read_dir(folder.path()).expect("listed").count(),
        1,
        "no temporary file"
    );
}

#[test]
fn somebody_elses_folder_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("temp folder");
    let wide = folder.path().join("srv");
    let mode = || fs::metadata(&wide).expect("there").permissions().mode() & 0o777;
    let widen = || fs::set_permissions(&wide, fs::Permissions::from_mode(0o755)).expect("widened");
    fs::create_dir(&wide).expect("created");
    widen();
    private_folder(&wide).expect("an empty one is taken");
    assert_eq!(mode(), 0o700);
    fs::write(wide.join("page.html"), "").expect("written");
    private_folder(&wide).expect("narrow already");
    widen();
    let error = private_folder(&wide).expect_err("shared").to_string();
    assert!(
        error.contains("srv") && error.contains("755") && error.contains("chmod 700"),
        "{error}"
    );
    assert_eq!(mode(), 0o755);
}

#[test]
fn a_bare_name_is_written_too() {
    // The folder of this crate, where tests run.
    let path = Path::new("bare-name-of-a-test");
    write_private(path, b"here").expect("written");
    assert_eq!(fs::read(path).expect("readable"), b"here");
    fs::remove_file(path).expect("removed");
}

#[test]
fn writers_at_the_same_time_do_not_mix() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("state");
    std::thread::scope(|scope| {
        for letter in [b'a', b'b', b'c', b'd'] {
            let file = &file;
            scope.spawn(move || (0..20).for_each(|_| write_private(file, &[letter; 9000]).expect("written")));
        }
    });
    let content = fs::read(&file).expect("readable");
    assert!(content.len() == 9000 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_lock_has_one_holder_and_names_it() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("lock");
    assert_eq!(Lock::holder(&path), None);
    let lock = Lock::try_acquire(&path).expect("works").expect("free");
    assert!(Lock::try_acquire(&path).expect("works").is_none());
    assert_eq!(Lock::holder(&path), Some(std::process::id()));
    drop(lock);
    assert_eq!(Lock::holder(&path), None);
    assert!(Lock::try_acquire(&path).expect("works").is_some());
}

#[test]
fn what_is_there_is_not_made_again() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("key");
    assert!(create_private(&file, b"one").expect("made"));
    assert!(!create_private(&file, b"two").expect("looked at"));
    assert_eq!(fs::read(&file).expect("readable"), b"one");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_public_file_may_be_read_by_anybody() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("ca.crt");
    write_public(&file, b"root").expect("written");
    let mode = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
    // What the process's own mask takes away stays away.
    assert!(mode & 0o600 == 0o600 && mode & 0o133 == 0, "{mode:o}");
}

#[test]
fn a_name_that_leaves_no_room_for_a_temporary_one_is_an_error() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("n".repeat(250));
    fs::write(&file, "old").expect("written");
    assert!(write_private(&file, b"new").is_err());
    assert_eq!(fs::read(&file).expect("readable"), b"old");
}
