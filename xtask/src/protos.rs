//! The code generated from .proto files: made here, and committed, so that a build needs none of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use prost::Message as _;

/// A comment that leads each generated file, and keeps rustfmt and clippy from it.
const LEAD: &str = "// Made by `cargo xtask protos`.\n";

/// The file of descriptors for reflection.
const DESCRIPTORS: &str = "public.bin";
/// The files whose services are on the socket that workloads connect to.
const REFLECTED: [&str; 3] = ["workload.proto", "envoy_secret_v3.proto", "grpc_health_v1.proto"];

/// Writes the generated code anew.
pub(crate) fn run() -> anyhow::Result<()> {
    let place = generated_directory()?;
    for (name, text) in generate()? {
        fs::write(place.join(&name), text).with_context(|| format!("write {name}"))?;
        println!("{name}");
    }
    Ok(())
}

/// Each file's name and content.
fn generate() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let sources = crate_directory()?.join("proto");
    let mut protos = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("read {}", sources.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path);
        }
    }
    protos.sort();
    let descriptors = protox::compile(&protos, [&sources]).context("compile the .proto files")?;
    let scratch = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(scratch.path())
        .btree_map(".")
        .compile_fds(descriptors)
        .context("generate code")?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(scratch.path())? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        // The Workload API has no package, and `_.rs` says nothing.
        let name = if name == "_.rs" { "workload.rs".to_owned() } else { name };
        let text = format!("{LEAD}{}", fs::read_to_string(&path)?);
        files.insert(name, text.into_bytes());
    }
    ensure!(!files.is_empty(), "no code was generated");
    files.insert(DESCRIPTORS.to_owned(), reflected(&sources)?);
    Ok(files)
}

/// The descriptors of what everybody may call, without comments.
fn reflected(sources: &Path) -> anyhow::Result<Vec<u8>> {
    let protos = REFLECTED.map(|name| sources.join(name));
    let mut descriptors = protox::compile(protos, [sources]).context("compile the .proto files")?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    Ok(descriptors.encode_to_vec())
}

fn crate_directory() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has a parent")?;
    Ok(root.join("crates/spiffe"))
}

fn generated_directory() -> anyhow::Result<PathBuf> {
    Ok(crate_directory()?.join("src/proto"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_code_is_what_the_protos_say() {
        let place = generated_directory().unwrap();
        let made = generate().unwrap();
        for (name, text) in &made {
            let committed = fs::read(place.join(name)).unwrap_or_default();
            assert!(*text == committed, "{name} is not what `cargo xtask protos` makes");
        }
        for entry in fs::read_dir(&place).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(made.contains_key(&name) || name == "mod.rs", "{name} is made from nothing");
        }
    }
}
