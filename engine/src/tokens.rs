//! Texts to token numbers.

pub(crate) mod text;

use tokenizers::Tokenizer;

use crate::weights::{Error, Folder};

/// The tokenizer of one model, with the truncation its file asks for and no padding.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
}

impl Tokens {
    /// Reads `tokenizer.json`; texts are cut at `longest` tokens.
    ///
    /// # Errors
    /// [`Error::File`] when the file is missing or does not parse.
    pub(crate) fn open(folder: &Folder, longest: usize) -> Result<Self, Error> {
        let file = "tokenizer.json";
        let failed = |reason: String| Error::File { file: file.to_owned(), reason };
        let mut tokenizer = Tokenizer::from_bytes(folder.read(file)?).map_err(|e| failed(e.to_string()))?;
        tokenizer.with_padding(None);
        let truncation = tokenizers::TruncationParams { max_length: longest, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| failed(e.to_string()))?;
        Ok(Self { tokenizer })
    }

    /// The tokens of a text, with the model's marks at the beginning and the end. A text without a word has those two.
    ///
    /// # Errors
    /// [`Error::File`] when the tokenizer's own rules fail on the text.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.tokenizer
            .encode_fast(text, true)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| Error::File { file: "tokenizer.json".to_owned(), reason: e.to_string() })
    }
}
