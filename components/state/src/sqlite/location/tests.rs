//! Forms of connection strings, and what a tenant may not say.

use std::path::Component;

use super::*;
use proptest::prelude::*;

fn own(text: &str) -> Result<Location, OpenError> {
    locate(text, &Hosting::SelfHosted)
}

fn hosted(text: &str) -> Result<Location, OpenError> {
    locate(
        text,
        &Hosting::Platform {
            folder: "/apps/one".into(),
        },
    )
}

#[test]
fn every_form_of_a_path() {
    for (text, path) in [
        ("data.db", "data.db"),
        ("file:data.db", "data.db"),
        ("FILE:/tmp/a%20b.db?mode=rwc", "/tmp/a b.db"),
        ("file:///tmp/x.db", "/tmp/x.db"),
        ("file://localhost/tmp/x.db", "/tmp/x.db"),
        ("/tmp/x.db?cache=shared&_txlock=deferred", "/tmp/x.db"),
    ] {
        assert_eq!(own(text).unwrap().file, Some(path.into()), "{text}");
    }
    for text in [":memory:", "file::memory:", "file:x?mode=memory"] {
        assert_eq!(own(text).unwrap().file, None, "{text}");
    }
    assert!(own("x.db?mode=ro").unwrap().read_only && own("x.db?immutable=1").unwrap().immutable);
    assert_eq!(
        own("x.db?_pragma=cache_size(-2000)").unwrap().pragmas,
        [("cache_size".into(), "-2000".into())]
    );
    for text in [
        "",
        "file:",
        "?mode=ro",
        "file://other/x",
        "x?_pragma=journal_mode(OFF)",
        "x?_pragma=a(b);drop",
        "x?_pragma=y",
    ] {
        assert!(own(text).is_err(), "{text}");
    }
}

#[test]
fn a_tenant_stays_in_its_folder() {
    assert_eq!(hosted("data.db").unwrap().file, Some("/apps/one/data.db".into()));
    assert_eq!(
        hosted("file:sub/./data.db").unwrap().file,
        Some("/apps/one/sub/data.db".into())
    );
    assert_eq!(hosted(":memory:").unwrap().file, None);
    for text in [
        "/etc/passwd",
        "../two/data.db",
        "sub/../../two/data.db",
        "file:/apps/two/data.db",
        "file:///apps/two/data.db",
        "file:%2e%2e/two/data.db",
        "file:sub%2F..%2F..%2Ftwo/data.db",
        "data.db?vfs=unix-none",
        "data.db?_pragma=temp_store_directory(x)",
        "data.db?nolock=1",
        "data.db?VFS=unix-none",
        "data.db?mode=rwc&psow=0",
        "file:data.db?_pragma=writable_schema(1)",
        "file:data.db?_attach=/apps/two/data.db",
        "file:///?/apps/two/data.db",
        "file:////apps/two/data.db",
        "file://localhost/apps/two/data.db",
        "FILE:%2Fapps%2Ftwo/data.db",
        "data.db\0/../../two",
        ".",
        "./",
    ] {
        assert!(hosted(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_string_leaves_the_folder(text in "(file:)?[a-z./%2eEfF:?=&]{0,40}") {
        if let Ok(Location { file: Some(file), .. }) = hosted(&text) {
            prop_assert!(file.starts_with("/apps/one") && file != Path::new("/apps/one"));
            prop_assert!(!file.components().any(|part| part == Component::ParentDir));
        }
    }

    #[test]
    fn never_panics(text in ".{0,60}") {
        let _ = (own(&text), hosted(&text));
    }
}
