//! Files that come and go, and names that would lead out of the folder.
//!
//! Must never leave anything behind.

use super::*;

async fn binding(root: &Path) -> Result<Arc<dyn Binding>, OpenError> {
    let root = root.to_str().unwrap();
    open(OpenContext::new(
        "files",
        "app",
        [("rootPath", root)].into_iter().collect(),
    ))
    .await
}

async fn call(binding: &Arc<dyn Binding>, name: &str, file: &str, data: &'static str) -> Result<String, String> {
    let metadata = [("fileName", file)].into_iter().filter(|(_, file)| !file.is_empty());
    let operation = Operation {
        name: name.to_owned(),
        data: data.into(),
        metadata: metadata
            .map(|(name, file)| (name.to_owned(), file.to_owned()))
            .collect(),
    };
    let answer = binding.invoke(&operation).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(answer.data.unwrap_or_default().to_vec()).unwrap())
}

#[tokio::test]
async fn files_are_made_read_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new/root");
    let files = binding(&root).await.unwrap();
    assert_eq!(
        call(&files, "create", "/a/b.txt", "hello").await.unwrap(),
        r#"{"fileName":"a/b.txt"}"#
    );
    assert_eq!(
        call(&files, "create", "c", "\"quoted\\n\"").await.unwrap(),
        r#"{"fileName":"c"}"#
    );
    assert_eq!(
        call(&files, "create", "d", "\"aGVsbG8gd29ybGQ=\"").await.unwrap(),
        r#"{"fileName":"d"}"#
    );
    let read = |name: &'static str| call(&files, "get", name, "");
    assert_eq!(
        (read("a/b.txt").await.unwrap(), read("c").await.unwrap()),
        ("hello".into(), "quoted\n".into())
    );
    assert_eq!(read("./d").await.unwrap(), "hello world");
    assert_eq!(call(&files, "create", "c", "x").await.unwrap(), r#"{"fileName":"c"}"#);
    assert_eq!(read("c").await.unwrap(), "x", "written anew");
    let root = root.canonicalize().unwrap();
    let paths: Vec<String> = ["a/b.txt", "c", "d"]
        .iter()
        .map(|name| root.join(name).display().to_string())
        .collect();
    assert_eq!(call(&files, "list", "", "").await.unwrap(), json!(paths).to_string());
    assert_eq!(
        call(&files, "list", "a", "").await.unwrap(),
        json!([paths[0]]).to_string()
    );
    assert!(
        call(&files, "list", "c", "")
            .await
            .unwrap_err()
            .contains("not a directory")
    );
    assert_eq!(call(&files, "delete", "c", "").await.unwrap(), "");
    assert_eq!(
        read("c").await.unwrap_err(),
        format!("file not found: {}", root.join("c").display())
    );
    assert!(call(&files, "delete", "c", "").await.is_err() && call(&files, "delete", "", "").await.is_err());
    assert!(call(&files, "delete", "a", "").await.is_err(), "not empty");
    let named = call(&files, "create", "", "x").await.unwrap();
    assert_eq!(named.len(), r#"{"fileName":""}"#.len() + 36, "{named}");
    assert_eq!(
        call(&files, "dance", "c", "").await.unwrap_err(),
        "unsupported operation dance"
    );
}

#[tokio::test]
async fn sec_no_name_and_no_link_leads_out_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    for (link, to) in [
        ("up", ".."),
        ("file", "../secret"),
        ("whole", outer.path().to_str().unwrap()),
    ] {
        std::os::unix::fs::symlink(to, root.join(link)).unwrap();
    }
    let files = binding(&root).await.unwrap();
    for name in ["../secret", "a/../../secret", "up/secret", "file", "whole/secret"] {
        assert!(call(&files, "get", name, "").await.is_err(), "get {name}");
        assert!(call(&files, "create", name, "mine").await.is_err(), "create {name}");
    }
    for name in ["../secret", "up/secret", "whole/secret"] {
        assert!(call(&files, "delete", name, "").await.is_err(), "delete {name}");
    }
    assert!(call(&files, "create", "up/new/file", "mine").await.is_err());
    assert!(call(&files, "list", "up", "").await.is_err() && call(&files, "list", "..", "").await.is_err());
    assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "secret");
    assert!(!outer.path().join("new").exists());
    let listed = call(&files, "list", "", "").await.unwrap();
    assert!(!listed.contains("secret"), "links are not followed: {listed}");
    call(&files, "delete", "file", "").await.unwrap();
    assert!(
        outer.path().join("secret").exists(),
        "the link was removed, not the file"
    );
}

#[tokio::test]
async fn what_is_no_plain_file_is_neither_read_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = binding(folder.path()).await.unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(call(&files, "get", "pipe", "").await.is_err() && call(&files, "create", "pipe", "x").await.is_err());
    assert!(call(&files, "get", "", "").await.is_err());
    let sparse = std::fs::File::create(folder.path().join("large")).unwrap();
    sparse.set_len(MAX_BYTES + 1).unwrap();
    assert!(
        call(&files, "get", "large", "")
            .await
            .unwrap_err()
            .contains("more than")
    );
}

#[tokio::test]
async fn folders_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/proc", folder.path().join("link")).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for root in ["/proc/x", "/sys", "/boot/../boot/y", "/var/run/secrets/z"] {
        assert!(binding(Path::new(root)).await.is_err(), "{root}");
    }
    assert!(binding(&folder.path().join("link")).await.is_err());
    assert!(binding(&folder.path().join("file")).await.is_err());
    assert!(
        open(OpenContext::new("files", "app", Default::default()))
            .await
            .is_err()
    );
}
