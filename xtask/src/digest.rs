//! SHA-256 of files: nothing that was fetched is opened before its digest is known to be right.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Result;

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let mut file =
        File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if read == 0 {
            return Ok(hexadecimal(&sha.finalize()));
        }
        sha.update(&buffer[..read]);
    }
}

/// Fails where the file's SHA-256 is not `expected`, and names both.
pub(crate) fn verify(path: &Path, expected: &str) -> Result<()> {
    let actual = of_file(path)?;
    if actual == expected {
        return Ok(());
    }
    Err(format!(
        "{} has SHA-256 {actual}, but {expected} is pinned: it is not the file that was reviewed, \
         so it is not used",
        path.display()
    )
    .into())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_answer_and_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(of_file(&path).unwrap(), ABC);
        verify(&path, ABC).unwrap();
        std::fs::write(&path, "abd").unwrap();
        let refused = verify(&path, ABC).unwrap_err().to_string();
        assert!(
            refused.contains(ABC) && refused.contains("abd") | refused.contains("abc"),
            "{refused}"
        );
    }
}
