//! Universal Binary JSON, draft 12, as XGBoost writes it, read into a JSON value.

use serde_json::{Map, Number, Value};

/// More containers inside each other than this are refused.
const DEEPEST: usize = 64;

/// Reads one value; nothing may follow it.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0)?;
    if reader.at == bytes.len() { Ok(value) } else { Err(reader.fault("more bytes after the end")) }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn fault(&self, what: &str) -> String {
        format!("byte {}: {what}", self.at)
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let end = self.at.saturating_add(count);
        let Some(bytes) = self.bytes.get(self.at..end) else { return Err(self.fault("the file ends too early")) };
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next type marker; `N` means nothing.
    fn marker(&mut self) -> Result<u8, String> {
        loop {
            let [marker] = self.array()?;
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn length(&mut self) -> Result<usize, String> {
        let marker = self.marker()?;
        let number = match marker {
            b'i' | b'U' | b'I' | b'l' | b'L' => self.value(marker, 0)?,
            _ => return Err(self.fault("a length must be a whole number")),
        };
        number
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| self.fault("a length is negative"))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.fault("a text is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(self.fault("too many containers inside each other"));
        }
        Ok(match marker {
            b'Z' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'i' => i8::from_be_bytes(self.array()?).into(),
            b'U' => u8::from_be_bytes(self.array()?).into(),
            b'I' => i16::from_be_bytes(self.array()?).into(),
            b'l' => i32::from_be_bytes(self.array()?).into(),
            b'L' => i64::from_be_bytes(self.array()?).into(),
            b'd' => real(f64::from(f32::from_be_bytes(self.array()?))),
            b'D' => real(f64::from_be_bytes(self.array()?)),
            b'C' => char::from(u8::from_be_bytes(self.array()?)).to_string().into(),
            b'S' => self.text()?.into(),
            b'[' => self.list(depth)?,
            b'{' => self.map(depth)?,
            b'H' => return Err(self.fault("high-precision numbers are not supported")),
            _ => return Err(self.fault("unknown type marker")),
        })
    }

    /// The type and number of a container's entries, where they are said in front.
    fn header(&mut self) -> Result<(Option<u8>, Option<usize>), String> {
        let mut kind = None;
        if self.peek() == Some(b'$') {
            self.take(1)?;
            let [marker] = self.array()?;
            if !matches!(marker, b'i' | b'U' | b'I' | b'l' | b'L' | b'd' | b'D' | b'C' | b'S' | b'[' | b'{') {
                // Entries without bytes would let a few bytes ask for any amount of memory.
                return Err(self.fault("containers of this type are not supported"));
            }
            kind = Some(marker);
        }
        if self.peek() != Some(b'#') {
            return if kind.is_none() { Ok((None, None)) } else { Err(self.fault("a typed container needs a length")) };
        }
        self.take(1)?;
        let count = self.length()?;
        if count > self.bytes.len() - self.at {
            return Err(self.fault("a container is longer than the file"));
        }
        Ok((kind, Some(count)))
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let (kind, count) = self.header()?;
        let mut list = Vec::new();
        loop {
            match count {
                Some(count) if list.len() == count => return Ok(Value::Array(list)),
                _ => {}
            }
            let marker = match kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            if count.is_none() && marker == b']' {
                return Ok(Value::Array(list));
            }
            list.push(self.value(marker, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let (kind, count) = self.header()?;
        let mut map = Map::new();
        let mut read = 0;
        loop {
            if count.is_some_and(|count| read == count) {
                return Ok(Value::Object(map));
            }
            if count.is_none() && self.peek() == Some(b'}') {
                self.take(1)?;
                return Ok(Value::Object(map));
            }
            let key = self.text()?;
            let marker = match kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            map.insert(key, self.value(marker, depth + 1)?);
            read += 1;
        }
    }
}

/// NaN and infinities become null, as in JSON.
fn real(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_typed_containers() {
        let bytes = b"{i\x01a[U\x05d\x3f\x00\x00\x00TZ]i\x01b[$l#U\x02\x00\x00\x00\x07\xff\xff\xff\xffi\x01cSU\x02hi}";
        let value = read(bytes).unwrap();
        assert_eq!(value, serde_json::json!({"a": [5, 0.5, true, null], "b": [7, -1], "c": "hi"}));
    }

    #[test]
    fn broken_bytes_are_refused_with_their_place() {
        for (bytes, expected) in [
            (&b"{i\x01a"[..], "ends too early"),
            (b"[$Z#L\x00\x00\x00\xff\xff\xff\xff\xff", "not supported"),
            (b"[#L\x00\x00\x00\xff\xff\xff\xff\xff", "longer than the file"),
            (b"[]]", "after the end"),
            (b"{i\xffa", "negative"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(read(&[b'['; 1000]).unwrap_err().contains("inside each other"));
    }
}
