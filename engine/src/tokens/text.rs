//! Tokens of generated text: each token's own bytes, and bytes to characters as they come.

use tokenizers::{DecoderWrapper, Tokenizer};

use crate::weights::{Error, Folder};

/// A tokenizer that can say what each token adds to a text.
///
/// Decoding a sequence at once and token by token must give the same text, so a token is taken as the bytes it stands for
/// and never as a text: a character may be spread over several tokens.
pub(crate) struct TextTokens {
    tokenizer: Tokenizer,
    bytes: Vec<u8>,
    /// Where each token's bytes begin; one more entry than tokens.
    starts: Vec<usize>,
    special: Vec<bool>,
}

/// How a tokenizer spells bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Every byte is a character of its own (GPT-2).
    Characters,
    /// `▁` is a space and `<0xE2>` a byte (SentencePiece).
    Pieces,
    /// As written.
    Plain,
}

impl TextTokens {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::File`] when the file is missing or does not parse.
    pub(crate) fn open(folder: &Folder) -> Result<Self, Error> {
        let file = "tokenizer.json";
        let tokenizer = Tokenizer::from_bytes(folder.read(file)?)
            .map_err(|error| Error::File { file: file.to_owned(), reason: error.to_string() })?;
        Ok(Self::new(tokenizer))
    }

    /// Takes a tokenizer as it is, without its truncation and padding.
    pub(crate) fn new(mut tokenizer: Tokenizer) -> Self {
        tokenizer.with_padding(None);
        // Taking a truncation away never fails; only setting one is checked.
        let _ = tokenizer.with_truncation(None);
        let spelling = tokenizer.get_decoder().map_or(Spelling::Plain, spelling);
        let added = tokenizer.get_added_tokens_decoder();
        let vocabulary = tokenizer.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |&last| usize::try_from(last).unwrap_or(0) + 1);
        let mut texts = vec![None; size];
        for (text, id) in vocabulary {
            if let Some(place) = usize::try_from(id).ok().and_then(|id| texts.get_mut(id)) {
                *place = Some((id, text));
            }
        }
        let (mut bytes, mut starts, mut special) = (Vec::new(), vec![0], Vec::new());
        for place in texts {
            let mut is_special = false;
            if let Some((id, text)) = place {
                if let Some(token) = added.get(&id) {
                    is_special = token.special;
                    bytes.extend_from_slice(token.content.as_bytes());
                } else {
                    spell(spelling, &text, &mut bytes);
                }
            }
            starts.push(bytes.len());
            special.push(is_special);
        }
        Self { tokenizer, bytes, starts, special }
    }

    /// Tokens with a number below this may have bytes.
    pub(crate) fn len(&self) -> usize {
        self.special.len()
    }

    /// The bytes that a token stands for; none for numbers that no token has.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        let bounds = usize::try_from(token)
            .ok()
            .and_then(|token| Some((*self.starts.get(token)?, *self.starts.get(token.checked_add(1)?)?)));
        bounds.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    /// Whether a token is a mark that is not part of the text.
    pub(crate) fn is_special(&self, token: u32) -> bool {
        usize::try_from(token).ok().and_then(|token| self.special.get(token)).copied().unwrap_or(false)
    }

    /// The number of the token that is written so.
    #[cfg(test)]
    pub(crate) fn number(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The tokens of a text; `marks` adds those the tokenizer puts around it.
    ///
    /// # Errors
    /// [`Error::File`] when the tokenizer's own rules fail on the text.
    pub(crate) fn encode(&self, text: &str, marks: bool) -> Result<Vec<u32>, Error> {
        self.tokenizer
            .encode_fast(text, marks)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| Error::File { file: "tokenizer.json".to_owned(), reason: error.to_string() })
    }
}

fn spelling(decoder: &DecoderWrapper) -> Spelling {
    match decoder {
        DecoderWrapper::ByteLevel(_) => Spelling::Characters,
        DecoderWrapper::Metaspace(_) | DecoderWrapper::ByteFallback(_) => Spelling::Pieces,
        DecoderWrapper::Sequence(parts) => {
            let mut found = parts.get_decoders().iter().map(spelling);
            found.find(|&one| one != Spelling::Plain).unwrap_or(Spelling::Plain)
        }
        _ => Spelling::Plain,
    }
}

fn spell(spelling: Spelling, token: &str, bytes: &mut Vec<u8>) {
    match spelling {
        Spelling::Plain => bytes.extend_from_slice(token.as_bytes()),
        Spelling::Characters => {
            let before = bytes.len();
            for character in token.chars() {
                if let Some(byte) = byte_of(character) {
                    bytes.push(byte);
                } else {
                    // Not in the alphabet of bytes: a token that was put in by hand, as it is written.
                    bytes.truncate(before);
                    bytes.extend_from_slice(token.as_bytes());
                    return;
                }
            }
        }
        Spelling::Pieces => {
            let code = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
            if let Some(byte) = code.filter(|code| code.len() == 2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
                bytes.push(byte);
            } else {
                bytes.extend_from_slice(token.replace('▁', " ").as_bytes());
            }
        }
    }
}

/// The byte behind a character of GPT-2's alphabet: printable ones are themselves, the 68 others follow from U+0100.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => printable(byte).then_some(byte),
        Err(_) => {
            let index = usize::try_from(code.checked_sub(0x100)?).ok()?;
            (0..=u8::MAX).filter(|&byte| !printable(byte)).nth(index)
        }
    }
}

/// Bytes to characters as they come: a character appears with its last byte, what can not become one is replaced by
/// U+FFFD as the Unicode standard recommends (one for each maximal part).
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    waiting: Vec<u8>,
}

impl Utf8 {
    /// Adds bytes; whole characters go to `text`.
    pub(crate) fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.waiting.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(rest) = self.waiting.get(from..).filter(|rest| !rest.is_empty()) {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    from = self.waiting.len();
                }
                Err(error) => {
                    let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    from += error.valid_up_to();
                    let Some(broken) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    from += broken;
                }
            }
        }
        self.waiting.drain(..from.min(self.waiting.len()));
    }

    /// The end: bytes that still wait for their rest become one U+FFFD.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if !self.waiting.is_empty() {
            self.waiting.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use tokenizers::decoders::byte_level::ByteLevel;
    use tokenizers::models::bpe::BPE;

    use super::*;

    /// A tokenizer whose 256 tokens are the bytes in the alphabet's order, with the mark `<|end|>` as token 256.
    pub(crate) fn byte_tokenizer() -> TextTokens {
        tokenizer_of(&[])
    }

    /// The bytes, then these pieces, then the mark `<|end|>`.
    pub(crate) fn tokenizer_of(pieces: &[&str]) -> TextTokens {
        let mut alphabet: Vec<char> = (0..=255_u8).map(character).collect();
        alphabet.sort_unstable();
        let pieces = pieces.iter().map(|piece| piece.bytes().map(character).collect::<String>());
        let words = alphabet.into_iter().map(String::from).chain(pieces);
        let vocabulary = words.zip(0..);
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary.collect::<tokenizers::models::bpe::Vocab>(), vec![])
            .build()
            .unwrap();
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, false)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        tokenizer.add_special_tokens([tokenizers::AddedToken::from("<|end|>", true)]).unwrap();
        TextTokens::new(tokenizer)
    }

    fn character(byte: u8) -> char {
        (0..0x200).filter_map(char::from_u32).find(|&character| byte_of(character) == Some(byte)).unwrap()
    }

    #[test]
    fn every_byte_has_one_character_and_every_token_its_bytes() {
        let tokens = byte_tokenizer();
        let mut bytes: Vec<u8> = (0..256).flat_map(|token| tokens.bytes(token).to_vec()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((tokens.bytes(256), tokens.is_special(256), tokens.bytes(999)), (&b"<|end|>"[..], true, &b""[..]));
        let text = "Grüße, 世界 🌍!";
        let ids = tokens.encode(text, false).unwrap();
        let whole: Vec<u8> = ids.iter().flat_map(|&id| tokens.bytes(id).to_vec()).collect();
        assert_eq!(String::from_utf8(whole).unwrap(), text);
    }

    #[test]
    fn pieces_are_bytes_and_spaces() {
        let mut bytes = Vec::new();
        for token in ["▁Hello", "<0xE2>", "<0x82>", "<0xAC>", "<0xZZ>"] {
            spell(Spelling::Pieces, token, &mut bytes);
        }
        assert_eq!(bytes, " Hello€<0xZZ>".as_bytes());
    }

    proptest! {
        #[test]
        fn pieces_of_any_bytes_give_the_same_text_as_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in 1..7_usize) {
            let mut text = String::new();
            let mut stream = Utf8::default();
            bytes.chunks(cut).for_each(|piece| stream.push(piece, &mut text));
            stream.finish(&mut text);
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn whole_characters_never_wait(text in "\\PC{0,12}") {
            let (mut out, mut stream) = (String::new(), Utf8::default());
            for character in text.chars() {
                let mut buffer = [0; 4];
                stream.push(character.encode_utf8(&mut buffer).as_bytes(), &mut out);
            }
            prop_assert_eq!(out, text);
        }
    }
}
