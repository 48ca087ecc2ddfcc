//! A data file made of bytes: any, or lines of which most are good.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value};

/// Most lines of a file that is made of lines.
const MAX_LINES: u8 = 24;

pub(super) struct Case {
    /// The name, which decides on the format.
    pub name: &'static str,
    pub user_field: Option<&'static str>,
    pub bytes: Vec<u8>,
}

impl Case {
    /// Bytes that are missing count as zeros.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut u = Unstructured::new(bytes);
        let kind: u8 = u.arbitrary()?;
        let name = ["data.txt", "data.jsonl", "data.NDJSON", "data"][usize::from(kind >> 6)];
        let user_field = [None, Some("user"), Some("text"), Some("")][usize::from(kind >> 4) % 4];
        let bytes = match kind % 16 {
            0..=3 => u.bytes(u.len())?.to_vec(),
            _ => lines(&mut u)?,
        };
        Ok(Self {
            name,
            user_field,
            bytes,
        })
    }
}

fn lines(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if u.arbitrary::<u8>()? > 224 {
        bytes.extend("\u{feff}".as_bytes());
    }
    for _ in 0..=u.arbitrary::<u8>()? % MAX_LINES {
        match u.arbitrary::<u8>()? {
            0..=15 => {}
            16..=47 => bytes.extend(word(u)?.as_bytes()),
            48..=63 => {
                let length = usize::from(u.arbitrary::<u8>()?) % 32;
                bytes.extend(u.bytes(length.min(u.len()))?);
            }
            64..=79 => bytes.extend(value(u)?.to_string().as_bytes()),
            _ => bytes.extend(object(u)?.to_string().as_bytes()),
        }
        bytes.extend(match u.arbitrary::<u8>()? {
            0..=15 => "\r\n".as_bytes(),
            16..=23 => "\r".as_bytes(),
            24..=31 => "".as_bytes(),
            _ => "\n".as_bytes(),
        });
    }
    Ok(bytes)
}

/// An object with the fields of a record, mostly.
fn object(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut fields = Map::new();
    let text = match u.arbitrary::<u8>()? {
        0..=15 => value(u)?,
        _ => Value::from(word(u)?),
    };
    fields.insert("text".into(), text);
    let user = match u.arbitrary::<u8>()? {
        0..=15 => value(u)?,
        byte if byte < 128 => Value::from(byte % 4),
        byte => Value::from((byte % 4).to_string()),
    };
    fields.insert("user".into(), user);
    match u.arbitrary::<u8>()? {
        0..=15 => {
            fields.remove("text");
        }
        16..=31 => {
            fields.remove("user");
        }
        32..=47 => {
            fields.insert(word(u)?, value(u)?);
        }
        _ => {}
    }
    Ok(Value::Object(fields))
}

fn value(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.arbitrary::<u8>()? % 8 {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => Value::from(u.arbitrary::<i64>()?),
        3 => Value::from(u.arbitrary::<u64>()?),
        4 => Value::from(f64::from_bits(u.arbitrary()?)),
        5 => Value::Array(vec![Value::from(word(u)?)]),
        6 => Value::Object(Map::new()),
        _ => Value::from(word(u)?),
    })
}

fn word(u: &mut Unstructured<'_>) -> Result<String> {
    const WORDS: [&str; 8] = [
        "",
        " ",
        "\u{2003}",
        "a",
        "\n",
        "\u{feff}",
        "\"",
        "Müller, 14",
    ];
    Ok(match WORDS.get(usize::from(u.arbitrary::<u8>()?) % 16) {
        Some(word) => (*word).to_owned(),
        None => {
            let length = usize::from(u.arbitrary::<u8>()?) % 24;
            String::from_utf8_lossy(u.bytes(length.min(u.len()))?).into_owned()
        }
    })
}
