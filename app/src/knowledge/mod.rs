//! Articles: what the bank tells everybody. Read under `/help`, searched by customers and by the assistant.

mod articles;
mod evaluate;
mod help;
mod markdown;
mod passages;
mod search;
mod source;

pub use articles::{Article, ArticleStatus, NewArticle, article, articles, published, save};
pub use evaluate::{ArticlesReport, Question, evaluate};
pub use help::routes;
pub use markdown::to_html;
pub use search::{Found, Index, PostgresKnowledge, search};
pub use source::{SourceError, read_source};
