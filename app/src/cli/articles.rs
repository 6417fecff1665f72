//! The demonstration bank's articles, for conversations without a database.

use candor_engine::Engine;
use candor_engine::dialogue::memory::MemoryKnowledge;

use super::Failure;

/// All passages with their embeddings.
pub(super) async fn knowledge(engine: &Engine) -> Result<MemoryKnowledge, Failure> {
    let mut knowledge = MemoryKnowledge::new();
    for (_, text) in crate::demo::article_files() {
        for passage in MemoryKnowledge::passages(&text) {
            let words = format!("{}: {}. {}", passage.title, passage.heading, passage.text);
            knowledge.add(passage, engine.embed(&words).await?);
        }
    }
    Ok(knowledge)
}
