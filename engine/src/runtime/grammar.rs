//! What a constraint on the text promises to the runtime.

/// Allows tokens one after another.
pub(crate) trait Grammar: Send {
    /// The tokens allowed next, a bit each, the lowest bit of the first word being token 0.
    ///
    /// # Errors
    /// What the grammar says when it can not go on.
    fn mask(&mut self) -> Result<&[u32], String>;

    /// A token was drawn. Answers whether the text is complete and nothing can follow.
    ///
    /// # Errors
    /// What the grammar says when the token was not allowed.
    fn accept(&mut self, token: u32) -> Result<bool, String>;
}
