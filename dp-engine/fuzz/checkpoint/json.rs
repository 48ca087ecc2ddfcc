//! JSON values made of bytes.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value};

const KEYS: [&str; 12] = [
    "version",
    "step",
    "config",
    "config_fingerprint",
    "dataset",
    "ledger",
    "extra",
    "parts",
    "name",
    "file",
    "bytes",
    "sha256",
];
const WORDS: [&str; 8] = [
    "",
    "model",
    "../model",
    "a\\b",
    "/etc",
    "\u{0}",
    "model.safetensors",
    "é",
];

/// A small value, nested a few levels deep.
pub(super) fn value(u: &mut Unstructured<'_>) -> Result<Value> {
    nested(u, 3)
}

fn nested(u: &mut Unstructured<'_>, levels: u8) -> Result<Value> {
    let kinds = if levels > 0 { 10 } else { 8 };
    Ok(match u.arbitrary::<u8>()? % kinds {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => Value::from(u.arbitrary::<u8>()?),
        3 => Value::from(u.arbitrary::<i64>()?),
        4 => Value::from(u.arbitrary::<u64>()?),
        5 => Value::from(f64::from(u.arbitrary::<i8>()?) / 4.0),
        6 => Value::from(f64::from_bits(u.arbitrary()?)),
        7 => Value::from(word(u)?),
        8 => Value::Array(
            (0..u.arbitrary::<u8>()? % 4)
                .map(|_| nested(u, levels - 1))
                .collect::<Result<_>>()?,
        ),
        _ => {
            let mut map = Map::new();
            for _ in 0..u.arbitrary::<u8>()? % 4 {
                map.insert(key(u)?, nested(u, levels - 1)?);
            }
            Value::Object(map)
        }
    })
}

/// A key that a manifest has, mostly.
pub(super) fn key(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match KEYS.get(usize::from(u.arbitrary::<u8>()?) % 16) {
        Some(key) => (*key).to_owned(),
        None => word(u)?,
    })
}

fn word(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match WORDS.get(usize::from(u.arbitrary::<u8>()?) % 12) {
        Some(word) => (*word).to_owned(),
        None => {
            let length = usize::from(u.arbitrary::<u8>()?) % 12;
            String::from_utf8_lossy(u.bytes(length.min(u.len()))?).into_owned()
        }
    })
}
