//! Reading Protocol Buffers by hand: the fields of one message, one after another.
//! The encoding: <https://protobuf.dev/programming-guides/encoding/>.

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'b> {
    /// A whole number of up to 64 bits.
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A text, bytes, a message, or packed numbers.
    Bytes(&'b [u8]),
}

/// The fields of a message, by number. A broken message ends with an error.
#[derive(Debug, Clone)]
pub(super) struct Fields<'b> {
    bytes: &'b [u8],
}

/// The bytes are no such message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken;

impl<'b> Fields<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Fields<'b> {
        Fields { bytes }
    }

    fn take(&mut self, count: u64) -> Result<&'b [u8], Broken> {
        let count = usize::try_from(count).map_err(|_| Broken)?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Broken)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first().ok_or(Broken)?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn field(&mut self) -> Result<(u64, Field<'b>), Broken> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Broken)?)),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Broken)?)),
            _ => return Err(Broken),
        };
        Ok((tag >> 3, field))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Field<'b>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.bytes = &[];
        }
        Some(field)
    }
}

impl<'b> Field<'b> {
    pub(super) fn bytes(self) -> Result<&'b [u8], Broken> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(Broken),
        }
    }

    pub(super) fn text(self) -> Result<&'b str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken)
    }

    /// Appends one whole number or packed ones.
    pub(super) fn wholes(self, into: &mut Vec<i64>) -> Result<(), Broken> {
        match self {
            Field::Varint(number) => into.push(number.cast_signed()),
            Field::Bytes(bytes) => {
                let mut packed = Fields::new(bytes);
                while !packed.bytes.is_empty() {
                    into.push(packed.varint()?.cast_signed());
                }
            }
            Field::Fixed64(_) | Field::Fixed32(_) => return Err(Broken),
        }
        Ok(())
    }

    /// Appends one number of single precision or packed ones.
    pub(super) fn singles(self, into: &mut Vec<f64>) -> Result<(), Broken> {
        match self {
            Field::Fixed32(bits) => into.push(f64::from(f32::from_bits(bits))),
            Field::Bytes(bytes) => {
                let (numbers, rest) = bytes.as_chunks::<4>();
                into.extend(numbers.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
                return if rest.is_empty() { Ok(()) } else { Err(Broken) };
            }
            Field::Varint(_) | Field::Fixed64(_) => return Err(Broken),
        }
        Ok(())
    }

    /// Appends one number of double precision or packed ones.
    pub(super) fn doubles(self, into: &mut Vec<f64>) -> Result<(), Broken> {
        match self {
            Field::Fixed64(bits) => into.push(f64::from_bits(bits)),
            Field::Bytes(bytes) => {
                let (numbers, rest) = bytes.as_chunks::<8>();
                into.extend(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)));
                return if rest.is_empty() { Ok(()) } else { Err(Broken) };
            }
            Field::Varint(_) | Field::Fixed32(_) => return Err(Broken),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_field_and_ends_at_a_broken_one() {
        // 1: 150; 2: "hi"; 3: 1.0 single; 4: packed 1, 300; 5: a text longer than the message.
        let bytes = b"\x08\x96\x01\x12\x02hi\x1d\x00\x00\x80\x3f\x22\x03\x01\xac\x02\x2a\x09x";
        let mut fields = Fields::new(bytes);
        assert!(matches!(fields.next(), Some(Ok((1, Field::Varint(150))))));
        assert_eq!(fields.next().unwrap().unwrap().1.text().unwrap(), "hi");
        let mut reals = Vec::new();
        fields.next().unwrap().unwrap().1.singles(&mut reals).unwrap();
        let mut wholes = Vec::new();
        fields.next().unwrap().unwrap().1.wholes(&mut wholes).unwrap();
        assert_eq!((reals, wholes), (vec![1.0], vec![1, 300]));
        assert!(fields.next().unwrap().is_err());
        assert!(fields.next().is_none());
    }
}
