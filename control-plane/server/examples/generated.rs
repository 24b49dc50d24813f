//! Writes the generated documents of the control plane below the folder given as the only argument; used by `cargo xtask generate`.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let out = env::args()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: generated <folder>"))?;
    let document = serde_json::to_string_pretty(&palladium_control_server::api::openapi::document())? + "\n";
    write(&Path::new(&out).join("control-plane/server/openapi.json"), &document)?;
    let matrix = palladium_authz::role_matrix().map_err(io::Error::other)?;
    write(&Path::new(&out).join("docs/generated/role-matrix.md"), &matrix)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, text)
}
