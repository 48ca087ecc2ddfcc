//! Unsafe code stands in these files and in no other; clippy's `undocumented_unsafe_blocks` asks for a SAFETY comment at each block.

use std::collections::BTreeSet;
use std::fs;

use crate::{Result, notes, workspace};

/// What each is for. A new one is a decision, so it is a line here.
const NAMED: &[(&str, &str)] = &[
    ("backend-cpu/bfloat/lib.rs", "an exported symbol"),
    (
        "backend-cpu/src/bfloat.rs",
        "loads the library that exports it",
    ),
    (
        "backend-cuda/src/driver.rs",
        "asks the driver for its version",
    ),
    (
        "backend-cuda/src/nvptx.rs",
        "symbols that a library without a GPU needs",
    ),
    ("backend-cuda/tests/offline/nvrtc.rs", "loads NVRTC"),
    (
        "backend-cuda/tests/offline/recorder.rs",
        "a runtime's trait",
    ),
    (
        "benches/step/src/products.rs",
        "the gemm crate's entry is unsafe",
    ),
    ("dp-bench/src/ceilings.rs", "buffers as launch arguments"),
    ("dp-burn/src/kernels/mod.rs", "buffers as launch arguments"),
    ("dp-core/freestanding/src/lib.rs", "an exported symbol"),
    (
        "dp-core/freestanding/src/main.rs",
        "a program without a library",
    ),
    (
        "dp-core/tests/accounting_allocation.rs",
        "counts allocations",
    ),
    ("dp-core/tests/no_alloc_primitives.rs", "counts allocations"),
    ("dp-engine/tests/batches.rs", "counts allocations"),
    ("dp-kernels/src/check.rs", "buffers as launch arguments"),
    (
        "dp-kernels/src/conformance/words.rs",
        "buffers as launch arguments",
    ),
    (
        "dp-kernels/src/tile/tensor/warpgroups.rs",
        "the address of shared memory",
    ),
    (
        "dp-kernels/src/unchecked.rs",
        "loads at places that a kernel has proven to be inside",
    ),
];

/// Fails where a file has unsafe code and is not named, or is named and has none.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let named: BTreeSet<_> = NAMED.iter().map(|(file, _)| (*file).to_owned()).collect();
    let mut found = BTreeSet::new();
    for file in notes::texts(root)? {
        let shown = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        if shown.ends_with(".rs") && is_unsafe(&fs::read_to_string(&file)?) {
            found.insert(shown.replace('\\', "/"));
        }
    }
    let new = found.difference(&named).map(|file| {
        format!("{file} has unsafe code: do without, or name it in xtask/src/unsafe_code.rs")
    });
    let gone = named
        .difference(&found)
        .map(|file| format!("{file} has no unsafe code: take it out of xtask/src/unsafe_code.rs"));
    let faults: Vec<_> = new.chain(gone).collect();
    if faults.is_empty() {
        println!("unsafe code: in {} named files", found.len());
        return Ok(());
    }
    Err(faults.join("\n").into())
}

/// Whether a source has the keyword; comments and what stands in quotes don't count.
fn is_unsafe(source: &str) -> bool {
    let keyword = concat!("un", "safe");
    source.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        let code: String = code.split('"').step_by(2).collect();
        code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == keyword)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_counts_and_no_other_mention() {
        let word = concat!("un", "safe");
        assert!(is_unsafe(&format!("    let x = {word} {{ y() }};")));
        assert!(is_unsafe(&format!("#[{word}(no_mangle)]")));
        assert!(!is_unsafe(&format!("// {word} here\nlet a = \"{word}\";")));
        assert!(!is_unsafe(&format!("#![forbid({word}_code)]")));
    }
}
