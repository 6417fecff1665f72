//! The demonstration bank's articles, for conversations without a database.

use candor_engine::Engine;
use candor_engine::dialogue::memory::MemoryKnowledge;
use futures::future::try_join_all;

use super::Failure;

/// All passages with their embeddings.
pub(super) async fn knowledge(engine: &Engine) -> Result<MemoryKnowledge, Failure> {
    let mut knowledge = MemoryKnowledge::new();
    for (_, text) in crate::demo::article_files() {
        for read in MemoryKnowledge::passages(&text) {
            let embeddings = try_join_all(read.texts().map(|text| async move { engine.embed(&text).await })).await?;
            knowledge.add(read, embeddings);
        }
    }
    Ok(knowledge)
}
