//! Generates `contracts/proto/src/gen` from `contracts/proto/protos`.
//! One idea: `protox` parses the files in pure Rust, so that nobody needs `protoc`; the result is committed, so that
//! nobody else needs this either. Must never write outside its output folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Generates the protocol code of the workspace at `root` into the same place below `made`.
pub fn run(root: &Path, made: &Path) -> anyhow::Result<()> {
    let protos = root.join("contracts/proto/protos");
    let out = made.join("contracts/proto/src/gen");
    let mut files = Vec::new();
    collect(&protos, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&protos]).context("the .proto files do not compile")?;

    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .bytes(".") // every payload is a `bytes::Bytes`: a slice of the frame it arrived in, never a copy
        .generate_default_stubs(true) // a method that nobody has written yet answers UNIMPLEMENTED
        .build_transport(false) // channels are made by foundation/tls; also `RegionStream.Connect` would clash
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .context("cannot write the generated code")?;
    Ok(())
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            into.push(path);
        }
    }
    Ok(())
}
